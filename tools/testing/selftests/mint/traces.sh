# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# An OS gets memory in which another kernel has left all there is of it, as memory
# outlives a first OS that goes to another by kexec. It must not be taken for that
# kernel, which has panicked.

. /tests/lib.sh

release_uart 0x2f8
insmod /mint.ko
os=$MINT/os1
size=$((128 << 20))

# The first kernel's range, in pages, by /dev/mem: it is nobody's while the module is gone.
page=$((0x48000))
pages=$((size / 4096))
range_is() {
	dd if=/dev/mem bs=4k skip=$page count=$pages 2>/dev/null | cmp - "$1"
}

# It ends with a last line, by which a panic is told in a log alone. It is where it was loaded,
# as is the other, so that the two do not overlap.
make_os os1 2 128M@0x48000000 0x2f8
put $os/cmdline 'panic=0 nokaslr'
check 'a kernel is up' start_os os1
check 'it panics' dies os1 'echo c >/proc/sysrq-trigger' 'sysrq triggered crash'
check 'its log tells so' log_says os1 'end Kernel panic'
# The range is the end of the file.
tail -c $size $os/vmcore >/tmp/range
drop_os os1
rmmod mint
dd if=/tmp/range of=/dev/mem bs=4k seek=$page conv=notrunc 2>/dev/null
check 'all of its memory is back' range_is /tmp/range
rm /tmp/range

insmod /mint.ko
make_os os1 2 256M@0x40000000 0x2f8
put $os/cmdline nokaslr
check 'another kernel is up, below it in the same memory' start_os os1
check 'it is running' is $os/state running
own_log os1
check 'its log is its own' has_own_log os1
drop_os os1
check 'rmmod' rmmod mint
plan
