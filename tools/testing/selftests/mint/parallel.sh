# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Seven successors of one CPU each, started at the same time from one image; then three
# of one, two and four CPUs. They have no console, so that their user space speaks by
# their kernel's log.

. /tests/lib.sh

insmod /mint.ko
free_before=$(cat $MINT/memory_free)
low_before=$(cat $MINT/low_memory_free)

# start_all NAME...: starts them, none of which is loaded, by a writer each.
start_all() {
	rm -f /tmp/failed
	writers=
	for started in "$@"; do
		{ put $MINT/$started/start 1 || echo "$started" >>/tmp/failed; } &
		writers="$writers $!"
	done
	wait $writers
	[ ! -e /tmp/failed ] || {
		cat /tmp/failed
		false
	}
}

# all_up PATTERN NAME...: each says in its log that its user space is up.
all_up() {
	up_pattern=$1
	shift
	for up in "$@"; do
		log_says "$up" "$up_pattern" || {
			echo "$up: $(tail -n 2 /tmp/dmesg)"
			return 1
		}
	done
}

# copied_at_once NAME...: two of them were copied at the same time.
copied_at_once() {
	for copied in "$@"; do
		awk '$1 == "copy" { print $3, $3 + $2 }' $MINT/$copied/timing
	done | sort -n | awk '
		NR > 1 && $1 < end { overlaps++ }
		$2 > end { end = $2 }
		END { print NR " copied, " overlaps + 0 " began before another was done"; exit !(NR > 1 && overlaps) }'
}

all=
for number in 1 2 3 4 5 6 7; do
	make_os "os$number" $number 128M '' || note "os$number could not be made"
	all="$all os$number"
done
check 'seven are started at the same time' start_all $all
check 'all seven come to their user space' all_up 'mint-successor-up: .*, 1 CPUs' $all
check 'they were copied at the same time' copied_at_once $all
for phase in read copy offline devices tables reset entry exclusive; do
	check "timing has $phase" grep -qE "^$phase [0-9]+( [0-9]+)?$" $MINT/os1/timing
done
note "os7 took: $(tr '\n' ';' <$MINT/os7/timing)"
check 'the first OS has its own CPU' is /sys/devices/system/cpu/online 0
for number in 1 2 3 4 5 6 7; do
	drop_os "os$number"
done
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-7

make_os one 1 128M ''
make_os two 2-3 128M ''
make_os four 4-7 256M ''
check 'three of one, two and four CPUs are started' start_all one two four
check 'one has one CPU' all_up 'mint-successor-up: .*, 1 CPUs' one
check 'two has two' all_up 'mint-successor-up: .*, 2 CPUs' two
check 'four has four' all_up 'mint-successor-up: .*, 4 CPUs' four
drop_os one
drop_os two

# Of two who want the same CPU, one gets it.
make_os two 1 128M ''
make_os one 1 128M ''
same_cpu() {
	! start_all one two && [ "$(wc -l </tmp/failed)" = 1 ] &&
		[ "$(cat $MINT/one/state $MINT/two/state | sort | tr '\n' ' ')" = 'offline running ' ]
}
check 'of two that want the same CPU one is started' same_cpu
check 'the other has no memory' is $MINT/memory_free $((free_before - (256 + 128) * 1024 * 1024))
drop_os one
drop_os two

# A start that fails leaves nothing behind.
make_os one 1 128M '' /tests/lib.sh
check 'a file that is no kernel is not started' refuses "$ENOEXEC" 'not a bzImage' $MINT/one/start 1
check 'its state is offline' is $MINT/one/state offline
check "its CPU is the first OS's" is /sys/devices/system/cpu/online 0-3
drop_os one
drop_os four
check 'all memory is back' is $MINT/memory_free $free_before
check 'all low memory is back' is $MINT/low_memory_free $low_before
check 'all CPUs are back once more' is /sys/devices/system/cpu/online 0-7
check 'rmmod' rmmod mint
plan
