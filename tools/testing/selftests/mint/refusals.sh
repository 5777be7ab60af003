# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# First OSes that were not booted as they must be; REFUSAL is what the module has
# to say about this one.

. /tests/lib.sh

refused() {
	! insmod /mint.ko 2>/dev/null && dmesg | grep -q "mint: .*$REFUSAL"
}
check "insmod is refused: $REFUSAL" refused
check 'it leaves nothing in sysfs' test ! -e $MINT
check 'it leaves nothing in /proc/iomem' sh -c '! grep -q Mint /proc/iomem'
plan
