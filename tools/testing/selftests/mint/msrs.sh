# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Three successors, which take the CPU for one of Intel's, while the host watches which MSRs
# they touch. One writes an MSR on purpose, which the host must see. Other kernels are
# watched on QEMU's own CPU, in kernels.sh.

. /tests/lib.sh

release_uart 0x2f8
release_uart 0x3e8
insmod /mint.ko
check 'the CPU passes for one of Intel' grep -q '^vendor_id.*: GenuineIntel' /proc/cpuinfo
make_os os1 1-2 256M 0x2f8
make_os os2 3 128M 0x3e8
put $MINT/os2/cmdline initcall_blacklist=provoke_init
make_os os3 4 256M '' /kernels/*
check 'the first starts' start_os os1
check 'the second starts' start_os os2
put $MINT/os3/load 1
check 'the third starts' put $MINT/os3/start 1
check 'the third comes to its user space' log_says os3 mint-successor-up
check 'the first ticks' expect os1 'mint-tick'
# insert SYSTEM ERROR: loading the module ends with ERROR.
insert() {
	ask "$1" 'insmod /provoke.ko how=msr 2>&1' || return
	echo "$answer" | grep -q "$2" || {
		echo "$answer"
		false
	}
}
check 'the first writes an MSR that is not its own' insert os1 "$EINVAL"
check 'the second does not: the initcall of a module can be skipped' insert os2 "$EPERM"
check 'the first powers off' goes os1 poweroff halted
drop_os os1
drop_os os2
drop_os os3
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-4
check 'rmmod' rmmod mint
plan
