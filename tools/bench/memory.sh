# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The first OS's free memory, as successors come: with none, and with 1 to $COUNT that
# have booted and powered off, and so hold all that they held when they ran.

. /bench/lib.sh

# What the kernel can do without goes first; some of it goes later, by RCU: until
# there are two rounds without a difference. As in the selftest of cycles.
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

must insmod /mint.ko
make_oses "$COUNT" 1 "$MEMORY" "$CMDLINE"
number=0
for os in none $oses; do
	if [ $os != none ]; then
		run_os "$os"
		must grep -qx halted "$MINT/$os/state"
		number=$((number + 1))
	fi
	settle
	say "free $number $(free_pages) $(slab_pages)"
done
for os in $oses; do
	report "$os"
done
say done
