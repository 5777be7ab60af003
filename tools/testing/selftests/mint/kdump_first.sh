# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A first OS that panics starts its crash kernel, while a successor works on its disk; selftests.py
# looks at what follows.

. /tests/lib.sh
. /tests/device_io.sh

release_uart 0x2f8
insmod /mint.ko
make_os os1 2-3 256M 0x2f8
put $MINT/os1/devices 0000:01:00.0
check 'the successor starts' start_os os1
check 'it writes to its disk' run 'check_io write /dev/nvme0n1 1' '16 MiB of 1 written'
tell os1 'while :; do check_io read /dev/nvme0n1 1; done &'
check 'and reads' expect os1 '16 MiB of 1 came whole'
# What Debian's kdump-tools set, and Documentation/life.rst adds.
echo "$(sed 's/ *crashkernel=[^ ]*//' /proc/cmdline) reset_devices nr_cpus=1 irqpoll usbcore.nousb $CRASH" >/tmp/cmdline
check 'a crash kernel is loaded' kexec_self -p /boot/vmlinuz /boot/initrd.next /tmp/cmdline
plan
echo c >/proc/sysrq-trigger
