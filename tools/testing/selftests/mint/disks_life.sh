# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The life of an OS whose file system is in a file of the first OS: reboot, panic in the midst of
# writes, and what befalls a disk while it is used: controller reset, another driver, removal, CPUs
# that come and go.

. /tests/lib.sh
. /tests/device_io.sh
. /tests/disk_file.sh

# Sizes in sectors, by which the OS finds the disks.
FS=$((40 << 11))
BLOCK=$((64 << 11))

release_uart 0x2f8
insmod /mint.ko
store /dev/nvme0n1
truncate -s 40M /mnt/fs
/usr/sbin/mke2fs -q -t ext4 /mnt/fs
make_os os1 2-3 256M 0x2f8
os=$MINT/os1
put $os/cmdline MIB=$MIB
put $os/disks '/mnt/fs /dev/vda'

# begin: os1 finds its disks once it is up, and mounts the file system.
begin() {
	expect os1 'mint-successor-up' &&
		run "fs=\$(disk_of $FS) block=\$(disk_of $BLOCK); mkdir -p /mnt; mount -t ext4 \$fs /mnt && echo is mounted" 'is mounted'
}

put $os/load 1
check 'an OS starts' put $os/start 1
check 'it mounts a file system' begin
check 'it fills it' run 'check_io make 1 >/mnt/first && sync && echo is filled' 'is filled'
check 'its log is quiet' quiet_disk_log
check 'reboot' goes os1 'umount /mnt; reboot -f' restarting running
check 'it mounts it again' begin
check 'with what it has written' run 'check_io compare 1 </mnt/first' '4 MiB of 1 came whole'
check 'its log is quiet' quiet_disk_log

# A panic: what was flushed is there, and the journal mends the rest.
check 'it writes a file and flushes it' run 'rm /mnt/first; check_io make 2 >/mnt/second && sync && echo is flushed' 'is flushed'
tell os1 'number=0; while :; do number=$((number + 1)); MIB=1 check_io make $number >/mnt/more.$((number % 8)); echo $number >>/mnt/list; sync; done >/dev/null 2>&1 &'
check 'it goes on writing' await is_busy /mnt/fs
check 'a panic while it writes' dies os1 'sleep 1; echo c >/proc/sysrq-trigger' 'sysrq triggered crash'
check 'nothing is under way any more' counts /mnt/fs 10 -eq 0
check 'restart' put $os/restart 1
check 'it mounts it once more' begin
check 'what was flushed is there' run 'check_io compare 2 </mnt/second' '4 MiB of 2 came whole'
check 'its log is quiet but for the journal' quiet_disk_log
tell os1 'while :; do MIB=1 check_io make 3 >/mnt/more; sync; done >/dev/null 2>&1 &'
check 'it writes once more' await is_busy /mnt/fs
check 'a panic again' dies os1 'sleep 1; echo c >/proc/sysrq-trigger' 'sysrq triggered crash'
check 'stop' put $os/stop 1
# 1: something was mended, as the journal says.
check 'the first OS replays the journal' sh -c '/usr/sbin/e2fsck -p /mnt/fs || [ $? = 1 ]'
check 'the file system is clean' /usr/sbin/e2fsck -f -n /mnt/fs
mkdir /fs
# Its kernel has no loop devices.
check 'the first OS can mount a copy' sh -c 'dd if=/mnt/fs of=/dev/vda bs=1M conv=fsync 2>/dev/null && mount -t ext4 /dev/vda /fs'
check 'what was flushed is there' sh -c 'check_io compare 2 </fs/second'
umount /fs

# What befalls a disk in use.
check 'start' put $os/start 1
check 'it mounts the file system' begin
tell os1 'function=$(basename $(readlink -f /sys/block/${block#/dev/}/device/device)) name=$(basename $(readlink -f /sys/block/${block#/dev/}/device))'
# Besides, it reads all the time.
tell os1 'load() { while :; do dd if=$block of=/dev/null bs=64k iflag=direct 2>/dev/null || usleep 10000; done; }; load & loader=$!'
check 'a controller reset while it writes' run 'check_io write $block 4 & await=$!; for count in 1 2 3; do echo 1 >/sys/class/nvme/$name/reset_controller || echo no reset; done; wait $await; echo three resets' '4 MiB of 4 written[^|]*three resets'
check 'it reads what it has written' run 'check_io read $block 4' '4 MiB of 4 came whole'
check 'CPUs come and go while it writes' run 'check_io write $block 5 & await=$!; for count in 1 2 3 4; do echo 0 >/sys/devices/system/cpu/cpu1/online; echo 1 >/sys/devices/system/cpu/cpu1/online; done; wait $await; echo four times' '4 MiB of 5 written[^|]*four times'
check 'it reads that' run 'check_io read $block 5' '4 MiB of 5 came whole'
check 'its log is quiet' quiet_disk_log
check 'its driver lets go while it reads, and takes the disk again' run "echo \$function >/sys/bus/pci/drivers/nvme/unbind; echo \$function >/sys/bus/pci/drivers/nvme/bind; kill \$loader; block=\$(disk_of $BLOCK); check_io read \$block 5" '4 MiB of 5 came whole'
tell os1 'load & loader=$!'
check 'it is removed while it reads, and found again' run "echo 1 >/sys/bus/pci/devices/\$function/remove; echo 1 >/sys/bus/pci/rescan; kill \$loader; block=\$(disk_of $BLOCK); check_io read \$block 5" '4 MiB of 5 came whole'
check 'it writes to it' run 'check_io write $block 6' '4 MiB of 6 written'
check 'and reads' run 'check_io read $block 6' '4 MiB of 6 came whole'
check 'the other disk has noticed nothing' run 'check_io compare 2 </mnt/second' '4 MiB of 2 came whole'
check 'poweroff' goes os1 'umount /mnt; poweroff -f' halted
check 'stop' put $os/stop 1
check 'the file system is clean' /usr/sbin/e2fsck -f -n /mnt/fs
check 'the first OS reads what was written' check_io read /dev/vda 6
drop_os os1
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
