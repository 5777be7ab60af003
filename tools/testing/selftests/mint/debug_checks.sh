# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What a debug kernel has found by the end of a test and does not say by itself:
# plan() sources this.

KMEMLEAK=/sys/kernel/debug/kmemleak

# no_leak: nothing that was allocated is out of reach. A scan leaves out what is
# younger than five seconds (MSECS_MIN_AGE, mm/kmemleak.c), and what has changed
# since the scan before; it is refused once kmemleak has given up.
no_leak() {
	echo scan >$KMEMLEAK && sleep 5 && echo scan >$KMEMLEAK && echo scan >$KMEMLEAK &&
		leaks=$(cat $KMEMLEAK) && [ -z "$leaks" ] || {
		echo "$leaks"
		false
	}
}

[ -e $KMEMLEAK ] || mount -t debugfs debugfs /sys/kernel/debug

# It turns itself off with its first report.
check 'lockdep is still on' grep -q 'debug_locks: *1$' /proc/lockdep_stats
# Locked down, debugfs lets nobody in (debugfs_locked_down(), fs/debugfs/file.c).
if ! grep -qs '\[integrity\]' /sys/kernel/security/lockdown; then
	check 'no memory leaked' no_leak
fi
