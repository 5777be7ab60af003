# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The disk job $JOB, COUNT times: in the first OS, in a successor, or in a successor while the
# first OS does the same with a disk of its own ($CASE). Each system has one CPU.

. /bench/lib.sh

# The disk that is measured, and the one that is never given away.
DISK=0000:01:00.0
OWN_DISK=0000:02:00.0

if [ "$CASE" = first ]; then
	must put /sys/devices/system/cpu/cpu1/online 0
	say "disk $(measure-disk $DISK "$JOB" "$COUNT" 2>&1)"
else
	must insmod /mint.ko
	# A kernel that has less than 512 MiB does without huge pages.
	make_oses 1 1 768M "$CMDLINE"
	must put $MINT/os1/devices $DISK
	if [ "$CASE" = successor_beside_busy ]; then
		must measure-disk $OWN_DISK "$JOB" 1
		measure-disk $OWN_DISK "$JOB" 0 &
		busy=$!
	fi
	run_os os1
	# It must have been at it all the time.
	[ -z "$busy" ] || must kill $busy
	report os1
fi
say 'done'
