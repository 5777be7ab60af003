# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What the measurements in the first OS share. What they find goes out on a serial
# port of their own, a line for each thing.

MINT=/sys/kernel/mint
CONTROL=/dev/ttyS1

stty -F $CONTROL raw -echo
exec 3>$CONTROL

say() {
	echo "$*" >&3
}

# must COMMAND...: it does, or the measurement is over.
must() {
	must_output=$("$@" 2>&1) || {
		say "failed: $*: $must_output"
		dmesg | tail -n 20 >&3
		poweroff -f
	}
}

put() {
	echo -n "$2" >"$1"
}

# Where TCG has a thread for each CPU, the first OS boots with maxcpus=1, and the others
# come when it has patched its text: see Documentation/bench.rst.
for online in /sys/devices/system/cpu/cpu[0-9]*/online; do
	[ "$(cat "$online")" = 1 ] || must put "$online" 1
done

# ticks: the time that all CPUs have been idle, and that they have been there, as /proc/stat
# has them. What waits for a disk is idle as well.
ticks() {
	awk '/^cpu / { for (i = 2; i <= 9; i++) all += $i; print $5 + $6, all }' /proc/stat
}
# is_idle: for a second the first OS had next to nothing to do.
is_idle() {
	idle_before=$(ticks)
	sleep 1
	echo "$idle_before $(ticks)" | awk '{ exit !(($3 - $1) >= 0.98 * ($4 - $2)) }'
}
# A kernel that has just come up goes on with what can wait, such as the tests of its ciphers,
# for seconds, and on an emulator with one thread that takes time from all CPUs.
until is_idle; do :; done

# From here on, what goes wrong may be Mint's doing.
say ready

# make_os NAME CPUS MEMORY CMDLINE
make_os() {
	must put $MINT/add "$1"
	must put "$MINT/$1/cpus" "$2"
	must put "$MINT/$1/memory" "$3"
	must put "$MINT/$1/kernel" /boot/vmlinuz
	must put "$MINT/$1/initrd" /boot/initrd
	must put "$MINT/$1/cmdline" "$4"
}

# make_oses COUNT CPUS MEMORY CMDLINE: os1 and so on, of CPUS CPUs each; the first OS keeps
# the lowest ones. Their names are then in $oses.
make_oses() {
	oses=
	make_cpu=$(($(nproc) - $1 * $2))
	while [ $make_cpu -lt "$(nproc)" ]; do
		make_name=os$(($(echo "$oses" | wc -w) + 1))
		make_os $make_name $make_cpu-$((make_cpu + $2 - 1)) "$3" "$4"
		oses="$oses $make_name"
		make_cpu=$((make_cpu + $2))
	done
}

# ends OS: waits until it has powered off. No test for it is run meanwhile.
ends() {
	wait_state "$1" "$LIMIT" any halted
}

# run_os OS: loads it, starts it, and waits until it has powered off.
run_os() {
	tsc_write "$MINT/$1/load" "$MINT/$1/start" >"/tmp/$1" 2>&1 && ends "$1" >>"/tmp/$1"
}

# report OS: the TSC when it was loaded and started, what Mint says of the phases, and
# the lines of its log that tell of the TSC.
report() {
	sed "s/^/$1 /" "/tmp/$1" >&3
	[ ! -e "$MINT/$1/timing" ] || sed "s/^/$1 timing /" "$MINT/$1/timing" >&3
	sed -n "s/^/$1 log /; /mint-bench: \\|smpboot: CPU0: \\|tsc: Detected /p" "$MINT/$1/dmesg" >&3
	must grep -qx halted "$MINT/$1/state"
}
