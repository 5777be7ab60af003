# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The first OS, of 64 bits, reaches the network by way of a 32-bit successor, which has
# drivers for two cards that the first OS has none for, and forwards between them.

. /tests/lib.sh
. /tests/device_io.sh

release_uart 0x2f8
insmod /mint.ko
INNER=0000:01:00.0
OUTER=0000:02:00.0
kernel=$(echo /kernels/*)
os=$MINT/os1

has_no_driver() {
	[ ! -e "/sys/bus/pci/devices/$1/driver" ]
}
check 'the first OS has no driver for the one card' has_no_driver $INNER
check 'nor for the other' has_no_driver $OUTER
card=$(interface 0000:03:00.0)
ip address add 10.8.0.1/24 dev "$card"
ip link set "$card" up
ip route add default via 10.8.0.2

make_os os1 2-3 256M 0x2f8 "$kernel"
check 'a 32-bit OS gets both' put $os/devices "$INNER $OUTER"
check 'it starts' start_os os1
tell os1 'inner=$(ls /sys/bus/pci/devices/0001:01:00.0/net) outer=$(ls /sys/bus/pci/devices/0001:02:00.0/net)'
tell os1 'ip address add 10.8.0.2/24 dev $inner; ip link set $inner up'
tell os1 'ip address add 10.9.0.1/24 dev $outer; ip link set $outer up'
# The host does not know of 10.8.0.0/24.
tell os1 'echo 1 >/proc/sys/net/ipv4/conf/$outer/proxy_arp'
check 'its cards have links' run \
	'for card in $inner $outer; do until grep -q 1 /sys/class/net/$card/carrier; do usleep 50000; done; done; echo linked' linked
check 'the first OS reaches it' ping -c 3 10.8.0.2
check 'it does not reach beyond' fails 'timed out' wget -T 3 -q -O /dev/null http://10.9.0.100/

check 'the successor forwards' run 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo forwards' forwards
fetch() {
	wget -T $PATIENCE -q -O - http://10.9.0.100/ | check_io compare 5
}
check '16 MiB come from beyond' fetch
check 'it ticks on' ticks_on os1

check 'stop' put $os/stop 1
put $MINT/remove os1
check 'the cards are without a driver again' has_no_driver $INNER
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
