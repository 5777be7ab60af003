# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# An OS that writes nonsense to the registers, interrupts, doorbells, configuration space and queues of
# its disk, while another OS and the first OS go on; see scribble.c.

. /tests/lib.sh
. /tests/device_io.sh
. /tests/disk_file.sh

FUNCTION=0001:00:01.0
DISK=/dev/nvme0n1

release_uart 0x2f8
release_uart 0x3e8
insmod /mint.ko
truncate -s 20M /hostile.img
truncate -s 20M /peaceful.img
make_os os1 2-3 256M 0x2f8
make_os os2 1 128M 0x3e8
os=$MINT/os1
put $os/disks /hostile.img
put $os/cmdline "iomem=relaxed MIB=$MIB"
put $MINT/os2/cmdline MIB=$MIB
put $MINT/os2/disks /peaceful.img
check 'the OS that is going to be hostile starts' start_os os1
check 'a peaceful one starts' start_os os2
check 'the hostile one has a disk' run "wait_disk $DISK; check_io write $DISK 1" '4 MiB of 1 written'
first_ticks

# works WHEN: the disk of the peaceful one does.
works() {
	seed=$((seed + 1))
	check "the peaceful one writes while the other is hostile ($1)" run2 "wait_disk $DISK; check_io write $DISK $seed" "4 MiB of $seed written"
	check "and reads ($1)" run2 "check_io read $DISK $seed" "4 MiB of $seed came whole"
}
seed=1
# peaceful_log: the log of os2 is quiet.
peaceful_log() {
	cat $MINT/os2/dmesg >/tmp/dmesg && has_no_disk_error
}

tell os1 "while :; do cat $DISK; done >/dev/null 2>&1 &"
tell os1 "scribble $FUNCTION wild 10 1"
works 'registers of a disk in use'
check 'it was hostile' expect os1 'scribble: wild, [0-9]+ writes done'
check 'restart' put $os/restart 1
check 'it comes up' expect os1 'mint-successor-up'
check 'its disk works again' run "wait_disk $DISK; check_io read $DISK 1" '4 MiB of 1 came whole'

tell os1 "echo $FUNCTION >/sys/bus/pci/drivers/nvme/unbind; scribble $FUNCTION driven 20 2"
works 'queues of a driver out of its mind'
works 'the same'
check 'it was hostile' expect os1 'scribble: [0-9]+ times enabled, [1-9][0-9]* ready, [1-9][0-9]* fatal'
echo 'last os1 (scribble: [0-9]+ times enabled.*fatal)' >&3
read -r answer <&3
note "$answer"
check 'restart' put $os/restart 1
check 'it comes up' expect os1 'mint-successor-up'
check 'its disk works again' run "wait_disk $DISK; check_io write $DISK 2" '4 MiB of 2 written'
check 'and reads' run "check_io read $DISK 2" '4 MiB of 2 came whole'

tell os1 "echo $FUNCTION >/sys/bus/pci/drivers/nvme/unbind; scribble $FUNCTION driven 600 3"
check 'it is hostile once more' expect os1 'scribble: begins'
check 'stop while it is hostile' put $os/stop 1
works 'when it is gone'
check "the log of the peaceful one is quiet" peaceful_log
check 'the peaceful one has ticked' ticks_on os2
check 'and so has the first OS' first_ticked
note "$check_output"
check 'the first OS has not much to say of it' test "$(dmesg | grep -c mint:)" -lt 50
check 'start' start_os os1
check 'its disk works as ever' run "wait_disk $DISK; check_io write $DISK 9" '4 MiB of 9 written'
check 'and reads' run "check_io read $DISK 9" '4 MiB of 9 came whole'
drop_os os1
drop_os os2
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
