# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Where the first OS translates DMA, a successor's devices reach the successor's memory, and no other.
# Where it remaps interrupts (REMAPS), no device can be given.

. /tests/lib.sh
. /tests/device_io.sh

NVME=0000:01:00.0
# A device that reads any address it is told to.
EDU=0000:02:00.0
# Two that the IOMMU can't tell apart, as the ports above them have no ACS.
GROUPED=0000:03:00.0
WITH=0000:04:00.0

# refused: how many DMAs were refused, as the log tells. at_address: or those at an address.
refused() {
	dmesg | grep -ciE 'DMAR.*fault addr|AMD-Vi.*IO_PAGE_FAULT'
}
is_refused() {
	dmesg | grep -iE 'DMAR.*fault addr|AMD-Vi.*IO_PAGE_FAULT' | grep -q "$1"
}

release_uart 0x2f8
insmod /mint.ko
make_os os1 2-3 256M@0x40000000 0x2f8
os=$MINT/os1
check 'there is an IOMMU' test -e /sys/bus/pci/devices/$NVME/iommu_group
if [ "$REMAPS" ]; then
	check 'devices refuses remapped interrupts' refuses 'Operation not supported' 'boot the first OS with intremap=off' $os/devices $NVME
	check 'it is empty as before' is $os/devices ''
else
	put $os/devices "$NVME $EDU"
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
	check 'a device reads its memory' run "edu_read 0001${EDU#0000} 0x48000000" 'edu has read at 0x48000000'
	check 'the last of it' run "edu_read 0001${EDU#0000} 0x4ffffffc" 'edu has read at 0x4ffffffc'
	check 'no DMA was refused' test "$(refused)" = 0
	check 'a device tries to read what follows' run "edu_read 0001${EDU#0000} 0x50000000" 'edu has read at 0x50000000'
	check 'that is refused' await is_refused 50000000
	check "a device tries to read the first OS's memory" run "edu_read 0001${EDU#0000} 0x2000000" 'edu has read at 0x2000000'
	check 'that is refused' await is_refused '\b0*x*0*2000000\b'
	check 'stop' put $os/stop 1
	dmesg -c >/dev/null
	check 'devices refuses a part of an IOMMU group' refuses "$EBUSY" "can't tell $WITH" $os/devices $GROUPED
	check 'it takes the whole' put $os/devices "$GROUPED $WITH"
fi
check 'the first OS has its driver' test "$(driver $NVME)" = nvme
[ "$REMAPS" ] || check 'and reads what the successor has written' check_io read /dev/nvme0n1 1
check 'no DMA was refused' test "$(refused)" = 0
drop_os os1
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
