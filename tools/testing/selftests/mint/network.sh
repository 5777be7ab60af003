# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A network card made of memory, with its wire in a TAP interface of the first OS.

. /tests/lib.sh
. /tests/device_io.sh

release_uart 0x2f8
insmod /mint.ko
make_os os1 2-3 256M 0x2f8
os=$MINT/os1

check 'network is empty at first' is $os/network ''
check 'network takes the name of an interface' put $os/network tap1
cat $os/network
check 'it starts' start_os os1
check 'ls' run 'dmesg | tail -n 12; ls /sys/class/net; ifconfig -a; echo end-of-ls' 'end-of-ls'
ifconfig tap1 10.1.0.1 up
check 'ping' run 'ifconfig eth0 10.1.0.2 up; sleep 2; ping -c 3 10.1.0.1; cat /proc/net/dev; dmesg | tail -n 5; echo end-of-ping' 'end-of-ping'
note "$(cat $os/network_stats)"
exchange 7
note "$(cat $os/network_stats)"
check 'never' expect os1 'never'
plan
