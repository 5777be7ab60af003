# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# $COUNT successors are started, in parallel or one after the other ($ORDER).

. /bench/lib.sh

must insmod /mint.ko
make_oses "$COUNT" "$CPUS" "$MEMORY" "$CMDLINE"
say begin
for os in $oses; do
	run_os "$os" &
	[ "$ORDER" = parallel ] || wait
done
wait
say end
for os in $oses; do
	report "$os"
done
say 'done'
