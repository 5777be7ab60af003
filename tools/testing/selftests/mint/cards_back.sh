# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A network card and a USB controller with a disk, for which the first OS has drivers as well. They go
# to a successor and come back, and each uses what it has. At last a card that can have virtual functions.

. /tests/lib.sh
. /tests/device_io.sh

E1000E=0000:01:00.0
XHCI=0000:02:00.0
OWN_CARD=0000:03:00.0
IGB=0000:04:00.0
VIRTUAL=0000:04:10.0

# received FUNCTION: how many frames its interface has got.
received() {
	cat "/sys/class/net/$(interface "$1")/statistics/rx_packets"
}
has_received() {
	[ "$(received "$1")" -gt "$2" ]
}
# hears FROM TO: a frame that is sent by one interface comes to the other. Nobody answers it.
hears() {
	before=$(received "$2")
	arping -c 1 -w 1 -I "$(interface "$1")" 10.1.0.9 >/dev/null &
	await has_received "$2" "$before"
	hears_status=$?
	wait $!
	return $hears_status
}
# frames: the first OS's card takes and gives frames; then it is down again.
frames() {
	ifconfig "$(interface $E1000E)" 10.2.0.1 up
	await grep -q 1 "/sys/class/net/$(interface $E1000E)/carrier"
	hears $E1000E $OWN_CARD && hears $OWN_CARD $E1000E
	frames_status=$?
	ifconfig "$(interface $E1000E)" down
	return $frames_status
}

release_uart 0x2f8
ifconfig "$(interface $OWN_CARD)" 10.1.0.1 up
wait_disk /dev/sda
configurations $E1000E $XHCI >/tmp/before
insmod /mint.ko
make_os os1 2-3 256M 0x2f8
os=$MINT/os1
put $os/devices "$E1000E $XHCI"
check 'the first OS uses its network card' frames

exec 5</dev/sda
check 'start refuses a USB disk that is open' refuses "$EBUSY" 'sda is open' $os/start 1
exec 5<&-
ifconfig "$(interface $E1000E)" up
check 'start refuses a card whose interface is up' refuses "$EBUSY" 'is up' $os/start 1
ifconfig "$(interface $E1000E)" down
check 'nothing is half done' is $os/state offline
check 'the first OS has its drivers' as_before $E1000E $XHCI

check 'the first OS writes to the USB disk' check_io write /dev/sda 1
check 'start' put $os/start 1
check 'it comes up' expect os1 'mint-successor-up'
check 'it finds what the first OS has written' run 'wait_disk /dev/sda; check_io read /dev/sda 1' '16 MiB of 1 came whole'
check 'it writes' run 'check_io write /dev/sda 2' '16 MiB of 2 written'
exchange 3
check 'its log is quiet' quiet_log
check 'stop' put $os/stop 1
wait_disk /dev/sda
check 'the first OS finds what it has written' check_io read /dev/sda 2
check 'and has its network card' frames

echo first 0 >/dev/sda
cycles() {
	cycle=0
	while [ $cycle -lt "$CYCLES" ]; do
		cycle=$((cycle + 1))
		at "cycle $cycle of $CYCLES"
		put $os/start 1 && expect os1 'mint-successor-up' &&
			run "wait_disk /dev/sda; head -n 1 /dev/sda; echo os1 $cycle >/dev/sda; sync" "first $((cycle - 1))\\b" &&
			run "ifconfig eth0 10.1.0.2 up; ping -c 1 10.1.0.1 && echo through $cycle" "through $cycle\\b" &&
			put $os/stop 1 && wait_disk /dev/sda && [ "$(head -n 1 /dev/sda)" = "os1 $cycle" ] &&
			echo "first $cycle" >/dev/sda && frames || {
			echo "in cycle $cycle: $(dmesg | tail -n 5)"
			return 1
		}
	done
}
check "$CYCLES cycles of start, use, stop, use by the first OS" cycles
check 'the functions are configured as before' as_before $E1000E $XHCI

numvfs=/sys/bus/pci/devices/$IGB/sriov_numvfs
# has_virtual YES: whether its virtual functions are enabled, which is bit 0 at 8 of the SR-IOV
# capability (PCI_SRIOV_CTRL); QEMU has that at 0x160.
has_virtual() {
	[ $(($(od -An -tu1 -j$((0x168)) -N1 /sys/bus/pci/devices/$IGB/config) & 1)) = "$1" ]
}
echo 1 >$numvfs
check 'the first OS makes a virtual function' has_virtual 1
check 'devices refuses a virtual function' refuses "$EINVAL" 'is a virtual function' $os/devices $VIRTUAL
check 'devices refuses a function without its virtual one' refuses "$EINVAL" "$VIRTUAL has to come along" $os/devices $IGB
echo 0 >$numvfs
put $os/devices $IGB
check 'an OS has a card that can have virtual functions' start_os os1
check 'it makes one' run "echo 1 >/sys/bus/pci/devices/0001${IGB#0000}/sriov_numvfs; ls /sys/bus/pci/devices" "0001${VIRTUAL#0000}"
check 'it panics' dies os1 'echo c >/proc/sysrq-trigger' 'sysrq triggered crash'
check 'no virtual function can use memory then' has_virtual 0
check 'stop' put $os/stop 1
check 'the first OS makes one again' put $numvfs 1
check 'and has it' test -e /sys/bus/pci/devices/$VIRTUAL
drop_os os1
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
