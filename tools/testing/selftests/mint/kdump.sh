# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A successor on two CPUs panics with a crash kernel loaded, which saves its core on its disk and
# reboots.

. /tests/lib.sh
. /tests/device_io.sh

NVME=0000:01:00.0

release_uart 0x2f8
insmod /mint.ko
os=$MINT/os1

make_os os1 2-3 768M 0x2f8
put $os/initrd /boot/initrd.kexec
put $os/devices $NVME
# Its memory is above 4 GiB, all of it. Documentation/kdump.rst
# What is free is zeros, which the core leaves out: without that the core is 57 MB, as much as a tmpfs of half
# the crash kernel's memory holds.
put $os/cmdline 'crashkernel=192M,high crashkernel=0,low init_on_free=1'
check 'it starts' start_os os1
id=$(boot_id os1)
# As Debian's kdump-tools do
tell os1 'echo "$(sed "s/ *crashkernel=[^ ]*//g" /proc/cmdline) reset_devices nr_cpus=1 irqpoll usbcore.nousb" >/tmp/cmdline'
check 'it loads a crash kernel' run 'kexec_self -p /boot/vmlinuz /boot/initrd /tmp/cmdline && echo loaded' loaded
tell os1 'echo c >/proc/sysrq-trigger'
check 'it panics' expect os1 'Kernel panic - not syncing: sysrq triggered crash'
check 'the crash kernel comes up' expect os1 'mint-successor-up: .*, 1 CPUs'
check 'it is running' is $os/state running
check 'it was not restarted' is $os/restarts 0
check 'the core has the log' run '/usr/bin/makedumpfile --dump-dmesg /proc/vmcore /tmp/dmesg; grep "triggered crash" /tmp/dmesg' \
	'sysrq triggered crash'
check 'the core is written to its disk' \
	run '/usr/bin/makedumpfile -c -d 31 /proc/vmcore /tmp/core && dd if=/tmp/core of=/dev/nvme0n1 bs=1M conv=fsync && echo saved' saved
check 'it reboots, and is restarted' goes os1 'reboot -f' restarting running
check 'it comes up on both CPUs' expect os1 'mint-successor-up: .*, 2 CPUs'
check 'its boot id is another' is_another os1 "$id"
check 'the core is on its disk' run 'echo found $(head -c 5 /dev/nvme0n1)' 'found KDUMP'
check 'stop' put $os/stop 1
drop_os os1
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'all memory is back' is $MINT/memory_free $((1 << 30))
check 'rmmod' rmmod mint
plan
