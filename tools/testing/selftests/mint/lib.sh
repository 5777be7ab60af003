# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What the tests in the first OS share. Results go out as TAP on a serial port of
# their own, away from the kernel's messages; the same port asks the host what
# the successors print, and sends them input.

MINT=/sys/kernel/mint
CONTROL=/dev/ttyS3

stty -F $CONTROL raw -echo
exec 3<>$CONTROL
# How long this host takes for a plain boot, in seconds: as selftests.py has measured it, or as this
# boot took, if that is more. All limits are multiples of it.
uptime_s() { cut -d. -f1 /proc/uptime; }
up=$(uptime_s)
[ "$up" -le "${BOOT:=$up}" ] || BOOT=$up
# How long anything is waited for. See PATIENCE in qemu_machine.py.
PATIENCE=$((15 * BOOT))
# The longest time between two ticks of a system that misses none. See GAP in scenarios.py.
GAP=$((3 * BOOT / 2))
echo booted >&3

# The low memory that is free in the rig: 128 KiB, but for what all OSes share.
LOW_FREE=$(((128 - 20) << 10))

tests=0

# result STATUS NAME [DETAIL]: the TAP line of one test.
result() {
	tests=$((tests + 1))
	if [ "$1" = 0 ]; then
		echo "ok $tests - $2" >&3
	else
		echo "not ok $tests - $2" >&3
		[ -z "$3" ] || echo "# $3" | tr '\n' ' ' >&3
		echo >&3
	fi
}

# check NAME COMMAND...: the test passes if the command does.
check() {
	check_name=$1
	shift
	at "$check_name"
	check_output=$("$@" 2>&1)
	result $? "$check_name" "$* said: $check_output"
}

# at WHAT: tells the host what comes next, which it names if nothing more is heard.
at() {
	echo "at $1" >&3
}

# note TEXT: something to know that is no test.
note() {
	echo "# $1" >&3
}

# plan: the last thing a test does. A debug kernel is asked what it has found.
plan() {
	if [ -e /proc/lockdep_stats ]; then
		. /tests/debug_checks.sh
	fi
	echo "1..$tests" >&3
}

# expect SYSTEM PATTERN: waits until SYSTEM prints PATTERN. If it does not, the host ends
# the scenario.
expect() {
	echo "expect $1 $2" >&3
	read -r answer <&3
	[ "$answer" = yes ]
}

# await COMMAND...: waits until COMMAND succeeds, where nothing tells of the event.
await() {
	await_end=$(($(uptime_s) + PATIENCE))
	until "$@"; do
		[ "$(uptime_s)" -lt $await_end ] || {
			echo "'$*' did not succeed within $PATIENCE s"
			return 1
		}
		usleep 100000
	done
}

# up_line VERSION CPUS: the pattern of what a successor's user space says first.
up_line() {
	echo "mint-successor-up: $(echo "$1" | sed 's/[.+]/\\&/g'), $2 CPUs"
}

# tell SYSTEM COMMAND: has the user space of SYSTEM run COMMAND.
tell() {
	echo "tell $1 $2" >&3
	read -r answer <&3
}

# ask SYSTEM COMMAND: what COMMAND, run by the user space of SYSTEM, prints, as
# $answer: one line without a vertical bar.
ask() {
	tell "$1" "echo answer: \$($2) '|'"
	expect "$1" 'answer: [^|\n]*\|' && echo "last $1 answer: ([^|\n]*) \|" >&3 && read -r answer <&3
}

# boot_id SYSTEM: prints it.
boot_id() {
	ask "$1" 'cat /proc/sys/kernel/random/boot_id' && echo "$answer"
}

# is_same SYSTEM ID, is_another SYSTEM ID: whether its boot id is still ID.
is_same() {
	id_now=$(boot_id "$1") && [ "$id_now" ] && [ "$id_now" = "$2" ]
}
is_another() {
	id_now=$(boot_id "$1") && [ "$id_now" ] && [ "$2" ] && [ "$id_now" != "$2" ]
}

# ticks_on SYSTEM: it has ticked since it last came up, never more than GAP apart
# by its own clock, and goes on.
ticks_on() {
	expect "$1" 'mint-tick' || return
	echo "ticks $1" >&3
	read -r count gap <&3
	[ "$count" -gt 0 ] && [ "${gap%.*}" -lt $GAP ] || {
		echo "$1 ticked $count times, once $gap s after the one before"
		false
	}
}

# mark WHAT: has the host note how far its own records of the run have come.
mark() {
	echo "mark $1" >&3
	read -r answer <&3
}

# monitor COMMAND: has QEMU's monitor execute COMMAND, which says nothing, or OK, if it succeeds.
monitor() {
	echo "monitor $1" >&3
	read -r answer <&3
	case $answer in
	"done" | OK*) ;;
	*)
		echo "$1: $answer"
		false
		;;
	esac
}

# put FILE VALUE: writes VALUE as it is, or, since nothing can't be written, an
# empty line. Errors are those of the write.
put() {
	if [ -n "$2" ]; then
		echo -n "$2" >"$1"
	else
		echo >"$1"
	fi
}

# is FILE VALUE: the file reads as VALUE.
is() {
	[ "$(cat "$1")" = "$2" ] || {
		echo "$1 is '$(cat "$1")', not '$2'"
		false
	}
}

# refuses ERROR HINT FILE VALUE: writing VALUE to FILE fails with ERROR (as
# strerror() has it), and the log has a line with HINT.
refuses() {
	dmesg -c >/dev/null
	if said=$(put "$3" "$4" 2>&1); then
		echo "'$4' was accepted by $3"
		return 1
	fi
	case $said in
	*"$1"*) ;;
	*)
		echo "'$4' to $3: $said, not $1"
		return 1
		;;
	esac
	[ -z "$2" ] || dmesg | grep -q -- "mint: .*$2" || {
		echo "'$4' to $3: no '$2' in the log but: $(dmesg)"
		return 1
	}
}

# fails ERRORS COMMAND...: COMMAND fails, and says one of ERRORS (as strerror() has them,
# with | between them).
fails() {
	fails_with=$1
	shift
	if said=$("$@" 2>&1 >/tmp/output); then
		echo "$* did not fail; $(wc -c </tmp/output) bytes came of it"
		return 1
	fi
	echo "$said" | grep -qE -- "$fails_with" || {
		echo "$said"
		false
	}
}

EINVAL='Invalid argument'
EBUSY='Device or resource busy'
ENOMEM='Cannot allocate memory'
ENOENT='No such file or directory'
EEXIST='File exists'
EPERM='Operation not permitted'
ENOEXEC='Exec format error'
E2BIG='Argument list too long'
ERANGE='Numerical result out of range'
ENODATA='No data available'
EBADMSG='Bad message'

# make_os NAME CPUS MEMORY [CONSOLE] [KERNEL]: an OS that is ready to load. Debian's
# 32-bit kernels get a user space of 32 bits.
make_os() {
	put $MINT/add "$1" &&
		put "$MINT/$1/cpus" "$2" &&
		put "$MINT/$1/memory" "$3" &&
		put "$MINT/$1/console" "$4" &&
		put "$MINT/$1/kernel" "${5:-/boot/vmlinuz}" &&
		case $5 in
		*-686 | *-686-pae) put "$MINT/$1/initrd" /boot/initrd.i386 ;;
		*) put "$MINT/$1/initrd" /boot/initrd ;;
		esac
}

# start_os NAME: loads and starts it, and waits for its user space.
start_os() {
	put "$MINT/$1/load" 1 && put "$MINT/$1/start" 1 && expect "$1" 'mint-successor-up'
}

# watch_state OS [any] STATE...: from now on, waits for the OS to go through the
# states; see wait_state.c. watched says whether it did.
watch_state() {
	watch_os=$1
	shift
	rm -f /tmp/watched
	mkfifo /tmp/watched
	wait_state "$watch_os" $PATIENCE "$@" >/tmp/watched &
	exec 4</tmp/watched
	read -r listening <&4
	echo "$listening" >/tmp/seen
}

# watched: succeeds if the OS went through the states.
watched() {
	cat <&4 >>/tmp/seen
	exec 4<&-
	grep -q '^went ' /tmp/seen || {
		cat /tmp/seen
		false
	}
}

# goes SYSTEM COMMAND [any] STATE...: the OS goes through the states once its user
# space was told to run COMMAND.
goes() {
	goes_os=$1
	goes_command=$2
	shift 2
	watch_state "$goes_os" "$@"
	tell "$goes_os" "$goes_command"
	watched
}

# took: how long the first of the states that watched has seen was in coming.
took() {
	tr '\n' ' ' </tmp/seen | awk '{ printf "%s %.2f s after", $4, $5 - $2 }'
}

# dies SYSTEM COMMAND REASON: its user space was told to run COMMAND, by which it panics
# and is crashed. The last lines of all may not have come out when its CPUs are parked.
dies() {
	goes "$1" "$2" crashed && expect "$1" "Kernel panic - not syncing: $3"
}

# log_says OS PATTERN: waits until its file dmesg has a line with PATTERN.
log_says() {
	await log_has "$1" "$2"
}
log_has() {
	cat "$MINT/$1/dmesg" >/tmp/dmesg && grep -q "$2" /tmp/dmesg
}

# give_credentials OS: as many as an OS can have, and almost as long as they can be.
give_credentials() {
	awk 'BEGIN {
		print "system.hostname=web-1"
		print "binary:ssh.authorized_keys.root=c3NoLWVkMjU1MTk="
		for (i = 3; i <= 255; i++)
			printf "filler.%d=%051d\n", i, i
	}' >/tmp/credentials
	cat /tmp/credentials >"$MINT/$1/credentials"
}

# knows_itself OS: it finds in its SMBIOS which system it is, and its credentials.
knows_itself() {
	ask "$1" 'cd /sys/class/dmi/id; cat sys_vendor product_name product_serial product_uuid' || return
	echo "$answer" | grep -qxE "Mint Successor $(cat "$MINT/$1/serial_number") [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}" || {
		echo "it is '$answer'"
		return 1
	}
	# What precedes the strings are five bytes; what ends them is a zero byte more.
	ask "$1" 'tail -c +6 /sys/firmware/dmi/entries/11-0/raw | head -c -1 | tr "\0" "\n" | md5sum | cut -d" " -f1' || return
	told=$(sed -e 's/^binary:/io.systemd.credential.binary:/' -e '/^io[.]systemd/!s/^/io.systemd.credential:/' \
		"$MINT/$1/credentials" | md5sum | cut -d' ' -f1)
	[ "$answer" = "$told" ] || {
		echo "the checksum of what it was told is $answer, not $told"
		false
	}
}

# own_log OS: keeps how many lines the running OS's own dmesg prints, and their checksum.
own_log() {
	ask "$1" 'dmesg >/tmp/log; wc -l </tmp/log; md5sum </tmp/log | cut -d" " -f1' && own_log=$answer
}

# has_own_log OS: its file dmesg begins with what own_log has kept.
has_own_log() {
	cat "$MINT/$1/dmesg" >/tmp/dmesg || return
	own_lines=${own_log% *}
	own_sum=${own_log#* }
	[ "$(head -n "$own_lines" /tmp/dmesg | md5sum | cut -d' ' -f1)" = "$own_sum" ] || {
		echo "$(wc -l </tmp/dmesg) lines, not $own_log: $(head -n 3 /tmp/dmesg)"
		false
	}
}

# first_ticks: the first OS notes its uptime every second, until first_ticked looks.
first_ticks() {
	while :; do
		cut -d' ' -f1 /proc/uptime
		sleep 1
	done >/tmp/first-ticks &
	first_ticker=$!
}

# first_ticked: the first OS has not missed a tick; as ticks_on.
first_ticked() {
	kill $first_ticker
	awk -v limit=$GAP '
		NR > 1 && $1 - last > gap { gap = $1 - last }
		{ last = $1 }
		END { print NR " ticks, " gap " s at most between two"; exit !(NR > 3 && gap < limit) }' /tmp/first-ticks
}

# drop_os NAME: stops it if need be, and removes it.
drop_os() {
	[ "$(cat "$MINT/$1/state")" = offline ] || put "$MINT/$1/stop" 1
	put $MINT/remove "$1"
}

online_cpus() {
	cat /sys/devices/system/cpu/online
}
