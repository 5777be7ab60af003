# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What is written to the files of /sys/kernel/mint at random, by several at once, harms nobody:
# neither the first OS nor an OS beside those that are written to. See fuzz_sysfs.c.

. /tests/lib.sh

WRITES=${WRITES:-10000}
SEED=${SEED:-1}

# configuration OS: all that can be read of it.
configuration() {
	for file in state cpus memory kernel initrd cmdline console devices disks network serial_number credentials command_line recovery restarts; do
		[ ! -e "$MINT/$1/$file" ] || echo "$file: $(cat "$MINT/$1/$file")"
	done
}

# all_oses: the names of all OSes.
all_oses() {
	for os in "$MINT"/*/; do
		os=${os%/}
		echo "${os##*/}"
	done
}

# accounts: what is free and what OSes hold are all that there is.
accounts() {
	held=0 held_low=0
	for os in $(all_oses); do
		[ "$(cat "$MINT/$os/state")" != offline ] || continue
		size=$(cat "$MINT/$os/memory")
		size=${size%@*}
		case $size in
		*G) held=$((held + (${size%G} << 30))) ;;
		*M) held=$((held + (${size%M} << 20))) ;;
		esac
		held_low=$((held_low + (36 << 10)))
	done
	is $MINT/memory_free $((total - held)) && is $MINT/low_memory_free $((low_total - held_low))
}

iomem_before=$(cat /proc/iomem)
release_uart 0x2f8
ioports_released=$(cat /proc/ioports)
insmod /mint.ko
total=$(cat $MINT/memory_total)
low_total=$(cat $MINT/low_memory_free)
make_os os1 1 128M 0x2f8 && put $MINT/os1/cmdline quiet && put $MINT/os1/load 1
make_os os2 2-3 64M@0x50000000 0x3e8
put $MINT/os2/devices 0000:01
os1=$(configuration os1)
os2=$(configuration os2)
check 'one OS is loaded, another is configured' test "$(cat $MINT/os1/state)-$(cat $MINT/os2/state)" = loaded-offline

fuzz() {
	PATIENCE=$PATIENCE fuzz_sysfs "$WRITES" 4 "$SEED" os1 os2 >/tmp/fuzz.log 2>&1
	status=$?
	head -n 30 /tmp/fuzz.log
	return $status
}
dmesg -c >/dev/null
check "$WRITES writes from 4 processes, seed $SEED" fuzz
tail -n 4 /tmp/fuzz.log | while read -r line; do note "$line"; done
# Who touches an OS that hangs hangs as well.
if grep -q ' hangs: ' /tmp/fuzz.log; then
	plan
	return
fi
check 'some writes in a hundred were loads' test "$(sed -n 's/ loads, .*//p' /tmp/fuzz.log)" -gt $((WRITES / 100))
check 'an OS that was loaded is as it was' test "$(configuration os1)" = "$os1"
check 'an OS that was configured is as it was' test "$(configuration os2)" = "$os2"
check 'memory is free or held' accounts

check 'the OS that was loaded starts' put $MINT/os1/start 1
check 'and comes up' expect os1 'mint-successor-up'

remove_all() {
	for os in $(all_oses); do
		drop_os "$os" || return
	done
}
check 'all OSes can be removed' remove_all
check 'then all memory is free' is $MINT/memory_free "$total"
check 'and all low memory' is $MINT/low_memory_free "$low_total"
check 'all ports are given back' test "$(cat /proc/ioports)" = "$ioports_released"
check 'rmmod' rmmod mint
check '/proc/iomem is as it was' test "$(cat /proc/iomem)" = "$iomem_before"
plan
