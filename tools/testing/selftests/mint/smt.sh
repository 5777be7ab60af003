# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# SMT is turned off and on while an OS has threads of cores: three cores, CPUs 0-1, 2-3 and 4-5.

. /tests/lib.sh

release_uart 0x2f8
insmod /mint.ko
os=$MINT/os1
cpus=/sys/devices/system/cpu

check 'there is SMT' is $cpus/smt/control on
make_os os1 3 128M 0x2f8
check 'an OS starts on the second thread of a core' start_os os1
check 'the first OS takes that for a CPU that is not there' is $cpus/present 0-2,4-5
check 'it does not come online' fails "$EINVAL" put $cpus/cpu3/online 1
put $MINT/add os2
check 'it is not for another OS' refuses "$EBUSY" "CPU 3 belongs to 'os1'" $MINT/os2/cpus 3
check 'SMT is turned off' put $cpus/smt/control off
check 'the first threads are online' is $cpus/online 0,2,4
check 'SMT is turned on' put $cpus/smt/control on
check 'all CPUs of the first OS are back' is $cpus/online 0-2,4-5
check 'the successor has not missed a tick' ticks_on os1
check 'stop' put $os/stop 1
check 'its CPU is back' is $cpus/online 0-5
check 'and present' is $cpus/present 0-5

put $os/cpus 2-3
check 'an OS starts on a core' start_os os1
check 'its first thread does not come online' refuses "$EPERM" "CPU 2 belongs to 'os1'" $cpus/cpu2/online 1
check 'SMT is turned off, without its core' put $cpus/smt/control off
check 'the first threads of the others are online' is $cpus/online 0,4
check 'SMT is turned on, without its core' put $cpus/smt/control on
check 'all CPUs of the first OS are back again' is $cpus/online 0-1,4-5
check 'the successor has not missed a tick' ticks_on os1

put $cpus/smt/control off
dmesg -c >/dev/null
check 'stop while SMT is off' put $os/stop 1
check 'the second thread stays offline' is $cpus/online 0,2,4
check 'the log says why' sh -c 'dmesg | grep -q "mint: CPU 3 stays offline, as SMT is off"'
check 'SMT is turned on again' put $cpus/smt/control on
check 'all CPUs are back' is $cpus/online 0-5
put $MINT/remove os1
put $MINT/remove os2
check 'rmmod' rmmod mint
plan
