# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A disk made of memory of each of the kernels in /kernels, and what each is told of itself.

. /tests/lib.sh
. /tests/device_io.sh
. /tests/disk_file.sh

release_uart 0x2f8
insmod /mint.ko
MIB=16
truncate -s 16M /disk.img
os=$MINT/os1
DISK=/dev/nvme0n1

for kernel in /kernels/*; do
	version=${kernel##*/}
	make_os os1 2-3 256M 0x2f8 "$kernel"
	case $version in
	*-686*) ;;
	*) put $os/initrd /boot/initrd.others ;;
	esac
	put $os/disks /disk.img
	give_credentials os1
	check "$version starts" start_os os1
	check "$version knows which system it is" knows_itself os1
	check "$version writes to its disk" run "wait_disk $DISK; check_io write $DISK 1" '16 MiB of 1 written'
	check "$version reads" run "check_io read $DISK 1" '16 MiB of 1 came whole'
	check "$version: its log is quiet" quiet_disk_log
	check "$version reboots" goes os1 reboot restarting running
	check "$version comes up again" expect os1 'mint-successor-up'
	check "$version has what it has written" run "wait_disk $DISK; check_io read $DISK 1" '16 MiB of 1 came whole'
	check "$version: its log is quiet after that" quiet_disk_log
	check "$version powers off" goes os1 poweroff halted
	drop_os os1
	check "the first OS reads what $version has written" check_io compare 1 </disk.img
done
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
