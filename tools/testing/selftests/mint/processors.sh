# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The first OS's ACPI tables have idle states and frequencies of its CPUs (processors.asl). A
# successor is told what it can use of them.

. /tests/lib.sh

release_uart 0x2f8
insmod /mint.ko
os=$MINT/os1
IDLE=/sys/devices/system/cpu/cpu0/cpuidle

# shows COMMAND ANSWER: what COMMAND prints in the successor.
shows() {
	ask os1 "$1" && [ "$answer" = "$2" ] || {
		echo "it is '$answer', not '$2'"
		false
	}
}
check 'the first OS has the objects' grep -q _PSS /sys/firmware/acpi/tables/SSDT*

make_os os1 2-3 128M 0x2f8
check 'start' start_os os1
note "its CPU: $(ask os1 "cat $IDLE/state1/desc" && echo "$answer")"
check 'its driver of idle states is that of ACPI' shows 'cat /sys/devices/system/cpu/cpuidle/current_driver' acpi_idle
check 'it has the idle state C1' shows "cat $IDLE/state1/name" C1
check 'it has no state of a port that the core does not trap' shows "ls -d $IDLE/state* | wc -l" 2
check 'its DSDT has frequencies' shows 'grep -q _PSS /sys/firmware/acpi/tables/DSDT && echo yes' yes
check 'each of its CPUs is a processor of ACPI' shows 'ls -d /sys/bus/acpi/devices/ACPI0007:* | wc -l' 2
check 'its CPUs have these for companions' \
	shows 'ls -d /sys/devices/system/cpu/cpu*/firmware_node | wc -l' 2
check 'its kernel has nothing to say against its tables' \
	shows 'echo it says: $(dmesg | grep -iE "ACPI.*(error|warning|invalid)|firmware bug" | tr "|" " ")' 'it says:'
check 'it is restarted' put $os/restart 1
check 'it comes up again' expect os1 mint-successor-up
check 'it has the idle state C1 again' shows "cat $IDLE/state1/name" C1
check 'it powers off' goes os1 poweroff halted
drop_os os1
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
