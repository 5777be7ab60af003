# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The ways in which a successor on two CPUs dies without being asked to.

. /tests/lib.sh

release_uart 0x2f8
insmod /mint.ko
os=$MINT/os1
online=/sys/devices/system/cpu/online

again() {
	put $os/restart 1 && is $os/state running && expect os1 "mint-successor-up: .*, 2 CPUs"
}
provoke() {
	echo "insmod /provoke.ko how=$1"
}

make_os os1 2-3 128M 0x2f8
check 'it starts' start_os os1
check 'panic: it is crashed' dies os1 'echo c >/proc/sysrq-trigger' 'sysrq triggered crash'
note "panic: $(took) it was told to"
check 'its CPUs are still its own' is $online 0-1
check 'start refuses a crashed OS' refuses "$EBUSY" '' $os/start 1
check 'a crashed OS is not removed' refuses "$EBUSY" '' $MINT/remove os1
check 'restart of a crashed OS' again

tell os1 "$(provoke hang)"
check 'all its CPUs hang' log_says os1 'provoke: all CPUs hang'
# There is nothing to wait for when nothing is to happen.
sleep 5
check 'a hang is not noticed' is $os/state running
check 'restart of an OS that hangs' again
tell os1 "$(provoke hang)"
check 'all its CPUs hang again' log_says os1 'provoke: all CPUs hang'
check 'stop of an OS that hangs' put $os/stop 1
check 'all CPUs are back' is $online 0-3

put $os/cmdline panic=0
check 'it starts with panic=0' start_os os1
tell os1 'echo 1 >/proc/sys/kernel/panic_on_oops'
check 'oops: it is crashed' dies os1 "$(provoke oops)" 'Fatal exception'
check 'restart after an oops' again
check 'stack overflow: it is crashed' dies os1 "$(provoke overflow)" 'Fatal exception'
check 'restart after a stack overflow' again

tell os1 'tail /dev/zero'
check 'user space takes all memory: it is killed' expect os1 'Out of memory: Killed process [0-9]+ \(tail\)'
check 'the OS ticks on' ticks_on os1
check 'it is running' is $os/state running
tell os1 'echo 1 >/proc/sys/vm/panic_on_oom'
check 'out of memory: it is crashed' dies os1 'tail /dev/zero' 'Out of memory'
check 'stop of a crashed OS' put $os/stop 1

# Before there is an init: it is not there.
put $os/cmdline rdinit=/none
put $os/load 1
watch_state os1 running crashed
check 'it starts without an init' put $os/start 1
check 'panic before init: it is crashed' watched
check 'stop after that' put $os/stop 1

put $MINT/remove os1
check 'all CPUs are back' is $online 0-3
check 'all memory is back' is $MINT/memory_free $((960 << 20))
check 'rmmod' rmmod mint
plan
