# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A panic of a first OS that stays so leaves its successors running; selftests.py
# looks at them afterwards.

. /tests/lib.sh

release_uart 0x2f8
release_uart 0x3e8
insmod /mint.ko
make_os os1 2 128M 0x2f8
make_os os2 3 128M 0x3e8
check 'the first starts' start_os os1
check 'the second starts' start_os os2
plan
echo c >/proc/sysrq-trigger
