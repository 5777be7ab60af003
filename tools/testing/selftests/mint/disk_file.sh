# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What tests of disks made of memory share; os is the directory of the OS that has them.

# How much check_io moves. What a kernel does not know on its command line, it gives init as the
# environment, so that it is the same in a successor with this in cmdline.
export MIB=4

# store DEVICE: there is a file system for files that hold disks, on /mnt.
store() {
	/usr/sbin/mke2fs -q -t ext4 "$1" && mkdir -p /mnt && mount -t ext4 "$1" /mnt
}

# said PATTERN: what the group in PATTERN last matched in the output of os1.
said() {
	echo "last os1 $1" >&3
	read -r answer <&3
	echo "$answer"
}

# run2 COMMAND PATTERN: as run, for os2.
run2() {
	tell os2 "$1" && expect os2 "$2"
}

# counts PATH FIELD COMPARISON NUMBER: compares the field of disk_stats, where the path is the first.
counts() {
	counted=$(awk -v path="$1" -v field="$2" '$1 == path { print $field }' $os/disk_stats)
	test "$counted" "$3" "$4" || {
		echo "field $2 is $counted, not $3 $4: $(cat $os/disk_stats)"
		false
	}
}

# is_busy PATH: a request is under way.
is_busy() {
	counts "$1" 10 -gt 0
}

# other_refuses DISK: an OS besides the two is refused the disk.
other_refuses() {
	make_os os3 4 64M &&
		put $MINT/os3/disks "$1" &&
		refuses "$EBUSY" "${1%:ro}\b.*only one can write\|${1%:ro} can.t be a disk.*must not be mounted" $MINT/os3/load 1
	refused=$?
	put $MINT/remove os3
	return $refused
}

# quiet_disk_log: the log of os1 says nothing of a disk that is not well.
quiet_disk_log() {
	quiet_log && has_no_disk_error
}
# has_no_disk_error: nor does /tmp/dmesg. A reset cancels (-4) the scan that the reset before has begun.
has_no_disk_error() {
	! grep -vF "Identify namespace failed (-4)" /tmp/dmesg | grep -E "nvme.*(timeout,|reset|abort|polled|fail|error|Disabling)|I/O error|EXT4-fs (error|warning)"
}
