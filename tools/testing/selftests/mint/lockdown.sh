# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Lockdown and IMA forbid to start a kernel that nobody vouches for.

. /tests/lib.sh

insmod /mint.ko
make_os os1 2 128M
mount -t securityfs securityfs /sys/kernel/security

# The debug kernel has no IMA (scripts/debug.config).
if [ ! -e /proc/lockdep_stats ]; then
	make_os os2 3 128M
	check 'load before IMA has a policy' put $MINT/os1/load 1
	# It asks for a hash in an attribute of the file, which has none.
	check 'IMA takes a policy' sh -c 'echo "appraise func=KEXEC_KERNEL_CHECK" >/sys/kernel/security/ima/policy'
	ima_refuses() {
		refuses 'Permission denied' "can't read kernel .*a security policy" "$MINT/$1/load" 1
	}
	check 'IMA refuses the kernel that another OS has loaded' ima_refuses os2
	check 'who has it loaded keeps it' is $MINT/os1/state loaded
	put $MINT/os1/stop 1
	check 'IMA refuses the kernel that nobody has loaded' ima_refuses os1
	put $MINT/remove os2
fi

echo integrity >/sys/kernel/security/lockdown
check 'load is refused in lockdown' refuses "$EPERM" '' $MINT/os1/load 1
check 'the log says why' sh -c 'dmesg | grep -qi "lockdown: .*kexec"'
check 'recovery can not be enabled' refuses "$EPERM" '' $MINT/os1/recovery enabled
check 'it stays disabled' is $MINT/os1/recovery disabled
check 'it can be disabled' put $MINT/os1/recovery disabled
put $MINT/remove os1
check 'rmmod' rmmod mint
plan
