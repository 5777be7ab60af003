# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A successor loses devices while it uses them: one is unplugged, one has a fatal error, and one does
# not answer any more and can't be reset. The OS goes on, and everything else comes back.

. /tests/lib.sh
. /tests/device_io.sh

# The machine's devices, as LOST of scenarios.py has them.
UNPLUGGED=0000:01:00.0
SICK=0000:02:00.0
MUTE=0000:03:00.0

gone() {
	[ ! -e "/sys/bus/pci/devices/$1" ]
}
there() {
	[ -e "/sys/bus/pci/devices/$1" ]
}
logged() {
	dmesg | grep -qE "$1"
}
# config_byte FUNCTION OFFSET: of its configuration space.
config_byte() {
	od -An -tu1 -j"$2" -N1 "/sys/bus/pci/devices/$1/config" | tr -d ' '
}
# port_above FUNCTION: the bridge above.
port_above() {
	basename "$(dirname "$(readlink -f "/sys/bus/pci/devices/$1")")"
}
# power FUNCTION on|off: of its slot, by the slot control of the PCIe capability of the port above. The
# bit (PCI_EXP_SLTCTL_PCC) is in its second byte.
power() {
	port=$(port_above "$1")
	capability=$(config_byte "$port" 52)
	while [ "$(config_byte "$port" "$capability")" != 16 ]; do
		capability=$(config_byte "$port" $((capability + 1)))
	done
	control=$(($(config_byte "$port" $((capability + 0x19))) & ~4))
	[ "$2" = on ] || control=$((control | 4))
	printf "\\$(printf %o $control)" |
		dd of="/sys/bus/pci/devices/$port/config" bs=1 seek=$((capability + 0x19)) conv=notrunc 2>/dev/null
}
# masters FUNCTION YES: whether it may use memory, or pass what is below it.
masters() {
	[ $(($(config_byte "$1" 4) >> 2 & 1)) = "$2" ]
}

release_uart 0x2f8
insmod /mint.ko
make_os os1 2-3 256M 0x2f8
os=$MINT/os1

put $os/devices $UNPLUGGED
check 'an OS has a device' start_os os1
check 'it is unplugged' monitor 'device_del unplugged'
check 'the first OS loses it' await gone $UNPLUGGED
check 'the OS goes on' ticks_on os1
dmesg -c >/dev/null
check 'it is plugged in again' monitor 'device_add virtio-rng-pci,id=again,bus=port1'
check 'the first OS finds it' await there $UNPLUGGED
check "Mint is the first OS's driver of it" await has_driver $UNPLUGGED mint
check 'restart' put $os/restart 1
check 'it comes up again' expect os1 'mint-successor-up'
check 'it has the device' run 'ls /sys/bus/pci/devices' "0001${UNPLUGGED#0000}"
check 'stop' put $os/stop 1
check 'the first OS has it' has_driver $UNPLUGGED virtio-pci

put $os/devices $SICK
check 'an OS has a device' start_os os1
dmesg -c >/dev/null
check 'it has a fatal error' monitor 'pcie_aer_inject_error sick DLP'
check 'the first OS hears of it' await logged "AER:.*$SICK|$SICK.*[Ff]atal"
check 'and tells whose device it is' await logged "mint: os1: $SICK has a fatal error"
check 'the OS goes on' ticks_on os1
check 'stop' put $os/stop 1
echo 1 >/sys/bus/pci/devices/$SICK/remove
echo 1 >/sys/bus/pci/rescan
check 'the first OS has it, once it has found it anew' has_driver $SICK virtio-pci

put $os/devices $MUTE
echo >/sys/bus/pci/devices/$MUTE/reset_method
check 'start refuses what can not be reset' refuses 'Inappropriate ioctl' "$MUTE can't be reset" $os/start 1
check 'the first OS has it' has_driver $MUTE virtio-pci
echo default >/sys/bus/pci/devices/$MUTE/reset_method
check 'an OS has a device' start_os os1
port=$(port_above $MUTE)
check 'it loses its power' power $MUTE off
check 'it does not answer' test "$(config_byte $MUTE 0)" = 255
check 'the bridge above passes its DMA' masters "$port" 1
check 'the OS goes on' ticks_on os1
dmesg -c >/dev/null
check 'stop' put $os/stop 1
check 'the bridge above was told to stop it' logged "os1: $MUTE does not answer.*the bridge above"
check 'it goes on to stop it, as the device could not be reset' masters "$port" 0
check 'the log tells so' logged "$MUTE could not be reset, and is left without a driver"
check 'it has no driver' has_driver $MUTE ''
check 'it gets power' power $MUTE on
echo 1 >/sys/bus/pci/devices/$MUTE/remove
echo 1 >/sys/bus/pci/rescan
check 'the first OS has it, once it has found it anew' has_driver $MUTE virtio-pci
check 'the bridge above passes its DMA again' masters "$port" 1
drop_os os1
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
