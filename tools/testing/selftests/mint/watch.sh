# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Two successors of two CPUs each at work for $WORK seconds, beside a first OS that
# keeps one, while the host watches who sends IPIs to whom.

. /tests/lib.sh

release_uart 0x2f8
release_uart 0x3e8
insmod /mint.ko
# selftests.py tells the systems apart by these addresses.
make_os os1 1-2 256M@0x40000000 0x2f8
make_os os2 3-4 256M@0x50000000 0x3e8 /kernels/*
mark start
check 'the first starts' start_os os1
check 'the second starts' start_os os2

clock() {
	tell "$1" 'echo clock: $(cut -d. -f1 /proc/uptime).' && expect "$1" 'clock: [0-9]+\.' &&
		echo "last $1 clock: ([0-9]+)" >&3 && read -r answer <&3
}
clock os1 && os1_before=$answer
clock os2 && os2_before=$answer
before=$(cut -d. -f1 /proc/uptime)
# Work that sends IPIs: both CPUs of each change each other's page tables and wake each other.
tell os1 '/do.d/busy &'
tell os2 '/do.d/busy &'
while after=$(cut -d. -f1 /proc/uptime) && [ $((after - before)) -lt "$WORK" ]; do
	expect os1 'mint-tick' && expect os2 'mint-tick' || break
done
clock os1 && os1_after=$answer
clock os2 && os2_after=$answer
passed=$((after - before))
# The clocks are read one after the other, so that they may differ by what lies between.
advanced() {
	[ $passed -ge "$WORK" ] && [ $(($1 - passed)) -ge -$GAP ] && [ $(($1 - passed)) -le $GAP ]
}
check 'the clock of the first kept up with that of the first OS' advanced $((os1_after - os1_before))
check 'the clock of the second kept up with that of the first OS' advanced $((os2_after - os2_before))

tell os1 'poweroff -f'
check 'the first powers off' expect os1 'reboot: Power down'
tell os2 'poweroff -f'
check 'the second powers off' expect os2 'reboot: Power down'
mark stop
drop_os os1
drop_os os2
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-4
check 'rmmod' rmmod mint
plan
