# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# An OS is loaded $LOADS times, each time from another kernel and initrd than the time before, and
# stopped. Afterwards the first OS has all that it had before.

. /tests/lib.sh
. /tests/memory_use.sh

insmod /mint.ko
put $MINT/add os1
os=$MINT/os1
put $os/cpus 3
put $os/memory 72M
cp /boot/vmlinuz /tmp/vmlinuz
dd if=/dev/urandom of=/tmp/initrd bs=1M count=4 2>/dev/null
put $os/kernel /tmp/vmlinuz
put $os/initrd /tmp/initrd

# What is behind the parts of a kernel is not looked at. The files' own memory stays the same.
load_count=0
cycle() {
	load_count=$((load_count + 1))
	echo $load_count | dd of=/tmp/initrd conv=notrunc 2>/dev/null
	echo >>/tmp/vmlinuz
	put $os/load 1 && put $os/stop 1
}
loses_nothing "$LOADS" 'other files are loaded'
put $MINT/remove os1
check 'rmmod' rmmod mint
plan
