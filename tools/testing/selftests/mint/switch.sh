# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A PCIe switch, with a disk below one of its ports and a network card below another: an OS can have
# what is below one port, or all of it.

. /tests/lib.sh
. /tests/device_io.sh

UPSTREAM=0000:01:00.0
DOWNSTREAM='0000:02:00.0 0000:02:01.0'
NVME=0000:03:00.0
CARD=0000:04:00.0
OWN_CARD=0000:05:00.0

release_uart 0x2f8
ifconfig "$(interface $OWN_CARD)" 10.1.0.1 up
# shellcheck disable=SC2086 # a list
configurations $UPSTREAM $DOWNSTREAM $NVME $CARD >/tmp/before
insmod /mint.ko
make_os os1 2-3 256M 0x2f8
os=$MINT/os1

check 'devices refuses a part of a switch' refuses "$EINVAL" "0000:02:01.0 has to come along" $os/devices 0000:02:00.0
check 'devices refuses a switch without what is below' refuses "$EINVAL" "$NVME has to come along" $os/devices "$UPSTREAM $DOWNSTREAM"

put $os/devices $NVME
check 'an OS has what is below one port' start_os os1
check 'the first OS keeps the other' test "$(driver $CARD)" = virtio-pci
check 'the OS has no bridge' run 'echo functions: $(cd /sys/bus/pci/devices; echo *).' "functions: 0001:03:00.0\\."
check 'it writes to its disk' run 'check_io write /dev/nvme0n1 1' '16 MiB of 1 written'
check 'and reads' run 'check_io read /dev/nvme0n1 1' '16 MiB of 1 came whole'
check 'its log is quiet' quiet_log
check 'stop' put $os/stop 1

put $os/devices 0000:01
check 'an OS has all of it' start_os os1
check 'with the bridges' run 'echo functions: $(cd /sys/bus/pci/devices; echo *).' "functions: 0001:01:00.0 0001:02:00.0 0001:02:01.0 0001:03:00.0 0001:04:00.0\\."
check 'the disk has what was written' run 'check_io read /dev/nvme0n1 1' '16 MiB of 1 came whole'
exchange 2
check 'its log is quiet' quiet_log
check 'reboot' goes os1 reboot restarting running
check 'it comes up again' expect os1 'mint-successor-up'
check 'it has the disk' run 'check_io read /dev/nvme0n1 1' '16 MiB of 1 came whole'
check 'poweroff' goes os1 poweroff halted
check 'stop' put $os/stop 1
# shellcheck disable=SC2086 # a list
check 'the functions are configured as before' as_before $UPSTREAM $DOWNSTREAM $NVME $CARD
wait_disk /dev/nvme0n1
check 'the first OS reads what the OS has written' check_io read /dev/nvme0n1 1
drop_os os1
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
