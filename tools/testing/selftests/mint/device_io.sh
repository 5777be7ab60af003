# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What tests of successors with devices share; os is the OS's directory.

# configurations FUNCTION...: their configuration, their resources as the first OS knows them, and their
# drivers.
configurations() {
	for function in "$@"; do
		echo "$function $(driver "$function")"
		pci_config "$function"
		cat "/sys/bus/pci/devices/$function/resource"
	done
}

# as_before FUNCTION...: their configurations are those in /tmp/before.
as_before() {
	configurations "$@" >/tmp/after || return
	[ "$(wc -l </tmp/before)" -gt $((16 * $#)) ] && diff /tmp/before /tmp/after
}

# driver FUNCTION: the driver that the first OS has for it.
driver() {
	basename "$(readlink "/sys/bus/pci/devices/$1/driver")"
}

# has_driver FUNCTION DRIVER: what the first OS has for it.
has_driver() {
	[ "$(driver "$1")" = "$2" ] || {
		echo "$1 has driver '$(driver "$1")', not '$2'"
		false
	}
}

# interface FUNCTION: the network interface that the first OS's driver has made of it.
interface() {
	find "/sys/bus/pci/devices/$1/" -name 'eth*' | sed 's|.*/||' | head -n 1
}

# run COMMAND PATTERN: the user space of os1 runs COMMAND, and comes to say PATTERN.
run() {
	tell os1 "$1" && expect os1 "$2"
}

# exchange SEED: 16 MiB, or MIB, go from the first OS, 10.1.0.1, to os1, 10.1.0.2, and as many back.
exchange() {
	tell os1 'ifconfig eth0 10.1.0.2 up; until grep -q 1 /sys/class/net/eth0/carrier; do usleep 50000; done'
	tell os1 "check_io receive 2000 $1"
	check "os1 listens ($1)" expect os1 'listens at 2000'
	check "the first OS sends by its card ($1)" check_io send 10.1.0.2 2000 "$1"
	check "all of it comes ($1)" expect os1 "${MIB:-16} MiB of $1 came whole"
	check_io receive 2001 "$1" >/tmp/received &
	receiver=$!
	await grep -q listens /tmp/received
	tell os1 "check_io send 10.1.0.1 2001 $1"
	wait $receiver
	check "and the other way ($1)" grep -q "${MIB:-16} MiB of $1 came whole" /tmp/received
}

# quiet_log: its log has nothing of what a kernel says that is not content with its tables.
quiet_log() {
	cat $os/dmesg >/tmp/dmesg
	! grep -E "can't derive|no GSI|_OSC.*(fail|error)|BIOS bug|FW bug|Firmware Bug|ACPI (BIOS )?(Error|Warning)|not reserved|can't claim|no compatible bridge" /tmp/dmesg
}

# quiet_card_log: the log of os1 says nothing of a card made of memory that is not well.
quiet_card_log() {
	quiet_log && ! grep -E 'ena .*(fail|error|invalid|timeout|timed out|reset|missing|[Uu]nhandled|not supported$)' /tmp/dmesg
}
