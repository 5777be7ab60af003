# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A first OS that reboots or starts another kernel, as the command END does, stops
# its successors before; selftests.py looks at what follows.

. /tests/lib.sh

release_uart 0x2f8
insmod /mint.ko
make_os os1 2-3 128M 0x2f8
check 'it starts' start_os os1
check 'it ticks' expect os1 20 'mint-tick'
plan
$END
