# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A first OS that UEFI has booted, with a screen: the first OS keeps the image that the
# firmware shows at boot, where it is (ACPI table BGRT). No pool may have it.

. /tests/lib.sh

# The table's field with the image's address, which is below 4 GiB.
image=$(hexdump -v -s 40 -n 4 -e '1/4 "%u"' /sys/firmware/acpi/tables/BGRT)
check 'the firmware has shown an image' [ "$image" -gt 0 ]
check 'the first OS keeps it' [ "$(head -c 2 /sys/firmware/acpi/bgrt/image)" = BM ]
MIB=$((1 << 20))
# said START: what the module says of a pool of 8 MiB.
said() {
	dmesg -c >/dev/null
	! insmod /mint.ko pool_start="$1" pool_size=$((8 * MIB)) low_start=0x20000 low_size=0x20000 2>/dev/null &&
		dmesg | grep 'mint: 0x'
}
start=$(((image & -2 * MIB) - 2 * MIB))
over_image() {
	said $start | grep -E 'has an EFI table in it.*: memmap=0x[0-9a-f]+%0x[0-9a-f]+-1.2 would do$'
}
check 'a pool over it is refused' over_image
below_image() {
	! said $((start - 8 * MIB)) | grep 'EFI table'
}
check 'a pool below it is not, for that' below_image
plan
