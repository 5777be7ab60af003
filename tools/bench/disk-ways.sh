# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The disk jobs JOBS with the same disk, by the way CASE. The first OS and the successor have a CPU
# each. "idle" tells of the CPU time of the poller while a successor has a disk and does nothing.

. /bench/lib.sh

DISK=/dev/nvme0n1
FUNCTION=0000:01:00.0

# loop OPTION...: the disk behind a loop device.
loop() {
	must modprobe loop
	must /usr/sbin/losetup "$@" /dev/loop0 $DISK
}

jobs_of_first() {
	measure-jobs "$1" "$JOBS" >/tmp/jobs 2>&1
	cat /tmp/jobs >&3
}

# poller_time: the nanoseconds that the poller had a CPU, and when that was, in seconds.
poller_time() {
	must pidof mint-poller
	echo "$(cut -d' ' -f1 "/proc/$must_output/schedstat") $(cut -d' ' -f1 /proc/uptime)"
}

wait_disk $DISK
echo none >/sys/block/nvme0n1/queue/scheduler
case $CASE in
direct)
	jobs_of_first $DISK
	;;
loop)
	loop --direct-io=on
	jobs_of_first /dev/loop0
	;;
cached_loop)
	loop
	jobs_of_first /dev/loop0
	;;
*)
	must insmod /mint.ko
	# A kernel that has less than 512 MiB does without huge pages.
	make_oses 1 1 768M "$CMDLINE"
	case $CASE in
	own) must put $MINT/os1/devices $FUNCTION ;;
	*) must put $MINT/os1/disks $DISK ;;
	esac
	if [ "$CASE" = idle ]; then
		must tsc_write $MINT/os1/load $MINT/os1/start
		until grep -q 'mint-bench: idle' $MINT/os1/dmesg; do
			sleep 1
		done
		# It sleeps longer and longer, and longest after a second.
		sleep 2
		stats=$(cat $MINT/os1/disk_stats)
		say "poller $(poller_time)"
		sleep "$IDLE_SECONDS"
		say "poller $(poller_time)"
		# Or it was not idle.
		must [ "$stats" = "$(cat $MINT/os1/disk_stats)" ]
		must put $MINT/os1/stop 1
	else
		run_os os1
		report os1
	fi
	;;
esac
say 'done'
# Waits until all is sent, which the power off that follows does not.
exec 3>&-
