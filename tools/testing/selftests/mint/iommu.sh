# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Where the first OS translates DMA, a successor's disk reaches the successor's memory. Where it
# remaps interrupts (REMAPS), no device can be given.

. /tests/lib.sh
. /tests/device_io.sh

NVME=0000:01:00.0

release_uart 0x2f8
insmod /mint.ko
make_os os1 2-3 256M 0x2f8
os=$MINT/os1
check 'there is an IOMMU' test -e /sys/bus/pci/devices/$NVME/iommu_group
if [ "$REMAPS" ]; then
	check 'devices refuses remapped interrupts' refuses 'Operation not supported' 'boot the first OS with intremap=off' $os/devices $NVME
	check 'it is empty as before' is $os/devices ''
else
	put $os/devices $NVME
	put $os/load 1
	check 'start' put $os/start 1
	check 'it comes up' expect os1 'mint-successor-up'
	check 'it writes to its disk' run 'check_io write /dev/nvme0n1 1' '16 MiB of 1 written'
	check 'and reads' run 'check_io read /dev/nvme0n1 1' '16 MiB of 1 came whole'
	check 'restart' put $os/restart 1
	check 'it comes up again' expect os1 'mint-successor-up'
	check 'and reads' run 'check_io read /dev/nvme0n1 1' '16 MiB of 1 came whole'
	echo 1 >/sys/bus/pci/devices/$NVME/remove
	echo 1 >/sys/bus/pci/rescan
	check 'a disk that was found anew stays its' test "$(driver $NVME)" = mint
	check 'restart' put $os/restart 1
	check 'it comes up again' expect os1 'mint-successor-up'
	check 'and reads' run 'check_io read /dev/nvme0n1 1' '16 MiB of 1 came whole'
	check 'stop' put $os/stop 1
fi
check 'the first OS has its driver' test "$(driver $NVME)" = nvme
[ "$REMAPS" ] || check 'and reads what the successor has written' check_io read /dev/nvme0n1 1
check 'no DMA was refused' sh -c '! dmesg | grep -i "DMAR.*fault"'
drop_os os1
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
