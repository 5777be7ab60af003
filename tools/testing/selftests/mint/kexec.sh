# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A successor on two CPUs, with a disk, replaces itself by another kernel. The first OS
# notices nothing of it, and then what that one does.

. /tests/lib.sh
. /tests/device_io.sh

NVME=0000:01:00.0

release_uart 0x2f8
insmod /mint.ko
os=$MINT/os1

make_os os1 2-3 256M 0x2f8
put $os/initrd /boot/initrd.kexec
put $os/devices $NVME
give_credentials os1
check 'it starts with a kernel in its initrd' start_os os1
check 'it writes to its disk' run 'check_io write /dev/nvme0n1 1' '16 MiB of 1 written'
id=$(boot_id os1)
tell os1 'kexec_self /boot/vmlinuz /boot/initrd /proc/cmdline'
check 'it comes up' expect os1 "mint-successor-up: .*, 2 CPUs"
check 'its boot id is another' is_another os1 "$id"
check 'it knows which system it is' knows_itself os1
check 'it reads what the kernel before has written' run 'check_io read /dev/nvme0n1 1' '16 MiB of 1 came whole'
check 'it writes to its disk' run 'check_io write /dev/nvme0n1 2' '16 MiB of 2 written'
check 'it is running' is $os/state running
check 'it ticks on' ticks_on os1
check 'it was not restarted' is $os/restarts 0
check 'poweroff -f: it is halted' goes os1 'poweroff -f' halted
note "poweroff -f: $(took) it was told to"
put $os/stop 1
check 'the first OS reads what it has written' check_io read /dev/nvme0n1 2
drop_os os1
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'all memory is back' is $MINT/memory_free $((960 << 20))
check 'rmmod' rmmod mint
plan
