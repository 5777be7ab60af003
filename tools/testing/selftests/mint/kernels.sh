# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Other stock kernels as successors, each on two CPUs: those in /kernels.

. /tests/lib.sh

release_uart 0x2f8
insmod /mint.ko
for kernel in /kernels/*; do
	version=${kernel##*/}
	make_os os1 2-3 256M 0x2f8 "$kernel"
	put $MINT/os1/load 1 && put $MINT/os1/start 1
	check "$version comes to its user space on two CPUs" \
		expect os1 120 "$(up_line "$version" 2)"
	check "$version ticks" expect os1 20 'mint-tick'
	check "$version is stopped" put $MINT/os1/stop 1
	put $MINT/remove os1
done
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
