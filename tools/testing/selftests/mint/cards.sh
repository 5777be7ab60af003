# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Successors of other kernels, of 64 and of 32 bits, own an NVMe disk, an Intel network card and a
# USB controller with a disk, one after the other. The first OS has no drivers for most of them.

. /tests/lib.sh
. /tests/device_io.sh

NVME=0000:01:00.0
E1000E=0000:02:00.0
XHCI=0000:03:00.0
OWN_CARD=0000:04:00.0
# Its memory is above 4 GiB.
LARGE=0000:05:00.0

release_uart 0x2f8
configurations $NVME $E1000E $XHCI >/tmp/before
ifconfig "$(interface $OWN_CARD)" 10.1.0.1 up
insmod /mint.ko
os=$MINT/os1

for kernel in /kernels/*; do
	name=${kernel##*/}
	case $name in
	*-686*) memory=256M@0x20000000 ;;
	*) memory=256M ;;
	esac
	make_os os1 2-3 $memory 0x2f8 "$kernel"
	[ "$memory" != 256M ] || put $os/initrd /boot/initrd.others
	put $os/devices "$NVME $E1000E 0000:03"
	check "$name starts with devices" start_os os1
	check "$name: the disk" run 'check_io write /dev/nvme0n1 1' '16 MiB of 1 written'
	check "$name: is read" run 'check_io read /dev/nvme0n1 1' '16 MiB of 1 came whole'
	check "$name: the USB disk" run 'wait_disk /dev/sda; check_io write /dev/sda 2' '16 MiB of 2 written'
	check "$name: is read" run 'check_io read /dev/sda 2' '16 MiB of 2 came whole'
	note "$name: the network"
	exchange 3
	check "$name: its log is quiet" quiet_log
	check "$name: poweroff" goes os1 poweroff halted
	check "$name: stop" put $os/stop 1
	check "$name: the functions are configured as before" as_before $NVME $E1000E $XHCI
	put $os/devices $LARGE
	if [ "$memory" = 256M ]; then
		check "$name starts with a device above 4 GiB" start_os os1
		check "$name: its window" run 'grep "PCI Bus 0001:05" /proc/iomem' '\b[1-9a-f][0-9a-f]{8,}-'
		check "$name: its disk" run 'check_io write /dev/nvme0n1 4' '16 MiB of 4 written'
		check "$name: is read" run 'check_io read /dev/nvme0n1 4' '16 MiB of 4 came whole'
		check "$name: stop" put $os/stop 1
	else
		check "$name does not get a device above 4 GiB" refuses "$EINVAL" 'memory is above 4 GiB' $os/start 1
	fi
	put $MINT/remove os1
done
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
