# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Lockdown forbids to start a kernel that nobody vouches for.

. /tests/lib.sh

insmod /mint.ko
make_os os1 2 128M
mount -t securityfs securityfs /sys/kernel/security
echo integrity >/sys/kernel/security/lockdown
check 'load is refused in lockdown' refuses "$EPERM" '' $MINT/os1/load 1
check 'the log says why' sh -c 'dmesg | grep -qi "lockdown: .*kexec"'
check 'recovery can not be enabled' refuses "$EPERM" '' $MINT/os1/recovery enabled
check 'it stays disabled' is $MINT/os1/recovery disabled
check 'it can be disabled' put $MINT/os1/recovery disabled
put $MINT/remove os1
check 'rmmod' rmmod mint
plan
