# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What every script here shares: where things are, who is root, how to speak.
# Source it; it runs nothing.

set -euo pipefail

MINT_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# Everything downloaded or built for the tree, never needed but always quicker.
MINT_CACHE=${MINT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mint}
mkdir -p "$MINT_CACHE"
MINT_CACHE=$(cd "$MINT_CACHE" && pwd -P)
# The Debian 13 root that holds compilers, Rust and QEMU.
MINT_ROOT=$MINT_CACHE/trixie
# The flavour of the first OS's kernel: cloud-amd64, amd64 or rt-amd64.
MINT_FLAVOUR=${MINT_FLAVOUR:-cloud-amd64}

say() { printf '%s\n' "mint: $*" >&2; }
die() {
	say "error: $*"
	exit 1
}

# step "what" command...: one line of progress, the output in a log that is
# shown only when the command fails.
step() {
	local what=$1 log started=$SECONDS
	shift
	mkdir -p "$MINT_CACHE/log"
	log=$MINT_CACHE/log/$(tr -cs 'a-zA-Z0-9\n' - <<<"$what").log
	say "$what ..."
	if ! "$@" >"$log" 2>&1 </dev/null; then
		tail -n 40 "$log" >&2
		die "$what failed (whole log: $log)"
	fi
	say "$what: done in $((SECONDS - started)) s"
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		command -v sudo >/dev/null || die "need root for '$1': run as root or install sudo"
		sudo --preserve-env=MINT_MIRROR "$@"
	fi
}

# in_root command...: run inside the Debian 13 root, as the caller, in the
# caller's directory; the tree and the cache are at the same paths there.
in_root() { "$MINT_SRC/scripts/in-root" "$@"; }

# The Debian mirror this machine already uses.
mirror() {
	local found
	if [ -n "${MINT_MIRROR:-}" ]; then
		echo "$MINT_MIRROR"
		return
	fi
	found=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		awk '$1 ~ /^(bookworm|trixie|stable|oldstable)$/ && $2 == "main" { print $3; exit }')
	[ -n "$found" ] || die "no Debian mirror in this machine's apt sources: set MINT_MIRROR=URL"
	echo "${found%/}"
}

# unpack_source VERSION FOLDER: Debian's source of the kernel VERSION, whose
# headers are installed in the root, into FOLDER.
unpack_source() {
	local package
	package=linux-source-$(cut -d. -f1,2 <<<"$1")
	rm -rf "$2"
	mkdir -p "$2"
	cd "$2" &&
		in_root apt-get -q download "$package=$(
			in_root dpkg-query -Wf '${Version}' "linux-headers-$1"
		)" &&
		in_root sh -c 'dpkg-deb --fsys-tarfile "$1"_*.deb | tar -xO "./usr/src/$1.tar.xz" | tar -xJ --strip-components=1' sh "$package" &&
		rm ./*.deb
}
