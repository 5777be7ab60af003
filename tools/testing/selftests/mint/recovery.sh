# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# An OS that panics as soon as it is up is restarted by itself, if that is wanted,
# and ever more slowly.

. /tests/lib.sh

release_uart 0x2f8
insmod /mint.ko
os=$MINT/os1
make_os os1 3 128M 0x2f8
put $os/cmdline 'quiet mint.do=crash'

check 'recovery is disabled' is $os/recovery disabled
for value in '' 1 on Enabled 'enabled disabled'; do
	check "recovery refuses '$value'" refuses "$EINVAL" 'enabled' $os/recovery "$value"
done
recovers() {
	put $os/recovery "$1" && is $os/recovery "$1"
}
check 'recovery is enabled, offline' recovers enabled
check 'recovery is disabled, offline' recovers disabled
put $os/load 1
check 'recovery is enabled, loaded' recovers enabled

watch_state os1 any running restarting running restarting running restarting running
put $os/start 1
check 'it is restarted again and again' watched
note "$(tail -n 1 /tmp/seen)"
# pauses: how long each restart took, from "went STATE SECONDS..." as watched has seen them.
pauses() {
	tail -n 1 /tmp/seen | awk '{
		for (i = 2; i < NF; i += 2) {
			if ($i == "restarting")
				since = $(i + 1)
			if ($i == "running" && since) {
				printf "%.2f ", $(i + 1) - since
				since = 0
			}
		}
	}'
}
# The times are those at which it is told of, which may be a little late.
slower() {
	pauses | awk '{ print; exit !(NF == 3 && $2 > 0.9 && $3 > 1.9) }'
}
check 'it is restarted after nothing, 1 s and 2 s' slower
check 'it was restarted three times' is $os/restarts 3

watch_state os1 any crashed
check 'recovery is disabled, running' recovers disabled
check 'it is crashed then' watched
# There is nothing to wait for when nothing is to happen; the next restart was due in 4 s.
sleep 6
check 'it stays so' is $os/state crashed
check 'it was not restarted' is $os/restarts 3

check 'recovery is enabled, crashed' recovers enabled
check 'it waits for its restart then' is $os/state restarting
check 'recovery is disabled, while it waits' recovers disabled
check 'it is crashed again' is $os/state crashed
put $os/recovery enabled
check 'restart, while it waits' put $os/restart 1
check 'it is running' is $os/state running
watch_state os1 any restarting
check 'it crashes again' watched
check 'stop, while it waits' put $os/stop 1
check 'state is offline' is $os/state offline
check 'recovery is still enabled' is $os/recovery enabled

put $MINT/remove os1
check 'all CPUs are back' is /sys/devices/system/cpu/online 0-3
check 'all memory is back' is $MINT/memory_free $((960 << 20))
check 'rmmod' rmmod mint
plan
