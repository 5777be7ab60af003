# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Start and stop, and what the successor sees: 4 CPUs, one or two successors.

. /tests/lib.sh

release_uart 0x2f8
release_uart 0x3e8
insmod /mint.ko
os=$MINT/os1
cpus=/sys/devices/system/cpu

make_os os1 2-3 128M 0x2f8
give_credentials os1
check 'load' put $os/load 1

# CPUs that can't be had
echo 0 >$cpus/cpu3/online
check 'start refuses a CPU that is offline' refuses "$EBUSY" 'CPU 3 is offline already' $os/start 1
check 'the OS is still loaded' is $os/state loaded
check 'the CPU taken before it is back' is $cpus/cpu2/online 1
echo 1 >$cpus/cpu3/online

check 'start' put $os/start 1
check 'state is running' is $os/state running
check 'its CPUs are offline in the first OS' is $cpus/online 0-1
check 'it comes to its user space on two CPUs' expect os1 "$(up_line "$SUCCESSOR" 2)"

check 'start refuses a running OS' refuses "$EBUSY" 'runs already' $os/start 1
check 'load refuses a running OS' refuses "$EBUSY" 'runs already' $os/load 1
check 'a running OS is not configured' refuses "$EBUSY" "write 1 to 'stop' first" $os/memory 64M
check 'a running OS is not removed' refuses "$EBUSY" "write 1 to 'stop' first" $MINT/remove os1
check 'rmmod is refused' sh -c '! rmmod mint'
check 'its CPU does not come online' refuses "$EPERM" "CPU 2 belongs to 'os1'" $cpus/cpu2/online 1
check 'the kernel tried that once' test "$(dmesg | grep -c "CPU 2 belongs to 'os1'")" = 1
put $MINT/add os2
check 'its CPU is not for another OS' refuses "$EBUSY" "CPU 3 belongs to 'os1'" $MINT/os2/cpus 3

# What the successor sees is its own.
shows() {
	tell os1 "$1" && expect os1 "$2"
}
check 'its /proc/cpuinfo has two CPUs' shows 'echo cpus: $(grep -c ^processor /proc/cpuinfo)' 'cpus: 2\s'
check 'their APIC IDs are those of its CPUs' shows 'echo ids: $(grep ^apicid /proc/cpuinfo | cut -d: -f2)' 'ids: 2 3\s'
check 'its /proc/iomem has no RAM but its own' shows \
	'echo ram: $(grep "System RAM" /proc/iomem | cut -d" " -f1)' \
	'ram: 00026000-0002dfff 40100000-47ffffff\s'
check 'its /proc/iomem has nothing else of the machine' shows \
	'echo other: $(grep -v "^ " /proc/iomem | grep -vE "System RAM|ACPI Tables|Reserved|Local APIC|PCI|IOAPIC|System ROM|Video"). ' \
	'other: \.'
check 'it has no PCI device' shows 'echo pci: $(ls /sys/bus/pci/devices 2>/dev/null | wc -l).' 'pci: 0\.'
check 'its /proc/ioports has no device but its serial port' shows \
	'echo ports: $(grep -c "serial" /proc/ioports) $(grep -cE "rtc|ACPI PM|PCI conf|i801|vga" /proc/ioports).' 'ports: 1 0\.'
check 'it has the one serial port' shows \
	'echo uarts: $(cat /sys/class/tty/ttyS*/port).' 'uarts: 0x2F8\.'
check 'its interrupts come by its local APICs alone' shows \
	'echo lines: $(grep -c "IO-APIC.*[1-9]" /proc/interrupts).' 'lines: 0\.'
check 'its dmesg has no warning' shows \
	'echo bad: $(dmesg | grep -cE "WARNING|BUG|Oops|Call Trace|unstable|rcu.*stall|firmware bug|FW_BUG").' 'bad: 0\.'
check 'its dmesg has not the first OS in it' shows \
	'echo foreign: $(dmesg | grep -cE "0xfed00000|HPET|rtc_cmos|i801|ahci|0000:00:").' 'foreign: 0\.'
check 'its command line is that of command_line' shows \
	"echo same: \$([ \"\$(cat /proc/cmdline)\" = \"$(cat $os/command_line)\" ] && echo yes)." 'same: yes\.'

check 'it knows which system it is' knows_itself os1

# Stop, whatever it is doing.
check 'stop' put $os/stop 1
check 'state is offline' is $os/state offline
check 'all CPUs are back' is $cpus/online 0-3
check 'all memory is back' is $MINT/memory_free $((960 << 20))
check 'all low memory is back' is $MINT/low_memory_free $LOW_FREE
check 'its CPUs can be taken offline and online again' sh -c \
	"echo 0 >$cpus/cpu2/online && echo 1 >$cpus/cpu2/online"

# Two at once, each started while the other is.
put $os/cpus 2
put $os/cmdline mint.do=busy
put $MINT/remove os2
make_os os2 3 128M 0x3e8
put $os/load 1 && put $MINT/os2/load 1
both() {
	put $os/start 1 &
	put $MINT/os2/start 1 &
	wait
	is $os/state running && is $MINT/os2/state running
}
check 'two start at the same time' both
check 'the first comes up' expect os1 'mint-successor-up'
check 'the second comes up' expect os2 'mint-successor-up'
check 'stop of the one that is busy' put $os/stop 1
check 'the other still ticks' expect os2 'mint-tick'
check 'the other still ticks, later' expect os2 'mint-tick'
check 'the CPU of the other is still its own' is $cpus/online 0-2

tell os2 'poweroff -f'
check 'it powers off' expect os2 'reboot: Power down'
check 'stop of one that has powered off' put $MINT/os2/stop 1
check 'start it again' start_os os2
tell os2 'echo c >/proc/sysrq-trigger'
check 'it panics' expect os2 'Kernel panic - not syncing: sysrq'
check 'stop of one that has panicked' put $MINT/os2/stop 1
check 'start it once more' start_os os2
check 'stop it once more' put $MINT/os2/stop 1
check 'all CPUs are back at the end' is $cpus/online 0-3

put $MINT/remove os1
put $MINT/remove os2
check 'rmmod' rmmod mint
# What a successor left is not there for the next who gets the memory.
scrubbed() {
	dd if=/dev/mem bs=1M skip=1024 count=128 2>/dev/null | cmp -n $((128 << 20)) - /dev/zero
}
check 'the memory was scrubbed' scrubbed
plan
