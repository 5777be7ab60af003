# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A 64-bit and a 32-bit successor of two CPUs each at work at the same time, while the
# host watches who sends IPIs to whom. What only a 32-bit one is refused.

. /tests/lib.sh

release_uart 0x2f8
release_uart 0x3e8
insmod /mint.ko
kernel=$(echo /kernels/*)
os=$MINT/os2

make_os os2 3-4 256M@0x50000000 0x3e8 "$kernel"
check 'a range that is too high is refused' refuses "$EINVAL" 'must lie below 896 MiB' $os/load 1
put $os/memory 512M
check 'no memory below 896 MiB is told' refuses "$ENOMEM" 'below 896 MiB' $os/load 1
put $os/memory 16M
check 'too little memory is refused' refuses "$ENOMEM" 'are too few' $os/load 1
put $os/memory 256M
for parameter in maxcpus=2 no_ipi_broadcast=1 apic=default; do
	put $os/cmdline $parameter
	check "$parameter is refused" refuses "$EINVAL" "'$parameter' can't be used" $os/load 1
done
put $os/cmdline ''

# selftests.py tells the systems apart by their addresses.
make_os os1 1-2 256M@0x40000000 0x2f8
mark start
check 'the 64-bit one starts' start_os os1
check 'the 32-bit one starts' start_os os2
check 'it has got memory that it can lie in' is $os/memory 256M@0x20000000
is_32_bit() {
	ask os2 'uname -m; nproc' && [ "$answer" = 'i686 2' ] || {
		echo "$answer"
		false
	}
}
check 'it runs a 32-bit kernel on two CPUs' is_32_bit

# Work that sends IPIs, as in watch.sh.
tell os1 '/do.d/busy &'
tell os2 '/do.d/busy &'
for _ in $(seq 20); do
	expect os1 'mint-tick' && expect os2 'mint-tick' || break
done
check 'the 64-bit one ticks on' ticks_on os1
check 'the 32-bit one ticks on' ticks_on os2
own_log os2
check 'the log of the 32-bit one is read while it runs' has_own_log os2
check 'the 32-bit one reboots, and is restarted' goes os2 reboot restarting running
check 'the 64-bit one ticks on beside that' ticks_on os1
check 'the 32-bit one comes up again' expect os2 'mint-successor-up'
check 'the 64-bit one powers off' goes os1 poweroff halted
check 'the 32-bit one ticks on after that' ticks_on os2
check 'the 32-bit one powers off' goes os2 poweroff halted
mark stop
drop_os os1
drop_os os2
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-4
check 'all memory is back' is $MINT/memory_free $(((960 + 256) << 20))
check 'rmmod' rmmod mint
plan
