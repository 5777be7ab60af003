# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Where the first OS translates DMA, a successor's device that tries to reach any address reaches the
# successor's memory, and no other. Devices that the IOMMU can't tell apart are only given together.

. /tests/lib.sh
. /tests/device_io.sh

EDU=0000:01:00.0
# Two that the IOMMU can't tell apart, as the ports above them have no ACS.
GROUPED=0000:02:00.0
WITH=0000:03:00.0

# refused: prints which DMAs were refused, as the log tells.
refused() {
	dmesg | grep 'DMAR.*fault addr'
}
# is_refused ADDRESS: DMA at that address was.
is_refused() {
	refused | grep -qE "\b(0x)?0*$1\b"
}
# edu_reads ADDRESS
edu_reads() {
	run "edu_read 0001${EDU#0000} 0x$1" "edu has read at 0x$1"
}

release_uart 0x2f8
insmod /mint.ko
make_os os1 2-3 256M@0x40000000 0x2f8
os=$MINT/os1
check 'there is an IOMMU' test -e /sys/bus/pci/devices/$EDU/iommu_group
check 'devices refuses a part of an IOMMU group' refuses "$EBUSY" "can't tell $WITH" $os/devices $GROUPED
check 'it takes the whole' put $os/devices "$GROUPED $WITH"
put $os/devices "$EDU $GROUPED $WITH"
check 'start' start_os os1
check 'a device reads the first of its memory' edu_reads 40000000
check 'the last of it' edu_reads 4ffffffc
check 'restart' put $os/restart 1
check 'it comes up again' expect os1 'mint-successor-up'
check 'the device still reads its memory' edu_reads 48000000
check 'no DMA was refused' fails '^$' refused
check 'a device tries to read what follows' edu_reads 50000000
check 'that is refused' await is_refused 50000000
check "a device tries to read the first OS's memory" edu_reads 2000000
check 'that is refused' await is_refused 2000000
check 'stop' put $os/stop 1
drop_os os1
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
