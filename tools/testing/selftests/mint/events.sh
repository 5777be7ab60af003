# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What the first OS does while a successor has CPUs of it: sleep is refused, and
# CPUs that are its own come and go.

. /tests/lib.sh

release_uart 0x2f8
insmod /mint.ko
os=$MINT/os1
cpus=/sys/devices/system/cpu
sleep_file=/sys/power/state

make_os os1 2-3 128M 0x2f8
put $os/load 1
check 'the first OS does not hibernate while an OS is loaded' refuses "$EBUSY" 'no hibernation' $sleep_file disk
check 'a successor starts, as what was refused is over' put $os/start 1
check 'it comes up' expect os1 'mint-successor-up'
check 'the first OS does not hibernate' refuses "$EBUSY" "'os1'" $sleep_file disk
for kind in $(sed 's/disk//' $sleep_file); do
	check "the first OS does not go to sleep ($kind)" refuses "$EBUSY" "'os1'" $sleep_file "$kind"
done
check 'rmmod is refused' sh -c '! rmmod mint'
check 'the successor ticks on' ticks_on os1

stress() {
	turn=0
	while [ $turn -lt 100 ]; do
		put $cpus/cpu1/online 0 && put $cpus/cpu1/online 1 || {
			echo "turn $turn"
			return 1
		}
		turn=$((turn + 1))
	done
}
check "CPU 1 goes offline and online 100 times" stress
check 'the successor has not missed a tick' ticks_on os1
check 'its CPU does not come online' refuses "$EPERM" "CPU 2 belongs to 'os1'" $cpus/cpu2/online 1
check 'its CPUs are still its own' is $cpus/online 0-1

check 'it powers off, and is halted' goes os1 'poweroff -f' halted
check 'its CPU still does not come online' refuses "$EPERM" "CPU 2 belongs to 'os1'" $cpus/cpu2/online 1
check 'the first OS still does not go to sleep' refuses "$EBUSY" "'os1'" $sleep_file mem
drop_os os1
check 'all CPUs are back' is $cpus/online 0-3
check 'rmmod' rmmod mint
plan
