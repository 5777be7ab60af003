# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A Debian with systemd whose root file system is in a file of the first OS, on one CPU and on four:
# what fio and nvme-cli say of its disk.

. /tests/lib.sh
. /tests/device_io.sh
. /tests/disk_file.sh

release_uart 0x2f8
insmod /mint.ko
mkdir -p /mnt
mount -t ext4 /dev/nvme0n1 /mnt
make_os os1 2 512M 0x2f8
os=$MINT/os1
put $os/initrd /boot/initrd.disk
put $os/disks /mnt/debian.img
# systemd waits for a minute and a half by itself, for which this may be too slow.
put $os/cmdline 'root=/dev/nvme0n1 TERM=dumb systemd.log_color=0 systemd.default_device_timeout_sec=900 systemd.default_timeout_start_sec=900'

# logs_in CPUS: Debian comes to its login on that many CPUs, and root logs in.
logs_in() {
	expect os1 'Welcome to' && expect os1 'Reached target.*Basic System' && expect os1 'login: ' || return
	tell os1 root
	expect os1 ':~# ' || return
	# What is told is not echoed, and a plain shell has no control sequences.
	tell os1 'stty -echo; exec sh'
	ask os1 "nproc; findmnt -no SOURCE /" && [ "$answer" = "$1 /dev/nvme0n1" ]
}
# is_well: none of systemd's units has failed, and the kernel has nothing to say of the disk.
is_well() {
	ask os1 'systemctl is-system-running --wait; systemctl --failed --plain --no-legend' && [ "$answer" = running ] || {
		echo "$answer"
		return 1
	}
	quiet_disk_log
}
# verifies ENGINE: fio reads what it has written, 4 jobs with up to 32 requests each of mixed sizes.
verifies() {
	run "fio --name=verify --directory=/root --ioengine=$1 --direct=1 --numjobs=4 --iodepth=32 --size=8M --rw=randwrite --bsrange=4k-256k --verify=crc32c --verify_fatal=1 --group_reporting --output=/tmp/fio --minimal; echo fio: \$?, \$(cut -d';' -f5 /tmp/fio)." 'fio: 0, 0\.'
}

put $os/load 1
check 'a Debian starts on one CPU' put $os/start 1
check 'it comes to its login' logs_in 1
check 'it is well' is_well
check 'fio writes and verifies by io_uring' verifies io_uring
check 'nvme id-ctrl' run 'nvme id-ctrl -H /dev/nvme0 >/tmp/said; echo id-ctrl: $?, $(grep -cE "Unknown|[Ii]nvalid" /tmp/said), $(sed -n "s/^mn *: *//p" /tmp/said).' 'id-ctrl: 0, 0, Mint'
check 'nvme id-ns' run 'nvme id-ns -H /dev/nvme0n1 >/tmp/said; echo id-ns: $?, $(grep -cE "Unknown|[Ii]nvalid" /tmp/said), $(grep "in use" /tmp/said).' 'id-ns: 0, 0, LBA Format 0 : Metadata Size: 0 bytes - Data Size: 512 bytes'
check 'nvme smart-log' run 'nvme smart-log /dev/nvme0 >/tmp/said; echo smart-log: $?, $(sed -n "s/^critical_warning.*: *//p;s/^media_errors.*: *//p;s/^available_spare[[:space:]]*: *//p" /tmp/said).' 'smart-log: 0, 0 100% 0\.'
check 'nvme error-log' run 'nvme error-log /dev/nvme0 >/tmp/said; echo error-log: $?, $(grep -c "^ *Entry\\[" /tmp/said) entries.' 'error-log: 0, 4 entries\.'
check 'nvme format is refused' run 'nvme format --force /dev/nvme0n1; echo format: $?.' 'format: [1-9][0-9]*\.'
check 'nvme reset' run 'nvme reset /dev/nvme0; echo reset: $?; dd if=/dev/nvme0n1 of=/dev/null bs=1M count=4 iflag=direct 2>/dev/null; echo read: $?' 'reset: 0[^|]*read: 0'
check 'poweroff' goes os1 'systemctl --no-block poweroff' halted
put $os/stop 1
put $os/cpus 2-5
put $os/load 1
check 'it starts on four CPUs' put $os/start 1
check 'it comes to its login again' logs_in 4
check 'it is well again' is_well
check 'fio writes and verifies by libaio' verifies libaio
check 'poweroff' goes os1 'systemctl --no-block poweroff' halted
drop_os os1
check 'the file system is clean' /usr/sbin/e2fsck -f -n /mnt/debian.img
umount /mnt
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-5
check 'rmmod' rmmod mint
plan
