# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Successors of other kernels, of 64 and of 32 bits, own an NVMe disk, an Intel network card and a
# USB controller with a disk, one after the other. The first OS has no drivers for most of them.

. /tests/lib.sh

NVME=0000:01:00.0
E1000E=0000:02:00.0
XHCI=0000:03:00.0
OWN_CARD=0000:04:00.0

# configurations: those of the functions, as the first OS sees them: BARs, and what is in them.
configurations() {
	for function in $NVME $E1000E $XHCI; do
		dd if=/sys/bus/pci/devices/$function/config bs=4 skip=4 count=6 2>/dev/null | md5sum
		cat /sys/bus/pci/devices/$function/resource
	done
}
# run COMMAND PATTERN: the successor's user space runs COMMAND, and comes to say PATTERN.
run() {
	tell os1 "$1" && expect os1 200 "$2"
}
# quiet_log: the successor's log has nothing of what a kernel says that is not content with its tables.
quiet_log() {
	cat $os/dmesg >/tmp/dmesg
	! grep -E "can't derive|no GSI|_OSC.*(fail|error)|BIOS bug|FW bug|Firmware Bug|ACPI (BIOS )?(Error|Warning)|not reserved|can't claim|no compatible bridge" /tmp/dmesg
}

release_uart 0x2f8
configurations >/tmp/before
card=$(find /sys/bus/pci/devices/$OWN_CARD/ -name 'eth*' | sed 's|.*/||' | head -n 1)
ifconfig "$card" 10.1.0.1 up
insmod /mint.ko
os=$MINT/os1

for kernel in /kernels/*; do
	name=${kernel##*/}
	case $name in
	*-686*) memory=256M@0x20000000 ;;
	*) memory=256M ;;
	esac
	make_os os1 2-3 $memory 0x2f8 "$kernel"
	[ "$memory" != 256M ] || put $os/initrd /boot/initrd.others
	put $os/devices "$NVME $E1000E 0000:03"
	check "$name starts with devices" start_os os1
	check "$name: the disk" run 'check_io write /dev/nvme0n1 1' '64 MiB of 1 written'
	check "$name: is read" run 'check_io read /dev/nvme0n1 1' '64 MiB of 1 came whole'
	check "$name: the USB disk" run 'until [ -b /dev/sda ]; do usleep 50000; done; check_io write /dev/sda 2' '64 MiB of 2 written'
	check "$name: is read" run 'check_io read /dev/sda 2' '64 MiB of 2 came whole'
	tell os1 'ifconfig eth0 10.1.0.2 up; until grep -q 1 /sys/class/net/eth0/carrier; do usleep 50000; done'
	tell os1 'check_io receive 2000 3'
	check "$name: listens" expect os1 60 'listens at 2000'
	check "$name: the first OS sends to its card" check_io send 10.1.0.2 2000 3
	check "$name: all comes" expect os1 100 '64 MiB of 3 came whole'
	check_io receive 2001 4 >/tmp/received &
	receiver=$!
	until grep -q listens /tmp/received; do usleep 50000; done
	tell os1 'check_io send 10.1.0.1 2001 4'
	wait $receiver
	check "$name: and the other way" grep -q '64 MiB of 4 came whole' /tmp/received
	check "$name: its log is quiet" quiet_log
	check "$name: poweroff" goes os1 poweroff 30 halted
	check "$name: stop" put $os/stop 1
	check "$name: the functions are configured as before" test "$(configurations)" = "$(cat /tmp/before)"
	put $MINT/remove os1
done
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
