# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A panic of a first OS that stays so leaves its successors running, without their disks: os1 does not use
# its disk at that time, os2 does. selftests.py looks at them afterwards.

. /tests/lib.sh
. /tests/device_io.sh
. /tests/disk_file.sh

release_uart 0x2f8
release_uart 0x3e8
insmod /mint.ko
for name in os1 os2; do
	truncate -s 20M /$name.img
done
make_os os1 2 128M 0x2f8
make_os os2 3 128M 0x3e8
put $MINT/os1/disks /os1.img
put $MINT/os2/disks /os2.img
check 'an OS with a disk starts' start_os os1
check 'another starts' start_os os2
check 'the first one reads its disk' run 'wait_disk /dev/nvme0n1; cat /dev/nvme0n1 >/dev/null; echo it is read' 'it is read'
tell os2 'wait_disk /dev/nvme0n1; while dd if=/dev/nvme0n1 of=/dev/null bs=64k iflag=direct 2>/dev/null; do echo once more; done; echo the disk is lost'
check 'the other one does so all the time' expect os2 'once more'
plan
echo c >/proc/sysrq-trigger
