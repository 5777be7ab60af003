# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A first OS that reboots or starts another kernel, as the command END does, stops
# its successors before, one of which has a disk that it writes to; selftests.py looks
# at what follows.

. /tests/lib.sh

release_uart 0x2f8
insmod /mint.ko
make_os os1 2-3 128M 0x2f8
put $MINT/os1/devices 0000:01:00.0
check 'it starts' start_os os1
check 'it ticks' expect os1 'mint-tick'
tell os1 'while :; do check_io write /dev/nvme0n1 1; done'
check 'it writes to its disk' expect os1 '16 MiB of 1 written'
plan
$END
