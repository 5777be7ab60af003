# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Disks made of memory: files and a block device of the first OS. What can't be one, what a
# successor writes and reads, read-only disks of two OSes, disks that grow or are full.

. /tests/lib.sh
. /tests/device_io.sh
. /tests/disk_file.sh

# Sizes in sectors, by which the OSes find the disks.
DATA=$((20 << 11))
GROWN=$((21 << 11))
SHARED=$((4 << 11))
FULL=$((12 << 11))
BLOCK=$((64 << 11))
BAD=$((32 << 11))

release_uart 0x2f8
release_uart 0x3e8
insmod /mint.ko
store /dev/nvme0n1
truncate -s 20M /mnt/data
truncate -s 1M /mnt/other
true >/mnt/empty
check_io make 3 >/mnt/shared
mkdir /small
mount -t tmpfs -o size=4M tmpfs /small
truncate -s 12M /small/full
make_os os1 2-3 256M 0x2f8
make_os os2 1 128M 0x3e8
os=$MINT/os1
put $os/cmdline MIB=$MIB
put $MINT/os2/cmdline MIB=$MIB

# load_refuses ERROR HINT VALUE: with VALUE in disks, load fails, and leaves nothing behind.
load_refuses() {
	put $os/disks "$3" && refuses "$1" "$2" $os/load 1 && is $os/state offline
}
check 'disks refuses a relative path' refuses "$EINVAL" 'absolute paths' $os/disks data
check 'disks refuses one among others' refuses "$EINVAL" 'absolute paths' $os/disks '/mnt/data data:ro'
check 'disks refuses more than 31' refuses "$E2BIG" 'up to 31 disks' $os/disks "$(seq 32 | sed 's|^|/mnt/|' | tr '\n' ' ')"
check 'disks refuses the same path twice' refuses "$EINVAL" 'there twice' $os/disks '/mnt/data:ro /mnt/data'
check 'disks is empty as before' is $os/disks ''
check 'load refuses a file that is not there' load_refuses "$ENOENT" '/mnt/none can.t be a disk.*does it exist' /mnt/none
check 'load refuses a directory' load_refuses "$EINVAL" 'regular file with contents' /mnt
check 'load refuses a file of /proc' load_refuses "$EINVAL" 'regular file with contents' /proc/version:ro
check 'load refuses a character device' load_refuses "$EINVAL" 'regular file with contents' /dev/zero
check 'load refuses an empty file' load_refuses "$EINVAL" '/mnt/empty can.t be a disk.*no contents' /mnt/empty
check 'load refuses a mounted block device' load_refuses "$EBUSY" 'must not be mounted' /dev/nvme0n1
check 'and says where it is mounted' sh -c 'dmesg | grep -q "mint: os1: /dev/nvme0n1 is mounted on /mnt$"'
check 'even to read it' load_refuses "$EBUSY" 'must not be mounted' /dev/nvme0n1:ro
mkswap /dev/vda >/dev/null && swapon /dev/vda
check 'load refuses one that is swapped to' load_refuses "$EBUSY" 'the first OS swaps to /dev/vda$' /dev/vda
swapoff /dev/vda
mount -o remount,ro /small
check 'load refuses to write to a read-only file system' load_refuses 'Read-only file system' "Add ':ro'" /small/full
mount -o remount,rw /small

check 'disks takes files and a block device' put $os/disks '/mnt/data /dev/vda /mnt/shared:ro /small/full'
check 'and shows them' is $os/disks '/mnt/data /dev/vda /mnt/shared:ro /small/full'
put $MINT/os2/disks '/mnt/shared:ro /mnt/other'
check_io write /dev/vda 1 >/dev/null
check 'an OS with four disks starts' start_os os1
check 'the other with two' start_os os2
tell os1 "data=\$(disk_of $DATA) block=\$(disk_of $BLOCK) shared=\$(disk_of $SHARED) full=\$(disk_of $FULL)"
tell os2 "shared=\$(disk_of $SHARED)"
serials='echo serials: $(for disk in $data $block $shared $full; do cat /sys/block/${disk#/dev/}/device/serial; done).'
check 'the first has them' run "$serials" 'serials: ([0-9a-f]{16} ?){4}\.'
before=$(said 'serials: ([0-9a-f ]*)')
check 'its block device has what the first OS has written' run 'check_io read $block 1' '4 MiB of 1 came whole'
tell os1 'check_io read $shared 3'
tell os2 'check_io read $shared 3'
check 'it reads a file' expect os1 '4 MiB of 3 came whole'
check 'the other reads the same file' expect os2 '4 MiB of 3 came whole'
check 'which is read-only' run 'echo ro: $(cat /sys/block/${shared#/dev/}/ro /sys/block/${data#/dev/}/ro).' 'ro: 1 0\.'
check 'so that it can not write there' run 'check_io write $shared 4 2>&1 || echo was refused' 'was refused'
check 'it writes to a file' run 'check_io write $data 4' '4 MiB of 4 written'
check 'and reads' run 'check_io read $data 4' '4 MiB of 4 came whole'
check 'it writes to the block device' run 'check_io write $block 5' '4 MiB of 5 written'
check 'and reads' run 'check_io read $block 5' '4 MiB of 5 came whole'
check 'disk_stats has a line for each' test "$(cut -d' ' -f1 $os/disk_stats | tr '\n' ' ')" = '/mnt/data /dev/vda /mnt/shared /small/full '
check 'with 19 fields each' test "$(awk '{ print NF }' $os/disk_stats | sort -u)" = 19
check 'what was written is counted' counts /mnt/data 8 -eq $((4 << 11))
check 'what was read' counts /mnt/data 4 -ge $((4 << 11))
check 'and flushes' counts /mnt/data 17 -ge 1
check 'there were no errors' counts /mnt/data 19 -eq 0
check 'nothing was written to the file that is read only' counts /mnt/shared 6 -eq 0
check 'the first OS can not mount the block device meanwhile' fails 'busy' mount -t ext4 /dev/vda /small
check 'another can not have a file that it writes to' other_refuses '/mnt/data'
check 'not even to read' other_refuses '/mnt/data:ro'
check 'nor its block device' other_refuses '/dev/vda'

# A file that can't grow: the storage has 4 MiB for 12.
check 'what finds no room fails' run 'dd if=/dev/urandom of=$full bs=1M count=12 oflag=direct 2>&1 | sed "s/$/ (full)/"' 'No space left on device \(full\)'
check 'which is counted' counts /small/full 19 -ge 1
check 'there is still room on the others' run 'check_io write $data 6' '4 MiB of 6 written'

truncate -s 21M /mnt/data
check 'a file that grows is a larger disk at once' run "disk_of $GROWN" '/dev/nvme.n1'
check 'with the same contents' run 'check_io read $data 6' '4 MiB of 6 came whole'
check 'its log is quiet' quiet_disk_log
check 'reboot' goes os1 reboot restarting running
check 'it comes up again' expect os1 'mint-successor-up'
tell os1 "data=\$(disk_of $GROWN) block=\$(disk_of $BLOCK) shared=\$(disk_of $SHARED) full=\$(disk_of $FULL)"
check 'it has its disks' run "$serials" 'serials: ([0-9a-f]{16} ?){4}\.'
check 'with the same serial numbers' test "$(said 'serials: ([0-9a-f ]*)')" = "$before"
check 'and what it has written' run 'check_io read $data 6' '4 MiB of 6 came whole'
tell os1 'while :; do dd if=/dev/zero of=$data bs=64k count=64 oflag=direct; done >/dev/null 2>&1 &'
check 'it writes on' await is_busy /mnt/data
check 'stop while it writes' put $os/stop 1
check 'the first OS reads what it has written before' check_io read /dev/vda 5
check 'the other goes on' run2 'check_io read $shared 3' '4 MiB of 3 came whole'
check_io write /mnt/data 8 >/dev/null
truncate -s 20M /mnt/data
put $os/disks '/mnt/data /dev/vdb'
check 'start with a file that the first OS has written' start_os os1
check 'it reads that' run "check_io read \$(disk_of $DATA) 8" '4 MiB of 8 came whole'
check 'its log is quiet' quiet_disk_log
tell os1 "bad=\$(disk_of $BAD)"
check 'what the storage can not read fails' run 'dd if=$bad of=/dev/null bs=4k skip=512 count=1 iflag=direct 2>&1 | sed "s/$/ (read)/"' 'No data available \(read\)'
check 'what it can not write, too' run 'dd if=/dev/zero of=$bad bs=4k seek=512 count=1 oflag=direct 2>&1 | sed "s/$/ (write)/"' 'No data available \(write\)'
check 'its log says which medium is bad' log_says os1 'critical medium error, dev nvme.n1, sector 4096'
check 'both errors are counted' counts /dev/vdb 19 -eq 2
check 'there are no errors beside' run 'MIB=1 check_io write $bad 10; MIB=1 check_io read $bad 10' '1 MiB of 10 came whole'
check 'poweroff' goes os1 poweroff halted
drop_os os1
drop_os os2
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-4
check 'rmmod' rmmod mint
check 'nobody has the block device any more' sh -c '/usr/sbin/mke2fs -q -t ext4 /dev/vda && mount -t ext4 /dev/vda /small'
check 'nor the file' umount /mnt
plan
