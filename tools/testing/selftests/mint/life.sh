# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A successor on two CPUs powers off, halts and reboots: what the first OS sees of it,
# and what it does.

. /tests/lib.sh

release_uart 0x2f8
insmod /mint.ko
os=$MINT/os1
online=/sys/devices/system/cpu/online

make_os os1 2-3 128M 0x2f8
check 'recovery is disabled' is $os/recovery disabled
check 'restart refuses an OS that is offline' refuses "$EBUSY" "write 1 to 'start' instead" $os/restart 1
check 'restart refuses 2' refuses "$EINVAL" 'write 1' $os/restart 2
watch_state os1 loaded running
check 'it starts' start_os os1
check 'load and start are told by poll(2) and by uevents' watched
check 'it was not restarted yet' is $os/restarts 0

check 'poweroff: it is halted' goes os1 poweroff halted
note "poweroff: $(took) it was told to"
check 'its CPUs are still its own' is $online 0-1
# Or the machine is reset. UC without EN and S: an error that nobody has to act on.
check 'a CPU that rests takes a machine check' monitor 'mce 2 1 0xa000000000000000 0x5 0x0 0x0'
check 'it is halted still' is $os/state halted
check 'start refuses a halted OS' refuses "$EBUSY" '' $os/start 1
check 'load refuses a halted OS' refuses "$EBUSY" '' $os/load 1
check 'a halted OS is not configured' refuses "$EBUSY" '' $os/cpus 1
check 'a halted OS is not removed' refuses "$EBUSY" '' $MINT/remove os1
check 'rmmod is refused' sh -c '! rmmod mint'
check 'restart of a halted OS' put $os/restart 1
check 'it is running' is $os/state running
check 'it comes up' expect os1 "mint-successor-up: .*, 2 CPUs"
check 'it was restarted once' is $os/restarts 1

restarts=1
# reboots COMMAND [COUNTED]: the OS is restarted by what it does, and is another then.
reboots() {
	id=$(boot_id os1)
	check "$1: it is restarted" goes os1 "$1" restarting running
	note "$1: $(took) it was told to"
	check "$1: it comes up" expect os1 "mint-successor-up: .*, 2 CPUs"
	check "$1: its boot id is another" is_another os1 "$id"
	restarts=$((restarts + 1))
	check "$1: it is counted" is $os/restarts $restarts
	check "$1: its CPUs are its own" is $online 0-1
}
reboots reboot
reboots 'reboot -f'
reboots 'echo b >/proc/sysrq-trigger'

check 'halt -f: it is halted' goes os1 'halt -f' halted
watch_state os1 offline
check 'stop of a halted OS' put $os/stop 1
check 'stop is told by poll(2) and by a uevent' watched
check 'all CPUs are back' is $online 0-3
check 'all memory is back' is $MINT/memory_free $((960 << 20))

put $os/cmdline panic=1
check 'it starts again' start_os os1
check 'what is counted begins anew' is $os/restarts 0
restarts=0
reboots 'echo c >/proc/sysrq-trigger'
check 'restart of a running OS' put $os/restart 1
check 'stop, right then' put $os/stop 1
check 'all CPUs are back' is $online 0-3

# restart from the one state that is left.
put $os/load 1
check 'restart of a loaded OS' put $os/restart 1
check 'it is running' is $os/state running
drop_os os1
check 'all CPUs are back' is $online 0-3
check 'all memory is back' is $MINT/memory_free $((960 << 20))
check 'rmmod' rmmod mint
plan
