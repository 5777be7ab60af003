# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A successor owns PCI devices, and drives them by its stock drivers: disks and a network card below
# root ports of their own. They are taken, used, given back, and used by the first OS again.

. /tests/lib.sh
. /tests/device_io.sh

ENODEV='No such device'
# The machine's devices, as DEVICES of selftests.py has them.
NVME=0000:01:00.0
DISK=0000:02:00.0
CARD=0000:03:00.0
# The first OS's own, on the same network.
OWN_DISK=/dev/vdb
OWN_CARD=0000:05:00.0
# A device of two functions, and one without MSI.
TWO=0000:06:00
MUTE=0000:07:00.0

# disk FUNCTION: what the first OS's driver has made of it.
disk() {
	find "/sys/bus/pci/devices/$1/" -name 'nvme0n1' -o -name 'vd[a-z]' | sed 's|.*/|/dev/|'
}
# all_configurations: of all functions.
all_configurations() {
	configurations $(ls /sys/bus/pci/devices)
}
# start_refuses HINT: start fails, and nothing is half done.
start_refuses() {
	refuses "$EBUSY" "$1" $os/start 1 && is $os/state loaded && is /sys/devices/system/cpu/online 0-3 &&
		has_driver $NVME nvme && has_driver $DISK virtio-pci && has_driver $CARD virtio-pci
}

release_uart 0x2f8
release_uart 0x3e8
all_configurations >/tmp/before
insmod /mint.ko
make_os os1 2-3 256M 0x2f8
make_os os2 1 128M 0x3e8
os=$MINT/os1

# What can't be given.
for value in x 0000:01:00 0000:01:00.8 1:0.0 "$NVME," -; do
	check "devices refuses '$value'" refuses "$EINVAL" 'devices takes' $os/devices "$value"
done
check 'devices refuses what is not there' refuses "$ENODEV" 'there is no 0000:01:00.1' $os/devices "$NVME 0000:01:00.1"
check 'devices refuses a bus on which nothing is' refuses "$ENODEV" 'there is no 0000:70' $os/devices 0000:70
check 'devices refuses a function on the root bus' refuses "$EINVAL" 'root bus' $os/devices 0000:00:00.0
check 'devices refuses a part of a device' refuses "$EINVAL" "$TWO.1 has to come along" $os/devices $TWO.0
check 'devices refuses what has no MSI' refuses "$EINVAL" 'neither MSI nor MSI-X' $os/devices $MUTE
echo vfio-pci >/sys/bus/pci/devices/$NVME/driver_override
check 'devices refuses what is meant for another driver' refuses "$EBUSY" 'driver_override' $os/devices $NVME
echo >/sys/bus/pci/devices/$NVME/driver_override
check 'devices is empty as before' is $os/devices ''
check 'devices takes functions and buses' put $os/devices "$NVME 0000:02 03:00.0 $TWO.0 $TWO.1"
check 'and shows them' is $os/devices "$NVME 0000:02 $CARD $TWO.0 $TWO.1"
check 'it takes nothing' put $os/devices ''
put $os/devices "$NVME 0000:02 $CARD"

# What is in use.
check 'load' put $os/load 1
check 'devices refuses an OS that is loaded' refuses "$EBUSY" "write 1 to 'stop' first" $os/devices ''
check 'its command line keeps it from the ports of PCI' grep -q ' pci=' $os/command_line
mkswap "$(disk $DISK)" >/dev/null && swapon "$(disk $DISK)"
check 'start refuses a disk that is swapped to' start_refuses 'is in use'
swapoff "$(disk $DISK)"
exec 5<"$(disk $NVME)"
check 'start refuses a disk that is open' start_refuses 'is open'
exec 5<&-
ifconfig "$(interface $CARD)" up
check 'start refuses an interface that is up' start_refuses 'is up'
ifconfig "$(interface $CARD)" down

# One cycle, with all that goes through.
check_io write "$(disk $DISK)" 1 >/dev/null
check 'start' put $os/start 1
check 'it comes up' expect os1 'mint-successor-up'
for function in $NVME $DISK $CARD; do
	check "Mint is the first OS's driver of $function" has_driver $function mint
done
check 'another can not have them' refuses "$EBUSY" "belongs to 'os1'" $MINT/os2/devices 0000:02
check 'it has a disk with what the first OS has written' run 'check_io read /dev/vda 1' '16 MiB of 1 came whole'
check 'it writes to its disks' run 'check_io write /dev/nvme0n1 2' '16 MiB of 2 written'
check 'and reads' run 'check_io read /dev/nvme0n1 2' '16 MiB of 2 came whole'
ifconfig "$(interface $OWN_CARD)" 10.1.0.1 up
exchange 3
tell os1 'check_io write /dev/nvme0n1 5'
check 'the first OS writes to its own disk meanwhile' check_io write $OWN_DISK 6
check 'and both are done' expect os1 '16 MiB of 5 written'
check "the first OS's data are whole" check_io read $OWN_DISK 6
check "the successor's too" run 'check_io read /dev/nvme0n1 5' '16 MiB of 5 came whole'
check 'no interrupt is shared with its serial port' run 'grep ttyS /proc/interrupts || echo no-ttyS' no-ttyS
check 'its log is quiet' quiet_log
check 'reboot' goes os1 reboot restarting running
check 'it comes up again' expect os1 'mint-successor-up'
check 'its disk is there' run 'check_io read /dev/nvme0n1 5' '16 MiB of 5 came whole'
check 'poweroff' goes os1 poweroff halted
check 'no device can use memory then' test "$(($(od -An -tu1 -j4 -N1 /sys/bus/pci/devices/$NVME/config) & 4))" = 0
check 'stop' put $os/stop 1
check 'the first OS has its drivers' has_driver $NVME nvme
check 'of all' has_driver $DISK virtio-pci
check 'devices' has_driver $CARD virtio-pci
check 'the first OS reads what the successor has written' check_io read "$(disk $NVME)" 5
check 'the functions are configured as before' as_before $(ls /sys/bus/pci/devices)

# A panic in the midst.
put $os/load 1
put $os/start 1
expect os1 'mint-successor-up'
tell os1 'while :; do check_io write /dev/nvme0n1 7; done >/dev/null &'
tell os1 'ifconfig eth0 10.1.0.2 up; ping -q 10.1.0.1 >/dev/null &'
check 'a panic while it writes' dies os1 'sleep 1; echo c >/proc/sysrq-trigger' 'sysrq triggered crash'
check 'stop' put $os/stop 1
check 'what it did not write to is whole' check_io read "$(disk $DISK)" 1
check 'the first OS writes to the other' check_io write "$(disk $NVME)" 8
check 'and reads it' check_io read "$(disk $NVME)" 8

# What the first OS loses, and finds again, is not its own.
put $os/start 1
expect os1 'mint-successor-up'
echo 1 >/sys/bus/pci/devices/$DISK/remove
dmesg -c >/dev/null
echo 1 >/sys/bus/pci/rescan
check 'a function that the first OS finds again stays the OS'"'"'s' has_driver $DISK mint
check 'the log tells so' sh -c "dmesg | grep -q 'os1: $DISK is found anew'"
check 'restart' put $os/restart 1
check 'it comes up' expect os1 'mint-successor-up'
check 'it has the disk' run 'check_io read /dev/vda 1' '16 MiB of 1 came whole'
check 'stop' put $os/stop 1
check 'then the first OS has it' has_driver $DISK virtio-pci
check 'whole' check_io read "$(disk $DISK)" 1

echo 1 >/sys/bus/pci/devices/$TWO.1/remove
put $os/devices $TWO.0
put $os/start 1
expect os1 'mint-successor-up'
echo 1 >/sys/bus/pci/rescan
check "what the first OS finds beside an OS's function gets no driver" has_driver $TWO.1 ''
check 'nor can another have it' refuses "$EBUSY" "belongs to 'os1'" $MINT/os2/devices "$TWO.0 $TWO.1"
check 'stop' put $os/stop 1
check 'the first OS has both' has_driver $TWO.0 virtio-pci
check 'of them' has_driver $TWO.1 virtio-pci
put $os/devices "$NVME 0000:02 $CARD"

# Many cycles.
cycles() {
	cycle=0
	while [ $cycle -lt "$CYCLES" ]; do
		cycle=$((cycle + 1))
		at "cycle $cycle of $CYCLES"
		put $os/start 1 && expect os1 'mint-successor-up' &&
			run "echo cycle $cycle | tee /dev/nvme0n1 >/dev/vda; sync; ifconfig eth0 10.1.0.2 up; ping -c 1 10.1.0.1 && echo through $cycle" "through $cycle\\b" &&
			put $os/stop 1 && [ "$(head -n 1 "$(disk $NVME)")" = "cycle $cycle" ] &&
			[ "$(head -n 1 "$(disk $DISK)")" = "cycle $cycle" ] || {
			echo "in cycle $cycle"
			return 1
		}
	done
}
check "$CYCLES cycles of start, use, stop, use by the first OS" cycles
check 'the functions are configured as before' as_before $(ls /sys/bus/pci/devices)
drop_os os1
drop_os os2
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
