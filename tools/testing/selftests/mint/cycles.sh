# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# An OS of one CPU, with the least memory that loads, is loaded, started and
# stopped $CYCLES times; it does not come to its user space. Afterwards the first OS
# has all that it had before.

. /tests/lib.sh
. /tests/memory_use.sh

insmod /mint.ko
put $MINT/add os1
os=$MINT/os1
put $os/cpus 3
put $os/kernel /boot/vmlinuz

size=16
while put $os/memory ${size}M && ! put $os/load 1 2>/dev/null; do
	size=$((size + 2))
done
note "the least memory is $size MiB"
put $os/stop 1

cycle() {
	put $os/load 1 && put $os/start 1 && put $os/stop 1
}

loses_nothing $CYCLES 'load, start and stop'
put $MINT/remove os1
check 'rmmod' rmmod mint
plan
