# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A first OS whose local APICs are in x2APIC mode, with interrupt remapping on.

. /tests/lib.sh

check 'the first OS is in x2APIC mode' sh -c 'dmesg | grep -qiE "x2apic.*enabled|Enabled x2apic"'
release_uart 0x2f8
insmod /mint.ko
make_os os1 2-3 256M 0x2f8
check 'a successor comes up on two CPUs' start_os os1
check 'it ticks' expect os1 'mint-tick'
check 'stop' put $MINT/os1/stop 1
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
put $MINT/remove os1
make_os os1 2 128M 0x2f8 /kernels/*
check 'a 32-bit kernel is refused' refuses "$EINVAL" 'boot the first OS with nox2apic' $MINT/os1/load 1
put $MINT/remove os1
check 'rmmod' rmmod mint
plan
