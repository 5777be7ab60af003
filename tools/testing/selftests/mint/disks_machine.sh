# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A disk made of memory on other machines: in X2APIC the local APICs are in x2APIC mode and
# interrupts are remapped; otherwise the pool is above 4 GiB, and the OS has a real disk besides.

. /tests/lib.sh
. /tests/device_io.sh
. /tests/disk_file.sh

NVME=0000:01:00.0
FILE=$((20 << 11))
REAL=$((64 << 11))

release_uart 0x2f8
insmod /mint.ko
truncate -s 20M /disk.img
make_os os1 2-3 256M 0x2f8
os=$MINT/os1
put $os/cmdline MIB=$MIB
put $os/disks /disk.img
if [ "$X2APIC" ]; then
	check 'the first OS is in x2APIC mode' sh -c 'dmesg | grep -qiE "x2apic.*enabled|Enabled x2apic"'
	check 'and remaps interrupts' sh -c 'dmesg | grep -q "Enabled IRQ remapping"'
else
	put $os/devices $NVME
fi

# is_high: the memory of os1 is above 4 GiB.
is_high() {
	address=$(cut -d@ -f2 $os/memory)
	[ $((address >> 32)) -gt 0 ]
}

# has_interrupts: os1 has got interrupts of each disk on both CPUs.
has_interrupts() {
	run 'echo interrupts: $(awk "/nvme[01]q[12]/ && \$2 + \$3 == 0 { print \$NF }" /proc/interrupts) of $(grep -c "nvme[01]q[12]" /proc/interrupts).' "interrupts: of $1\\."
}

disks=1
last=1
put $os/load 1
[ "$X2APIC" ] || check 'its memory is above 4 GiB' is_high
check 'an OS starts' put $os/start 1
check 'it comes up' expect os1 'mint-successor-up'
check 'it has its disk' run "disk=\$(disk_of $FILE); echo it is \$disk" 'it is /dev/nvme.n1'
check 'it writes to it' run 'check_io write $disk 1' '4 MiB of 1 written'
check 'and reads' run 'check_io read $disk 1' '4 MiB of 1 came whole'
if [ ! "$X2APIC" ]; then
	disks=2
	last=3
	check 'it has a real disk in another segment' run "real=\$(disk_of $REAL); for function in /sys/bus/pci/devices/*; do [ ! -e \$function/nvme ] || echo \${function##*/}; done | tr '\n' ' '" '000(1:01:00\.0 0002:00|2:01:00\.0 0001:00):01\.0'
	tell os1 'check_io write $real 2 >/tmp/real & other=$!'
	check 'it writes to both at once' run 'check_io write $disk 3; wait $other; cat /tmp/real' '4 MiB of 3 written[^|]*4 MiB of 2 written'
	check 'and reads the real one' run 'check_io read $real 2' '4 MiB of 2 came whole'
	check 'and its own' run 'check_io read $disk 3' '4 MiB of 3 came whole'
fi
tell os1 'for cpu in 0 1; do taskset -c $cpu head -c 4096 $disk >/dev/null; [ ! "$real" ] || taskset -c $cpu head -c 4096 $real >/dev/null; done'
check 'interrupts come of all queues' has_interrupts $((2 * disks))
check 'its log is quiet' quiet_disk_log
check 'reboot' goes os1 reboot restarting running
check 'it comes up again' expect os1 'mint-successor-up'
check 'it has what it has written' run "check_io read \$(disk_of $FILE) $last" '4 MiB of . came whole'
check 'its log is quiet' quiet_disk_log
check 'stop' put $os/stop 1
[ "$X2APIC" ] || check 'the first OS reads its real disk' check_io read /dev/nvme0n1 2
drop_os os1
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
