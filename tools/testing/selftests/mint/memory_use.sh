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
