# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Two successors, one without a console, from their start to their ends, while the
# host watches which I/O ports they touch. At the end one touches a port on purpose,
# which the host must see. Other kernels are watched in kernels.sh.

. /tests/lib.sh

release_uart 0x2f8
insmod /mint.ko
# selftests.py knows the CPUs of each, and its port.
make_os os1 1-2 256M 0x2f8
put $MINT/os1/cmdline panic=1
make_os os2 3 128M ''

check 'the first starts' start_os os1
check 'the second starts' put $MINT/os2/start 1
check 'the second comes to its user space' log_says os2 mint-successor-up
check 'the first reboots, and is restarted' goes os1 reboot restarting running
check 'it comes up again' expect os1 mint-successor-up
check 'the first panics, and is restarted' goes os1 'echo c >/proc/sysrq-trigger' restarting running
check 'it comes up once more' expect os1 mint-successor-up
tell os1 '/do.d/busy &'
for _ in $(seq 5); do
	expect os1 'mint-tick' || break
done
check 'the first ticks on' ticks_on os1
# The scratch register of the first OS's UART.
strays() {
	ask os1 'read_port 0x3ff' && [ "${answer%: *}" = 'port 0x3ff' ]
}
check 'the first touches a port that is not its own' strays
check 'the first powers off' goes os1 poweroff halted
drop_os os1
drop_os os2
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'rmmod' rmmod mint
plan
