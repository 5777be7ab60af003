# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# How much memory a system uses for good, in pages.

# What the kernel can do without goes first, so that what is left is in use. Some of it
# goes later, by RCU: then there are two rounds without a difference.
settle() {
	rounds=0
	slab=0
	until [ "$slab" = "$(slab_pages)" ] || [ $rounds = 20 ]; do
		slab=$(slab_pages)
		echo 3 >/proc/sys/vm/drop_caches
		for cache in /sys/kernel/slab/*/shrink; do
			echo 1 >"$cache"
		done
		sleep 1
		cat /proc/sys/vm/stat_refresh
		rounds=$((rounds + 1))
	done
}
# Free pages: those of the buddy allocator and those that CPUs have in stock.
free_pages() {
	awk '$1 == "nr_free_pages" || $1 == "count:" { sum += $2 } END { print sum }' /proc/zoneinfo
}
slab_pages() {
	awk '$1 == "Slab:" { print int($2 / 4) }' /proc/meminfo
}
# Those that the kernel has yet to forget are none.
mappings() {
	grep -cv 'unpurged vm_area' /proc/vmallocinfo
}
exact() {
	cat /proc/iomem $MINT/memory_free $MINT/low_memory_free /sys/module/mint/refcnt
	online_cpus
	cut -f1 /proc/sys/fs/file-nr
}

# repeat COUNT: calls cycle so often; says at which it ended if not all went well.
repeat() {
	cycles=0
	while [ $cycles -lt "$1" ]; do
		at "cycle $cycles of $1"
		cycle || {
			echo "cycle $cycles failed; state is $(cat $MINT/os1/state)"
			return 1
		}
		cycles=$((cycles + 1))
	done
}

# loses_nothing COUNT WHAT: after so many calls of cycle, which does WHAT to os1, the first OS
# has all that it had before.
loses_nothing() {
	repeat 30
	exact >/tmp/before
	settle
	free_before=$(free_pages)
	slab_before=$(slab_pages)
	mappings_before=$(mappings)
	check "$1 times $2" repeat "$1"
	settle
	free_after=$(free_pages)
	slab_after=$(slab_pages)
	mappings_after=$(mappings)
	exact >/tmp/after
	note "free pages $free_before -> $free_after, slab $slab_before -> $slab_after, mappings $mappings_before -> $mappings_after"
	lost=$((free_before - free_after))
	limit=$(($1 * 3 / 4))
	# The kernel keeps some pages once, which was seen to be 95. A leak goes on.
	if [ $lost -ge $limit ]; then
		check "$1 times once more" repeat "$1"
		settle
		lost=$((free_after - $(free_pages)))
		note "then $lost free pages less"
	fi

	check 'memory, CPUs, references and open files are as before' cmp /tmp/before /tmp/after
	# One page lost in each cycle would be as many as there are cycles. What was seen as a rule: free
	# pages and mappings changed by less than 40 in 100 cycles and by 70 in 1,000. Slab varies more, by up
	# to 102 in 100 cycles and 59 in 1,000, at the cost of other caches: what it keeps for good shows
	# in the free pages, or in `make soak`.
	# A debug kernel takes pages of its own for what it records, 27 in each cycle; kmemleak looks there.
	[ -e /proc/lockdep_stats ] ||
		check 'no free page was lost' test $lost -lt $limit
	check 'no slab was kept' test $((slab_after - slab_before)) -lt $((200 + $1 / 10))
	check 'no mapping was kept' test $((mappings_after - mappings_before)) -lt $(($1 / 4))
}
