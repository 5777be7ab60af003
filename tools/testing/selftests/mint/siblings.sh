# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Three systems at work: one of them panics, and the others do not notice.

. /tests/lib.sh

release_uart 0x2f8
release_uart 0x3e8
insmod /mint.ko
random_id=/proc/sys/kernel/random/boot_id

make_os os1 2 128M 0x2f8
make_os os2 3 128M 0x3e8
first_ticks
check 'the first starts' start_os os1
check 'the second starts' start_os os2
first_id=$(cat $random_id)
os1_id=$(boot_id os1)
os2_id=$(boot_id os2)

check 'the second panics, and is crashed' dies os2 'echo c >/proc/sysrq-trigger' 'sysrq triggered crash'
check 'the first is running' is $MINT/os1/state running
check 'the first ticks on' ticks_on os1
check 'the second is started again, as it was loaded' put $MINT/os2/restart 1
check 'it comes up' expect os2 'mint-successor-up'
check 'its boot id is another' is_another os2 "$os2_id"
check 'the first has its boot id' is_same os1 "$os1_id"
check 'the first has not missed a tick' ticks_on os1
check 'the first OS has its boot id' is $random_id "$first_id"
check 'the first OS has not missed a tick' first_ticked

check 'stop of the second' put $MINT/os2/stop 1
check 'the first ticks on' ticks_on os1
check 'stop of the first' put $MINT/os1/stop 1
put $MINT/remove os1
put $MINT/remove os2
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'all memory is back' is $MINT/memory_free $((960 << 20))
check 'all low memory is back' is $MINT/low_memory_free $LOW_FREE
check 'rmmod' rmmod mint
plan
