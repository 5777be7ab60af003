# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Network cards made of memory of two OSes, whose TAP interfaces are on a bridge of the first OS: 10.1.0.1 is the
# first OS's address, 10.1.0.2 that of os1, 10.1.0.3 that of os2.

. /tests/lib.sh
. /tests/device_io.sh

# include/uapi/linux/if_tun.h: IFF_TUN or IFF_TAP, with IFF_NO_PI and IFF_VNET_HDR.
TUN=0x5001
TAP=0x5002
TAP_WITHOUT_HEADER=0x1002
MAC=02:00:00:00:00:07

release_uart 0x2f8
release_uart 0x3e8
insmod /mint.ko
make_os os1 2-3 256M 0x2f8
make_os os2 1 128M 0x3e8
os=$MINT/os1
other=$MINT/os2
# How much check_io moves, here and there: see disk_file.sh.
export MIB=4
put $os/cmdline MIB=4
put $other/cmdline MIB=4

# fd_refuses NAME FLAGS: the file of such an interface is refused.
fd_refuses() {
	dmesg -c >/dev/null
	fails "$EINVAL" tap_fd "$1" "$2" $os/network && dmesg | grep -q 'not attached to a TAP interface'
}
# is_plugged OS TAP: into which interface the card of the OS is plugged.
is_plugged() {
	[ "$(cut -d' ' -f1 "$MINT/$1/network")" = "$2" ] || {
		cat "$MINT/$1/network"
		false
	}
}
# run2 COMMAND PATTERN: as run, for os2.
run2() {
	tell os2 "$1" && expect os2 "$2"
}
# address RUN LAST: the OS that RUN is for has the address that ends with LAST, and a link.
address() {
	$1 "ifconfig eth0 10.1.0.$2 up; until grep -q 1 /sys/class/net/eth0/carrier; do usleep 20000; done; echo has-link" has-link
}
# carrier STATE: until os1 sees a link (1) or none (0).
carrier() {
	run "until grep -q $1 /sys/class/net/eth0/carrier; do usleep 20000; done; echo 'link: '$1" "link: $1"
}
# ping RUN ADDRESS: the OS that RUN is for sends, and gets, 3 packets. The first may be lost while a bridge or
# neighbour learns.
ping() {
	$1 "ping -c 1 -w 5 $2 >/dev/null; ping -c 3 -s 1400 $2" '3 packets received, 0% packet loss'
}

is_network() {
	put $os/network "$1" && is $os/network "$2"
}
check 'there is no card at first' is $os/network ''
for value in 'tap1 tap2' 'tap1 01:00:00:00:00:01' 'tap1 00:00:00:00:00:00' 'tap1 02:00:00:00:00' 'tap1 02:00:00:00:00:00:01' \
	'tap/1' sixteen-letters-! 99999999999; do
	check "network refuses '$value'" refuses "$EINVAL" 'network takes the name' $os/network "$value"
done
check 'network refuses an interface that is no TAP' refuses "$EINVAL" 'not a TAP interface' $os/network lo
check 'network refuses a file that is not open' refuses 'Bad file descriptor' 'no such file open' $os/network 77
check 'network refuses another file' refuses "$EINVAL" 'not attached to a TAP' $os/network 0
check 'network refuses a TAP that is not attached' fd_refuses '' $TAP
check 'network refuses a TUN' fd_refuses tun7 $TUN
check 'network refuses a TAP without virtio_net_hdr' fd_refuses tap7 $TAP_WITHOUT_HEADER
check 'there is still no card' is $os/network ''
check 'nor an interface that nobody has' [ ! -e /sys/class/net/tap7 ]
check 'network takes a name and an address' is_network "tap1 $MAC" "tap1 $MAC"
check 'network makes the interface' [ -e /sys/class/net/tap1 ]
check 'network refuses an interface that somebody has' refuses "$EBUSY" 'somebody else is attached' $other/network tap1
check 'network takes a file, which the writer closes' tap_fd tap2 $TAP $other/network
check 'network has an address of its own' is_plugged os2 tap2
mac=$(cut -d' ' -f2 $other/network)

brctl addbr br0
brctl addif br0 tap1
brctl addif br0 tap2
ifconfig tap1 up
ifconfig tap2 up
ifconfig br0 10.1.0.1 up
check 'an OS starts' start_os os1
check 'another starts' start_os os2
check 'the card has the address' run 'cat /sys/class/net/eth0/address' "$MAC"
check 'so has the other' run2 'cat /sys/class/net/eth0/address' "$mac"
check 'an OS has a link' address run 2
check 'so has the other' address run2 3
check 'an OS reaches the first OS' ping run 10.1.0.1
check 'and the other OS' ping run 10.1.0.3
exchange 1
check 'the other OS listens' run2 'check_io receive 2002 5' 'listens at 2002'
check 'an OS sends to it' run 'check_io send 10.1.0.3 2002 5' '4 MiB of 5 sent'
check 'all of it comes' expect os2 '4 MiB of 5 came whole'

for interface in tap1 tap2 br0; do
	ifconfig $interface mtu 9000
done
check 'the MTU is 9000' run 'ifconfig eth0 mtu 9000; ping -c 3 -s 8900 10.1.0.1' '3 packets received, 0% packet loss'
exchange 2
check 'no MTU is larger' run 'ifconfig eth0 mtu 9001 || echo too-large' too-large

check 'network refuses another address now' refuses "$EBUSY" 'stop' $os/network "tap1 02:00:00:00:00:08"
check 'and to take the card away' refuses "$EBUSY" 'stop' $os/network ''
check 'it is still plugged in' is $os/network "tap1 $MAC"
check 'the card is pulled out' put $os/network "none $MAC"
check 'there is no link' carrier 0
check 'nor an interface' await [ ! -e /sys/class/net/tap1 ]
check 'the card is plugged in again' put $os/network "tap1 $MAC"
brctl addif br0 tap1
ifconfig tap1 mtu 9000 up
check 'there is a link' carrier 1
check 'an OS reaches the other again' ping run 10.1.0.3
tunctl -d tap1 >/dev/null 2>&1 || ip link del tap1
check 'there is no link if the interface is deleted' carrier 0
check 'nor is the card plugged in' is_plugged os1 none
check 'the card is plugged in once more' put $os/network "tap1 $MAC"
brctl addif br0 tap1
ifconfig tap1 up
check 'there is a link once more' carrier 1
check 'an OS reaches the first OS once more' ping run 10.1.0.1

check 'the driver lets go of the card, and takes it again' run \
	'f=$(basename $(readlink /sys/class/net/eth0/device)); cd /sys/bus/pci/drivers/ena; echo $f >unbind; echo $f >bind; cd /; until [ -e /sys/class/net/eth0 ]; do usleep 20000; done; echo bound-again' \
	bound-again
check 'it has a link after that' address run 2
check 'it reaches the first OS after that' ping run 10.1.0.1
check 'its log is quiet' quiet_card_log
check 'it reboots' goes os1 'reboot -f' restarting running
check 'it comes up' expect os1 'mint-successor-up'
check 'it has a link' address run 2
exchange 3
put $os/recovery enabled
check 'it panics, and is restarted' goes os1 'echo c >/proc/sysrq-trigger' restarting running
check 'it comes up again' expect os1 'mint-successor-up'
check 'it has a link again' address run 2
check 'it reaches the other OS again' ping run 10.1.0.3
check 'the other OS has counted' awk '{ exit !($1 > 4000000 && $2 > 1000 && $5 > 1000 && $6 > 10 && $3 + $7 == 0) }' $other/network_stats
check 'stop' put $os/stop 1
drop_os os1
drop_os os2
check 'nobody has the interfaces any more' await [ ! -e /sys/class/net/tap1 -a ! -e /sys/class/net/tap2 ]
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-4
check 'rmmod' rmmod mint
plan
