# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What can be read of a successor from outside, running, hanging, halted or
# crashed: its log, its memory.

. /tests/lib.sh

release_uart 0x2f8
release_uart 0x3e8
insmod /mint.ko
os=$MINT/os1

up_again() {
	put $os/restart 1 && expect os1 'mint-successor-up'
}
has_line() {
	cat $os/dmesg >/tmp/dmesg && grep -q "$1" /tmp/dmesg || {
		tail -n 3 /tmp/dmesg
		false
	}
}

# makedumpfile shows who said it, as well.
same() {
	sed 's/^\(\[ *[0-9]*\.[0-9]*\] \)\[ *[CT][0-9]*\] /\1/' /tmp/dump-dmesg >/tmp/dump-text
	diff /tmp/dump-text /tmp/dmesg >/tmp/diff || {
		head -n 9 /tmp/diff
		false
	}
}

# At this address for it to be overwritten below.
make_os os1 2 128M@0x40000000 0x2f8
check 'offline: no log' fails "$ENODATA" cat $os/dmesg
put $os/load 1
check 'loaded: no log' fails "$ENODATA" cat $os/dmesg
put $os/start 1
check 'it comes up' expect os1 'mint-successor-up'
own_log os1
check 'running: its log' has_own_log os1
tell os1 'insmod /provoke.ko how=hang'
check 'hanging: its last line' log_says os1 'provoke: all CPUs hang'
check 'hanging: its log' has_own_log os1

check 'restart' up_again
# Notes as the kernel's own is, page by page, that name addresses where there is nothing.
forge='printf "\\013\\0\\0\\0\\377\\7\\0\\0\\0\\0\\0\\0VMCOREINFO\\0\\0OSRELEASE=9.9\\nPAGESIZE=4096\\nSYMBOL(prb)=ffffffffffffffff\\nSYMBOL(log_buf)=0\\n"'
tell os1 "$forge | dd bs=4096 conv=sync of=/note 2>/dev/null; for i in \$(seq 200); do cat /note; done >/notes; echo forged: \$(grep -c OSRELEASE /notes)."
check 'it forges notes' expect os1 'forged: 200\.'
own_log os1
check 'forged notes do no harm' has_own_log os1
check 'it panics' dies os1 'echo c >/proc/sysrq-trigger' 'sysrq triggered crash'
check 'crashed: its log' has_own_log os1
check 'crashed: its last words' has_line 'Kernel panic - not syncing: sysrq'

cat $os/vmcore >/tmp/vmcore
check 'crashed: its memory is an ELF core' test "$(head -c 4 /tmp/vmcore | od -An -c | tr -d ' ')" = '177ELF'
check 'crashed: makedumpfile finds the log' /usr/bin/makedumpfile --dump-dmesg /tmp/vmcore /tmp/dump-dmesg
check 'crashed: it is the same' same
check 'crashed: makedumpfile leaves out what nobody needs' /usr/bin/makedumpfile -d 31 -c /tmp/vmcore /tmp/dump
note "vmcore $(wc -c </tmp/vmcore) bytes, dump $(wc -c </tmp/dump)"
rm -f /tmp/vmcore /tmp/dump

check 'restart' up_again
own_log os1
check 'it halts' goes os1 'halt -f' halted
check 'halted: its log' has_own_log os1
check 'halted: its last line' has_line 'reboot: System halted'

# A sibling that writes to its memory: here and there at first, then all over.
make_os os2 3 128M 0x3e8
check 'a sibling starts' start_os os2
tell os2 'dd if=/dev/urandom of=/noise bs=4k count=1 2>/dev/null; i=262144; while [ $i -lt 294912 ]; do dd if=/noise of=/dev/mem bs=4k seek=$i conv=notrunc 2>/dev/null; i=$((i + 61)); done; echo scattered.'
check 'it writes to every 61st page' expect os2 'scattered\.'
either() {
	cat $os/vmcore >/dev/null
	cat $os/dmesg >/dev/null 2>&1 || fails "$ENODATA|$EBADMSG" cat $os/dmesg
}
check 'corrupt here and there: a log or an error' either
tell os2 'dd if=/dev/urandom of=/noise bs=1M count=8 2>/dev/null; i=128; while [ $i -lt 144 ]; do dd if=/noise of=/dev/mem bs=8M seek=$i conv=notrunc 2>/dev/null; i=$((i + 1)); done; echo overwritten.'
check 'it writes to all of it' expect os2 'overwritten\.'
check 'overwritten: no log' fails "$ENODATA|$EBADMSG" cat $os/dmesg
check 'overwritten: it is halted as before' is $os/state halted
check 'overwritten: it can be restarted' up_again
own_log os1
check 'its log is there again' has_own_log os1
check 'stop' put $os/stop 1
check 'offline again: no log' fails "$ENODATA" cat $os/dmesg

drop_os os1
drop_os os2
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'all memory is back' is $MINT/memory_free $((960 << 20))
check 'rmmod' rmmod mint
plan
