# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Successors that boot from a unified kernel image: with nothing else given, and with an initrd and
# a command line of their own.

. /tests/lib.sh

release_uart 0x2f8
release_uart 0x3e8
insmod /mint.ko

# make_uki FILE CMDLINE: an EFI executable of no use, with kernel, initrd and command line.
make_uki() {
	printf '%s\n' "$2" >/tmp/cmdline
	/usr/bin/x86_64-linux-gnu-objcopy -O pei-x86-64 --subsystem=10 -S -j .text --add-section .linux=/boot/vmlinuz \
		--add-section .initrd=/boot/initrd --add-section .cmdline=/tmp/cmdline /bin/wait_state "$1"
}
# bare_os NAME CPUS CONSOLE KERNEL: an OS for which nothing but a kernel is given.
bare_os() {
	make_os "$1" "$2" 256M "$3" "$4" && put "$MINT/$1/initrd" '' && is "$MINT/$1/cmdline" ''
}
ends_with() {
	grep -q -- "$2\$" "$1" || {
		cat "$1"
		false
	}
}
shows() {
	ask "$1" "$2" && [ "$answer" = "$3" ] || {
		echo "it is '$answer', not '$3'"
		false
	}
}
# files_held NUMBER: how many large files of those that the kernel has read are in memory. The list
# of a large file's pages ("vpages") is in a mapping of its own, which is listed as well.
files_held() {
	held=$(grep -c ' kernel_read_file+.* vpages ' /proc/vmallocinfo)
	[ "$held" = "$1" ] || {
		echo "$held files are held, not $1: $(grep kernel_read_file /proc/vmallocinfo)"
		false
	}
}
load_refuses() {
	refuses "$1" "$2" $os/load 1 && is $os/state offline && is $MINT/memory_free $((960 << 20))
}

os=$MINT/os1
uki=/tmp/uki.efi
check 'objcopy makes a unified kernel image' make_uki $uki 'mint.of=uki quiet'
bare_os os1 2 0x2f8 $uki
check 'load takes it' put $os/load 1
check 'its command line is used' ends_with $os/command_line ' mint\.of=uki quiet'
check 'cmdline is still empty' is $os/cmdline ''
check 'initrd is still empty' is $os/initrd ''
check 'one file is held' files_held 1
check 'start' put $os/start 1
check 'its kernel and its initrd come to user space' expect os1 "$(up_line "$SUCCESSOR" 1)"
check 'the successor has its command line' shows os1 'grep -c " mint.of=uki quiet$" /proc/cmdline' 1

# A second OS shares the file, with a command line of its own.
bare_os os2 3 0x3e8 $uki
put $MINT/os2/cmdline 'mint.of=person'
check 'a second OS loads it' put $MINT/os2/load 1
check 'its own command line takes the place of that in the file' \
	ends_with $MINT/os2/command_line '=-1 mint\.of=person'
check 'still one file is held' files_held 1
check 'the first OS that has it stops' put $os/stop 1
check 'the file is still held' files_held 1
check 'the second starts' put $MINT/os2/start 1
check 'the second comes to user space' expect os2 "$(up_line "$SUCCESSOR" 1)"
check 'the second is restarted' put $MINT/os2/restart 1
check 'the second comes to user space again' expect os2 "$(up_line "$SUCCESSOR" 1)"
drop_os os2
check 'no file is held' files_held 0

# An initrd of its own takes the place of that in the file, and so does none.
put $os/initrd /boot/initrd
put $os/cmdline ' '
check 'an initrd can be given' put $os/load 1
check 'two files are held' files_held 2
check 'a space is a command line without anything' ends_with $os/command_line ' sysctl\.kernel\.panic=-1'
put $os/stop 1
check 'initrd takes none' put $os/initrd none
check 'initrd shows none' is $os/initrd none
put $os/load 1
check 'one file is held for it' files_held 1
watch_state os1 running crashed
put $os/start 1
check 'without an initrd it has no root, and panics' watched
check 'it tells' expect os1 'VFS: Unable to mount root fs on'
put $os/stop 1
put $os/initrd ''
put $os/cmdline ''

# What is wrong with one.
check 'objcopy makes one with a bad command line' make_uki /tmp/bad.efi 'quiet memmap=1G'
put $os/kernel /tmp/bad.efi
check 'its command line is checked' load_refuses "$EINVAL" "'memmap=1G' can't be used"
check 'the log tells that it is in the file' sh -c "dmesg | grep -q \"mint: .*in the kernel's file: write another\""
put $os/cmdline quiet
check 'a better one can be given' put $os/load 1
put $os/stop 1
put $os/cmdline ''
check 'objcopy makes one with two lines' make_uki /tmp/bad.efi 'a
b'
check 'two lines are refused' load_refuses "$EINVAL" 'not one line of ASCII text'
head -c 1000000 $uki >/tmp/bad.efi
check 'load refuses one that is cut short' load_refuses "$ENOEXEC" 'section .linux: file is cut short'
rm /tmp/bad.efi
put $os/kernel $uki

# The debug kernel has no IMA (scripts/debug.config).
if [ ! -e /proc/lockdep_stats ]; then
	mount -t securityfs securityfs /sys/kernel/security
	check 'IMA takes a policy for initrds' \
		sh -c 'echo "appraise func=KEXEC_INITRAMFS_CHECK" >/sys/kernel/security/ima/policy'
	check 'IMA refuses the initrd in it' load_refuses 'Permission denied' "can't read initrd .*a security policy"
	put $os/initrd none
	check 'IMA allows the kernel in it' put $os/load 1
	put $os/stop 1
fi

put $MINT/remove os1
check 'all memory is back' is $MINT/memory_free $((960 << 20))
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
