# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The first OS's free memory: with no successor, and with 1 and $COUNT that have booted and
# powered off, and so hold all that they held when they ran. And, to be told from what
# they hold, with as many CPUs offline and no successor.

. /bench/lib.sh
. /bench/memory_use.sh

# tell WHAT
tell() {
	settle
	say "free $1 $(free_pages)"
}

# set_cpus ONLINE CPU...
set_cpus() {
	set_online=$1
	shift
	for cpu; do
		must put "/sys/devices/system/cpu/cpu$cpu/online" "$set_online"
	done
}

must insmod /mint.ko
make_oses "$COUNT" 1 "$MEMORY" "$CMDLINE"
# Some is freed only when a CPU goes offline for the first time.
set_cpus 0 $(seq "$COUNT")
set_cpus 1 $(seq "$COUNT")
set_cpus 0 1
tell offline-1
set_cpus 0 $(seq 2 "$COUNT")
tell offline-all
set_cpus 1 $(seq "$COUNT")
tell none
for os in $oses; do
	run_os "$os"
	must grep -qx halted "$MINT/$os/state"
	[ "$os" != os1 ] || tell 1
done
tell all
for os in $oses; do
	report "$os"
done
say 'done'
