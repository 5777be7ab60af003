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
	check_output=$("$@" 2>&1)
	result $? "$check_name" "$* said: $check_output"
}

# plan: the last thing a test does.
plan() {
	echo "1..$tests" >&3
}

# expect SYSTEM LIMIT PATTERN: waits until SYSTEM prints PATTERN, for at most
# LIMIT seconds.
expect() {
	echo "expect $1 $2 $3" >&3
	read -r answer <&3
	[ "$answer" = yes ]
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

# mark WHAT: has the host note how far its own records of the run have come.
mark() {
	echo "mark $1" >&3
	read -r answer <&3
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

EINVAL='Invalid argument'
EBUSY='Device or resource busy'
ENOMEM='Cannot allocate memory'
ENOENT='No such file or directory'
EEXIST='File exists'
EPERM='Operation not permitted'
ENOEXEC='Exec format error'
E2BIG='Argument list too long'
ERANGE='Numerical result out of range'

# make_os NAME CPUS MEMORY [CONSOLE] [KERNEL]: an OS that is ready to load.
make_os() {
	put $MINT/add "$1" &&
		put "$MINT/$1/cpus" "$2" &&
		put "$MINT/$1/memory" "$3" &&
		put "$MINT/$1/console" "$4" &&
		put "$MINT/$1/kernel" "${5:-/boot/vmlinuz}" &&
		put "$MINT/$1/initrd" /boot/initrd
}

# start_os NAME: loads and starts it, and waits for its user space.
start_os() {
	put "$MINT/$1/load" 1 && put "$MINT/$1/start" 1 && expect "$1" 90 'mint-successor-up'
}

# drop_os NAME: stops it if need be, and removes it.
drop_os() {
	[ "$(cat "$MINT/$1/state")" = offline ] || put "$MINT/$1/stop" 1
	put $MINT/remove "$1"
}

online_cpus() {
	cat /sys/devices/system/cpu/online
}
