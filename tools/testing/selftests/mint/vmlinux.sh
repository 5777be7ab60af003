# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A successor whose kernel is a vmlinux, the one in /kernels, on two CPUs. With LONG, through
# restarts as well, and on one CPU.

. /tests/lib.sh

release_uart 0x2f8
insmod /mint.ko
kernel=$(echo /kernels/*)
version=${kernel##*/}
os=$MINT/os1

up() {
	expect os1 "$(up_line "$version" "$1")"
}
starts() {
	put $os/load 1 && put $os/start 1 && up "$1"
}
# Its virtual addresses are those it was linked to; its physical ones, from 16 MiB on, were moved.
is_in_place() {
	cat $os/vmcore >/tmp/vmcore || return
	head -c 16384 /tmp/vmcore | strings >/tmp/note
	grep -qx 'KERNELOFFSET=0' /tmp/note || {
		grep KERNELOFFSET /tmp/note
		return 1
	}
	base=$(sed -n 's/^NUMBER(phys_base)=//p' /tmp/note)
	[ "$base" ] && [ $((base % (2 << 20))) = 0 ] && [ $((base + (16 << 20))) -ge $((1 << 30)) ]
}
load_refuses() {
	put $os/kernel "$2" && refuses "$ENOEXEC" "$1" $os/load 1 && is $os/state offline &&
		is $MINT/memory_free $((960 << 20))
}
# makedumpfile finds the log in its memory by its page tables.
dumps_log() {
	/usr/bin/makedumpfile --dump-dmesg /tmp/vmcore /tmp/dump-dmesg && grep -q "Linux version $version" /tmp/dump-dmesg
}

make_os os1 2-3 256M 0x2f8 "$kernel"
head -c 1000000 "$kernel" >/tmp/short
check 'load refuses one that is cut short' load_refuses 'cut short' /tmp/short
printf '\001' | dd of=/tmp/short bs=1 seek=4 conv=notrunc 2>/dev/null
check 'load refuses a 32-bit one' load_refuses 'give the bzImage' /tmp/short
check 'load refuses a program' load_refuses 'not of Linux' /bin/busybox
put $os/kernel "$kernel"
check "$version comes to its user space on two CPUs" starts 2
check "$version ticks" expect os1 'mint-tick'
own_log os1
check "$version: its log is read while it runs" has_own_log os1
check "$version is where it was linked to" is_in_place
check "$version: makedumpfile finds the log" dumps_log
rm -f /tmp/vmcore /tmp/dump-dmesg
if [ "$LONG" ]; then
	check "$version reboots, and is restarted" goes os1 reboot restarting running
	check "$version comes up again" up 2
	own_log os1
	check "$version panics, and is crashed" dies os1 'echo c >/proc/sysrq-trigger' 'sysrq triggered crash'
	check "$version: its log is read after that" has_own_log os1
	check "$version: its last words are in it" grep -q 'Kernel panic - not syncing: sysrq' /tmp/dmesg
	check "$version: its memory is read after that" is_in_place
	check "$version: makedumpfile finds the log" dumps_log
	rm -f /tmp/vmcore /tmp/dump-dmesg
	check "$version is restarted" put $os/restart 1
	check "$version comes up once more" up 2
fi
check "$version powers off, and is halted" goes os1 poweroff halted
drop_os os1

if [ "$LONG" ]; then
	make_os os1 2 256M 0x2f8 "$kernel"
	check "$version comes to its user space on one CPU" starts 1
	drop_os os1
fi

check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'all memory is back' is $MINT/memory_free $((960 << 20))
check 'rmmod' rmmod mint
plan
