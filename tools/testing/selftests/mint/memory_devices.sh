# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A disk and a network card made of memory of each of the kernels in /kernels.

. /tests/lib.sh
. /tests/device_io.sh
. /tests/disk_file.sh

release_uart 0x2f8
insmod /mint.ko
truncate -s 4M /disk.img
os=$MINT/os1
DISK=/dev/nvme0n1
seed=0

quiet_disk_and_card_log() {
	quiet_disk_log && quiet_card_log
}

for kernel in /kernels/*; do
	version=${kernel##*/}
	make_os os1 2-3 256M 0x2f8 "$kernel"
	case $version in
	*-686*) ;;
	*) put $os/initrd /boot/initrd.others ;;
	esac
	put $os/disks /disk.img
	put $os/cmdline MIB=$MIB
	put $os/network tap1
	ifconfig tap1 10.1.0.1 up
	check "$version starts" start_os os1
	check "$version writes to its disk" run "wait_disk $DISK; check_io write $DISK 1" "$MIB MiB of 1 written"
	check "$version reads" run "check_io read $DISK 1" "$MIB MiB of 1 came whole"
	seed=$((seed + 1))
	exchange $seed
	check "$version: its log is quiet" quiet_disk_and_card_log
	check "$version reboots" goes os1 reboot restarting running
	check "$version comes up again" expect os1 'mint-successor-up'
	check "$version has what it has written" run "wait_disk $DISK; check_io read $DISK 1" "$MIB MiB of 1 came whole"
	check "$version reaches the first OS" run \
		'ifconfig eth0 10.1.0.2 up; until grep -q 1 /sys/class/net/eth0/carrier; do usleep 50000; done; ping -c 3 10.1.0.1' \
		'3 packets received, 0% packet loss'
	check "$version: its log is quiet after that" quiet_disk_and_card_log
	check "$version powers off" goes os1 poweroff halted
	drop_os os1
	await [ ! -e /sys/class/net/tap1 ]
	check "the first OS reads what $version has written" check_io compare 1 </disk.img
done
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
