# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The job $JOB in the first OS and in a successor, alone and with the other at it as
# well; and twice in the first OS, on two CPUs of its own.

. /bench/lib.sh

# job WHO CPU: does the job once, and tells of it.
job() {
	taskset -c "$2" tsc_job "$JOB" "$SECONDS_EACH" >"/tmp/job-$1"
}
tell_job() {
	xargs -n 16 echo "job $1" <"/tmp/job-$1" >&3
}

must insmod /mint.ko
# The same CPU, one after the other.
for os in os1 os2; do
	make_os $os 2 256M "$CMDLINE"
done
job first-alone 0
job control-1 0 &
job control-2 1 &
wait
for who in first-alone control-1 control-2; do
	tell_job $who
done
run_os os1
report os1
must put $MINT/os1/stop 1
run_os os2 &
successor=$!
while kill -0 $successor 2>/dev/null; do
	job first 0
	tell_job first
done
report os2
say 'done'
