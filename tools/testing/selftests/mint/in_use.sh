# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Functions of which nobody can tell whether they are in use, whose driver does not let go of them, and
# that are in use without a driver.

. /tests/lib.sh
. /tests/device_io.sh

# The machine's devices, as IN_USE of scenarios.py has them.
CARD=0000:01:00.0
DISK=0000:02:00.0
TWO=0000:03:00

# give_to_provoke FUNCTION HOW: the driver of the module provoke has it.
give_to_provoke() {
	insmod /provoke.ko how="$2"
	echo "$1" >"/sys/bus/pci/devices/$1/driver/unbind"
	echo 1af4 1044 >/sys/bus/pci/drivers/provoke/new_id
	has_driver "$1" provoke
}
# take_from_provoke FUNCTION: its own driver has it again.
take_from_provoke() {
	rmmod provoke
	echo "$1" >/sys/bus/pci/drivers_probe
	has_driver "$1" virtio-pci
}

release_uart 0x2f8
configurations $CARD $DISK $TWO.0 $TWO.1 >/tmp/before
insmod /mint.ko
make_os os1 2 128M 0x2f8
make_os os2 3 128M
os=$MINT/os1
put $os/devices "$CARD $TWO.0 $TWO.1"
put $os/load 1

check 'a driver has a character device' give_to_provoke $TWO.1 node
check 'start refuses it' refuses "$EBUSY" "whether provoke (misc) of $TWO.1 is in use" $os/start 1
check 'it keeps its driver' has_driver $TWO.1 provoke
check 'nothing else is taken' has_driver $CARD virtio-pci
take_from_provoke $TWO.1
interface=$(interface $CARD)
unshare -n sleep 100000 &
sleeper=$!
in_own_namespace() {
	[ "$(readlink /proc/$sleeper/ns/net)" != "$(readlink /proc/self/ns/net)" ]
}
check 'there is another network namespace' await in_own_namespace
check 'it gets the interface' ip link set "$interface" netns $sleeper
check 'start refuses it there' refuses "$EBUSY" "$interface is in another network namespace" $os/start 1
kill $sleeper
check 'it comes back' await test -e "/sys/class/net/$interface"
check 'a driver does not let go' give_to_provoke $TWO.1 cling
dmesg -c >/dev/null
echo 1 >$os/start &
starter=$!
check 'start waits for it' await sh -c 'dmesg | grep -q "it clings"'
cat $os/state >/tmp/state &
check 'the state can be read meanwhile' await grep -q loaded /tmp/state
check 'its network interface can not come up' fails "$EBUSY" ifconfig "$(interface $CARD)" up
check 'another start is refused' refuses "$EBUSY" 'have not let go' $os/start 1
check 'remove is refused' refuses "$EBUSY" 'have not let go' $MINT/remove os1
check 'another can not have its devices' refuses "$EBUSY" "belongs to 'os1'" $MINT/os2/devices $CARD
kill $starter
wait $starter
check 'a signal ends start' test $? != 0
check 'it is as before' is $os/state loaded
check 'the module can not go' fails . rmmod mint
echo 1 >/sys/module/provoke/parameters/let_go
check 'all devices come back once the driver lets go' await has_driver $TWO.1 virtio-pci
check 'the network card' await has_driver $CARD virtio-pci
take_from_provoke $TWO.1
check 'its network interface can come up' await ifconfig "$(interface $CARD)" up
ifconfig "$(interface $CARD)" down
put $os/stop 1
check 'the functions are configured as before' as_before $CARD $DISK $TWO.0 $TWO.1

# A function that had no driver has none afterwards.
put $os/devices "$CARD $DISK"
echo $DISK >/sys/bus/pci/devices/$DISK/driver/unbind
insmod /provoke.ko how=use address="$(awk '$1 != 0 { print $1; exit }' /sys/bus/pci/devices/$DISK/resource)"
check 'start refuses memory that is in use without a driver' refuses "$EBUSY" "memory or ports of $DISK are in use" $os/start 1
rmmod provoke
check 'the card has its driver' has_driver $CARD virtio-pci
check 'an OS gets a function without a driver' put $os/start 1
check 'Mint has it' has_driver $DISK mint
check 'stop' put $os/stop 1
check 'it has no driver then' has_driver $DISK ''
echo $DISK >/sys/bus/pci/drivers_probe
check 'the card has one' has_driver $CARD virtio-pci
check 'the functions are configured as before' as_before $CARD $DISK $TWO.0 $TWO.1
drop_os os1
drop_os os2
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
