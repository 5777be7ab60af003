# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Another stock kernel as a successor, on two CPUs: the one in /kernels. With LONG, through all
# the ends that an OS can have.

. /tests/lib.sh

release_uart 0x2f8
insmod /mint.ko
kernel=$(echo /kernels/*)
version=${kernel##*/}
os=$MINT/os1

up() {
	expect os1 "$(up_line "$version" 2)"
}
make_os os1 2-3 256M 0x2f8 "$kernel"
# Its log tells each initcall.
put $os/cmdline 'initcall_debug log_buf_len=1M'
give_credentials os1
put $os/load 1 && put $os/start 1
check "$version comes to its user space on two CPUs" up
check "$version ticks" expect os1 'mint-tick'
check "$version knows which system it is" knows_itself os1
own_log os1
check "$version: its log is read while it runs" has_own_log os1
# What its command line blacklists is not called, and some others are.
skipped=$(sed 's/.*initcall_blacklist=\([^ ]*\).*/\1/; s/,/|/g' $os/command_line)
skips() {
	grep -q 'calling  acpi_init+' /tmp/dmesg && ! grep -E "calling  ($skipped)[+]" /tmp/dmesg
}
check "$version: it skips the initcalls that touch shared hardware" skips
if [ "$LONG" ]; then
	check "$version reboots, and is restarted" goes os1 reboot restarting running
	check "$version comes up again" up
	own_log os1
fi
check "$version panics, and is crashed" dies os1 'echo c >/proc/sysrq-trigger' 'sysrq triggered crash'
check "$version: its log is read after that" has_own_log os1
check "$version: its last words are in it" grep -q 'Kernel panic - not syncing: sysrq' /tmp/dmesg
check "$version is restarted" put $os/restart 1
check "$version comes up once more" up
if [ "$LONG" ]; then
	check "$version halts, and is halted" goes os1 halt halted
	check "$version is restarted after that" put $os/restart 1
	check "$version comes up after that" up
	check "$version resets itself, and is restarted" goes os1 'echo b >/proc/sysrq-trigger' restarting running
	check "$version comes up after that as well" up
fi
check "$version powers off, and is halted" goes os1 poweroff halted
note "$version: $(took) it was told to"
check "$version is stopped" put $os/stop 1
put $MINT/remove os1
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
