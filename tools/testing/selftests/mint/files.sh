# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Every file of /sys/kernel/mint but start: what it takes, and what it refuses.

. /tests/lib.sh

iomem_before=$(cat /proc/iomem)
insmod /mint.ko
check 'the module makes /sys/kernel/mint' test -d $MINT
check '/proc/iomem shows the pool' grep -q ' 40000000-7bffffff : Mint pool' /proc/iomem
check '/proc/iomem shows the low pool' grep -q '00020000-0003ffff : Mint pool' /proc/iomem
check 'memory_total' is $MINT/memory_total $((960 << 20))
check 'memory_free' is $MINT/memory_free $((960 << 20))
check 'low_memory_free' is $MINT/low_memory_free $LOW_FREE

# add and remove
long=abcdefghijklmnopqrstuvwxyz01234
check 'add takes a name' put $MINT/add web-1
check 'add takes the longest name' put $MINT/add $long
check 'an OS has its directory' test -d $MINT/$long
check 'add refuses a name twice' refuses "$EEXIST" 'already' $MINT/add web-1
check 'add refuses the name of a file' refuses "$EEXIST" 'already' $MINT/add remove
for name in '' . .. .a a/b 'a b' "${long}x" "$(printf 'a\tb')"; do
	check "add refuses '$name'" refuses "$EINVAL" 'no name for an OS' $MINT/add "$name"
done
check 'remove refuses an unknown name' refuses "$ENOENT" 'no OS' $MINT/remove nobody
check 'remove takes a name' put $MINT/remove $long
check 'remove takes the directory away' test ! -e $MINT/$long
check 'remove takes web-1' put $MINT/remove web-1

put $MINT/add os1
os=$MINT/os1
check 'state is offline' is $os/state offline
for file in cpus memory kernel initrd cmdline console command_line credentials; do
	check "$file is empty at first" is $os/$file ''
done
check 'recovery is disabled at first' is $os/recovery disabled
check 'restarts is 0 at first' is $os/restarts 0
for file in state command_line restarts dmesg vmcore; do
	check "$file is read-only" refuses "Permission denied" '' $os/$file x
done
check 'dmesg has nothing at first' fails "$ENODATA" cat $os/dmesg
check 'vmcore has nothing at first' fails "$ENODATA" cat $os/vmcore

# accepts FILE VALUE [SHOWN]
accepts() {
	put "$os/$1" "$2" && is "$os/$1" "${3-$2}"
}
check 'cpus takes a CPU' accepts cpus 1
check 'cpus takes a list' accepts cpus 3,1-2 1-3
check 'cpus is text and a newline' test "$(od -An -c $os/cpus | tr -d ' ')" = '1-3\n'
check 'cpus takes nothing' accepts cpus ''
check 'a newline at the end is no part of a value' accepts cpus '2
' 2
for value in x 1- -1 1,,x 2-1 1:2 4096M '1 x'; do
	check "cpus refuses '$value'" refuses "$EINVAL" 'cpus takes a list' $os/cpus "$value"
done
check 'cpus refuses a CPU beyond all' refuses "$ERANGE" 'cpus takes a list' $os/cpus 99999
check 'cpus refuses CPU 0' refuses "$EINVAL" 'CPU 0 stays with the first OS' $os/cpus 0-1
check 'what was refused changed nothing' is $os/cpus 2

check 'memory takes a size' accepts memory 256M
check 'memory takes bytes' accepts memory 268435456 256M
check 'memory takes an address' accepts memory 0x40000000@0x80000000 1G@0x80000000
check 'memory takes nothing' accepts memory ''
accepts memory 64M
for value in 0 x 1 3M 64M@ 64M@x 64M@1M 64M@0x40000000x 1G@0xffffffffffe00000 \
	99999999999999999999 16E -64M 64Mx; do
	check "memory refuses '$value'" refuses "$EINVAL" 'memory takes SIZE' $os/memory "$value"
done
check 'what was refused changed nothing' is $os/memory 64M

check 'kernel takes a path' accepts kernel /boot/vmlinuz
check 'kernel refuses a relative path' refuses "$EINVAL" 'not an absolute path' $os/kernel vmlinuz
check 'initrd takes a path' accepts initrd /boot/initrd
check 'initrd takes none' accepts initrd none
check 'initrd takes nothing' accepts initrd ''
check 'initrd refuses a relative path' refuses "$EINVAL" 'not an absolute path' $os/initrd ./x

check 'cmdline takes parameters' accepts cmdline 'a=1 "b=2 3" -- init'
check 'cmdline takes nothing' accepts cmdline ''
check 'cmdline refuses two lines' refuses "$EINVAL" 'one line of ASCII' $os/cmdline 'a
b'
check 'cmdline refuses what is too long' refuses "$E2BIG" 'longer than 2047' $os/cmdline \
	"$(head -c 2048 /dev/zero | tr '\0' x)"

check 'console takes a port' accepts console 0x2f8
check 'console takes nothing' accepts console ''
for value in 0 0x 0x0 2f8 0x2f9 0x12f80 ttyS1 -1; do
	check "console refuses '$value'" refuses "$EINVAL" 'console takes the I/O port' $os/console "$value"
done

# The FNV-1a hash of the UUID that scenarios.py gives this machine, a space, and os1.
serial=ade6bfcc1b9821f4
check 'serial_number depends on the machine and the name at first' is $os/serial_number $serial
put $MINT/add other
check 'it is another for another name' sh -c "! grep -qx $serial $MINT/other/serial_number"
put $MINT/remove other
check 'serial_number takes text' accepts serial_number 'ds=nocloud;s=http://10.0.0.1/'
long=$(head -c 255 /dev/zero | tr '\0' x)
check 'serial_number takes the longest text' accepts serial_number "$long"
serial_number_refuses() {
	refuses "$EINVAL" 'serial_number takes up to 255' $os/serial_number "$1"
}
check 'serial_number refuses what is too long' serial_number_refuses "${long}x"
check 'serial_number refuses two lines' serial_number_refuses 'a
b'
for value in "$(printf 'a\tb')" für; do
	check "serial_number refuses '$value'" serial_number_refuses "$value"
done
check 'what was refused changed nothing' is $os/serial_number "$long"
check 'serial_number takes nothing' accepts serial_number '' "$serial"

lines='system.hostname=web-1

binary:ssh.authorized_keys.root=c3NoLWVkMjU1MTk='
check 'credentials takes lines' accepts credentials "$lines
" "$lines"
credentials_refuses() {
	refuses "$EINVAL" "credentials: line $1: " $os/credentials "$2
"
}
for value in x 'binary:a=b' a/b=c; do
	check "credentials refuses '$value'" credentials_refuses 1 "$value"
done
check 'credentials refuses a control character' credentials_refuses 1 "$(printf 'a=\033')"
check 'credentials refuses a name twice' credentials_refuses 2 'a=1
a=2'
check 'what was refused is not in the log' sh -c '! dmesg | grep -q "a=1"'
check 'what was refused changed nothing' is $os/credentials "$lines"
# A line in the midst of which a page ends.
{
	echo 'first=1'
	head -c 6000 /dev/zero | tr '\0' x | sed 's/^/long=/'
	printf '\nlast=1'
} >/tmp/credentials
check 'credentials takes more than a page' sh -c "cat /tmp/credentials >$os/credentials"
check 'all of that is there' cmp /tmp/credentials $os/credentials
check 'credentials refuses what is too long' fails "$E2BIG" sh -c "
	head -c 16383 /dev/zero | tr '\\0' x | sed 's/^/a=/' >/tmp/long
	cat /tmp/long >$os/credentials"
check 'a write where nothing is yet is refused' fails "$EINVAL" \
	dd if=/tmp/credentials of=$os/credentials bs=1 count=8 seek=20000 conv=notrunc
check 'credentials takes nothing' accepts credentials ''

check 'recovery takes enabled' accepts recovery enabled
check 'recovery takes disabled' accepts recovery disabled
for value in '' 1 Enabled recover; do
	check "recovery refuses '$value'" refuses "$EINVAL" 'recovery takes' $os/recovery "$value"
done

# What is not possible in a state, or while something is missing.
for file in load start restart stop; do
	check "$file refuses 2" refuses "$EINVAL" 'write 1' $os/$file 2
done
check 'restart refuses an OS that is not loaded' refuses "$EBUSY" "write 1 to 'start' instead" $os/restart 1
check 'stop refuses an OS that holds nothing' refuses "$EBUSY" 'holds nothing' $os/stop 1
for file in cpus memory kernel; do
	value=$(cat $os/$file)
	put $os/$file ''
	check "load refuses an OS without $file" refuses "$EINVAL" "write '$file' first" $os/load 1
	check "start refuses an OS without $file" refuses "$EINVAL" "write '$file' first" $os/start 1
	put $os/$file "$value"
done

# The last line may have been cut short.
put $os/credentials 'a=1
binary:b=AAA'
check 'load refuses credentials whose last line is wrong' refuses "$EINVAL" 'credentials: line 2: ' $os/load 1
put $os/credentials ''

# Kernels that are none.
load_refuses() {
	put "$os/$3" "$4" && refuses "$1" "$2" $os/load 1 && is $os/state offline &&
		is $MINT/memory_free $((960 << 20)) && is $MINT/low_memory_free $LOW_FREE
}
head -c 100000 /boot/vmlinuz >/tmp/short
printf x >/tmp/tiny
: >/tmp/empty
check 'load refuses a kernel that is not there' load_refuses "$ENOENT" "can't read kernel /none .*no such file" kernel /none
start_takes_no_cpu() {
	refuses "$ENOENT" "can't read kernel" $os/start 1 && ! dmesg | grep 'is now offline'
}
check 'start of a kernel that is not there takes no CPU offline' start_takes_no_cpu
check 'load refuses a directory' load_refuses "$EINVAL" "can't read kernel .*a regular file" kernel /tmp
check 'load refuses a path through a file' load_refuses 'Not a directory' \
	"can't read kernel .*not a directory" kernel /tmp/tiny/vmlinuz
ln -s loop /tmp/loop
check 'load refuses a link to itself' load_refuses 'Too many levels of symbolic links' \
	"can't read kernel .*too many symbolic links" kernel /tmp/loop
check 'load refuses an empty file' load_refuses "$EINVAL" "can't read kernel .*it is empty" kernel /tmp/empty
check 'load refuses a file of sysfs' load_refuses "$EINVAL" "can't read kernel .*not in /proc or /sys" kernel /sys/kernel/notes
exec 5>>/tmp/short
check 'load refuses a file that is being written' load_refuses 'Text file busy' \
	"can't read kernel .*open for writing" kernel /tmp/short
exec 5>&-
check 'load refuses a text' load_refuses "$ENOEXEC" 'not a bzImage' kernel /tests/lib.sh
check 'load refuses a byte' load_refuses "$ENOEXEC" 'not a bzImage' kernel /tmp/tiny
check 'load refuses a kernel cut short' load_refuses "$ENOEXEC" 'cut short' kernel /tmp/short
put $os/kernel /boot/vmlinuz
check 'load refuses an initrd that is not there' load_refuses "$ENOENT" "can't read initrd .*no such file" initrd /none
check 'load refuses an empty initrd' load_refuses "$EINVAL" "can't read initrd .*it is empty" initrd /tmp/empty
put $os/initrd /boot/initrd

# Command lines that would undo what keeps systems apart.
for value in no_ipi_broadcast=0 memmap=1G acpi=off noapic apic=bigsmp tsc=unstable pci=conf1 \
	tsc_early_khz=1 8250.nr_uarts=4 reboot=k reboot=pci,force noefi efi=debug,noruntime panic=x hpet=force mem_encrypt=on kgdboc=ttyS0 bootconfig i8042.nopnp console=ttyS0 earlycon=uart8250,io,0x3f8; do
	check "load refuses cmdline '$value'" load_refuses "$EINVAL" "'$value' can't be used" cmdline "a $value"
done
check 'load refuses a cmdline that is too long with what is added' load_refuses "$EINVAL" 'longer than' \
	cmdline "$(head -c 2040 /dev/zero | tr '\0' x)"
put $os/cmdline 'quiet -- memmap=1G'

check 'load refuses a console in use' load_refuses "$EBUSY" 'in use, see /proc/ioports' console 0x3f8
put $os/console ''

# The pool
check 'load refuses too little memory' load_refuses "$ENOMEM" 'MiB of memory are too few' memory 32M
check 'load refuses more than there is' load_refuses "$ENOMEM" 'not free in the pool' memory 2G
check 'load refuses an address outside the pool' load_refuses "$EBUSY" 'at that address' memory 128M@0x10000000
put $os/memory 128M
check 'load' put $os/load 1
check 'state is loaded' is $os/state loaded
check 'memory tells where it is' is $os/memory 128M@0x40000000
check '/proc/iomem shows the OS' grep -q '40000000-47ffffff : os1' /proc/iomem
check 'memory_free is less' is $MINT/memory_free $(((960 - 128) << 20))
check 'low_memory_free is less' is $MINT/low_memory_free $((LOW_FREE - (36 << 10)))
check 'command_line ends with what was given' grep -q ' quiet -- memmap=1G$' $os/command_line
check 'command_line has what is added' grep -q '^no_ipi_broadcast=1 tsc_early_khz=[0-9]* tsc=reliable pci=off kvm.enable_virt_at_load=0 reserve=0x2e,2,0x4e,2 initcall_blacklist=add_pcspkr,[a-zA-Z0-9_,]* intel_pstate=no_hwp panic=0 8250.nr_uarts=0 reboot=efi,panic_warm efi=runtime sysctl.kernel.panic=-1 ' $os/command_line
check 'a loaded OS has no log yet' fails "$ENODATA" cat $os/dmesg
check 'load refuses a loaded OS' refuses "$EBUSY" 'loaded already' $os/load 1
for file in cpus memory kernel initrd cmdline console serial_number credentials; do
	check "$file can't be changed now" refuses "$EBUSY" "write 1 to 'stop' first" $os/$file ''
done

make_os os2 3 128M@0x60000000
check 'memory is had at the address asked for' put $MINT/os2/load 1
check '/proc/iomem shows it there' grep -q '60000000-67ffffff : os2' /proc/iomem
make_os a 2-3 128M
make_os b 2-3 128M
check 'low memory for a third is there' put $MINT/a/load 1
check 'load refuses when low memory is used up' refuses "$ENOMEM" 'KiB of low memory' $MINT/b/load 1
put $MINT/remove a
put $MINT/remove b
make_os os3 3 128M
check 'stop of a loaded OS' put $os/stop 1
check 'state is offline again' is $os/state offline
check 'a hole is filled first' put $MINT/os3/load 1
check '/proc/iomem shows it in the hole' grep -q '40000000-47ffffff : os3' /proc/iomem
put $MINT/remove os2
put $os/memory 64M@0x47000000
check 'load refuses an address that is taken' refuses "$EBUSY" 'at that address' $os/load 1
put $MINT/remove os3
check 'removing loaded OSes frees what they held' is $MINT/memory_free $((960 << 20))

# One image serves many, until the file changes.
cp /boot/vmlinuz /tmp/vmlinuz
make_os os2 3 128M '' /tmp/vmlinuz
put $os/kernel /tmp/vmlinuz
put $os/memory 128M
check 'load from a file' put $os/load 1
cat /tests/lib.sh >/tmp/vmlinuz
check 'a file that changed is read again' refuses "$ENOEXEC" 'not a bzImage' $MINT/os2/load 1
check 'who has it loaded keeps it' is $os/state loaded
put $MINT/remove os2
put $os/stop 1
rm /tmp/vmlinuz
put $os/kernel /boot/vmlinuz

# Who may
# Root of a user namespace owns the files, but has no capability here.
check 'root without CAP_SYS_BOOT may not' fails "$EPERM" unshare -r sh -c "echo -n 1 >$os/cpus"
# Nor may it read another system's memory.
check 'root without CAP_SYS_BOOT may not read vmcore' fails "$EPERM" unshare -r cat $os/vmcore
check 'others may not even read' test "$(stat -c %a $os/cpus)$(stat -c %a $os/credentials)" = 600600
check 'root without CAP_SYS_BOOT may not read credentials' fails "$EPERM" unshare -r cat $os/credentials
# in_fake FILE TEXT COMMAND: runs COMMAND in a mount namespace where FILE reads as TEXT.
in_fake() {
	echo "$2" >/tmp/fake
	unshare -m sh -c 'mount -o bind /tmp/fake "$1" && [ "$(cat "$1")" = "$2" ] && eval "$3"' sh "$@"
}
# load_and_stop LEFT: a load takes place, after which LEFT more may.
LIMIT=/proc/sys/kernel/kexec_load_limit_reboot
load_and_stop() {
	put $os/load 1 && put $os/stop 1 && is $LIMIT "$1"
}
check 'loads are not counted without a limit' load_and_stop -1
echo 3 >$LIMIT
check 'a load is counted' load_and_stop 2
check 'the limit can not be faked by a mount' in_fake $LIMIT 9 "echo -n 1 >$os/load && grep -qx 9 $LIMIT"
put $os/stop 1
check 'that load is counted too' is $LIMIT 1
# As by kexec_file_load(2), which gets open files.
uncounted() {
	put $os/kernel /none && refuses "$ENOENT" "can't read kernel" $os/load 1 && is $LIMIT 1
}
check 'a file that is not there is not counted' uncounted
counted() {
	put $os/kernel /tests/lib.sh && refuses "$ENOEXEC" 'not a bzImage' $os/load 1 && is $LIMIT 0
}
check 'a file that is no kernel is counted' counted
put $os/kernel /boot/vmlinuz
check 'load heeds kexec_load_limit_reboot' refuses "$EPERM" 'kexec_load_limit_reboot is 0' $os/load 1
check 'start heeds it for an OS that is not loaded' refuses "$EPERM" 'kexec_load_limit_reboot is 0' $os/start 1
check 'the limit stays 0' is $LIMIT 0

DISABLED=/proc/sys/kernel/kexec_load_disabled
echo 1 >$DISABLED
check 'load heeds kexec_load_disabled' refuses "$EPERM" 'kexec_load_disabled is set' $os/load 1
dmesg -c >/dev/null
check 'it can not be faked by a mount' fails "$EPERM" in_fake $DISABLED 0 "echo -n 1 >$os/load"
check 'the log says that it is set' sh -c 'dmesg | grep -q "mint: .*kexec_load_disabled is set"'

# The module
put $MINT/remove os1
rmmod mint
check 'rmmod leaves /proc/iomem as it was' test "$(cat /proc/iomem)" = "$iomem_before"
cycles() {
	for _ in $(seq 100); do
		insmod /mint.ko && put $MINT/add a && put $MINT/a/cpus 1 && rmmod mint || return 1
	done
}
check 'insmod and rmmod 100 times' cycles
check '/proc/iomem is still as it was' test "$(cat /proc/iomem)" = "$iomem_before"

check 'insmod is not deceived by mounts over /proc/cmdline and /sys' \
	in_fake /proc/cmdline quiet 'mount -t tmpfs tmpfs /sys && insmod /mint.ko'
check 'the pool is that of the command line' is $MINT/memory_total $((960 << 20))
rmmod mint

# refuses_insmod HINT PARAMETER...
refuses_insmod() {
	hint=$1
	shift
	dmesg -c >/dev/null
	! insmod /mint.ko "$@" 2>/dev/null && dmesg | grep -q "mint: .*$hint" || {
		dmesg
		false
	}
}
check 'insmod refuses System RAM' refuses_insmod 'in use as System RAM' \
	pool_start=0x10000000 pool_size=0x10000000 low_start=0x20000 low_size=0x20000
check 'insmod refuses what is not memory' refuses_insmod 'is not all memory' \
	pool_start=0xe0000000 pool_size=0x10000000 low_start=0x20000 low_size=0x20000
check 'insmod refuses page 0' refuses_insmod 'page 0' \
	pool_start=0x40000000 pool_size=0x10000000 low_start=0 low_size=0x10000
check 'insmod refuses a pool without low memory' refuses_insmod 'no low memory' \
	pool_start=0x40000000 pool_size=0x10000000
check 'insmod refuses low memory without a pool' refuses_insmod 'no memory for successors' \
	low_start=0x20000 low_size=0x20000
check 'insmod refuses a pool without 2 MiB in it' refuses_insmod 'too small' \
	pool_start=0x40000000 pool_size=0x1000 low_start=0x20000 low_size=0x20000
check 'insmod takes part of what is reserved' insmod /mint.ko \
	pool_start=0x50000000 pool_size=0x10000000 low_start=0x20000 low_size=0x10000
check 'the pool is that part' is $MINT/memory_total $((256 << 20))
rmmod mint
check '/proc/iomem is as it was at the end' test "$(cat /proc/iomem)" = "$iomem_before"
plan
