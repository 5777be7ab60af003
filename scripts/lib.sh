# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What every script here shares: where things are, who is root, how to speak, and
# who waits for whom. Source it; it runs nothing but what makes the cache folder.

set -euo pipefail
# Or what is in $(...) would go on after a failure.
shopt -s inherit_errexit

say() { printf '%s\n' "mint: $*" >&2; }
die() {
	say "error: $*"
	exit 1
}

MINT_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# Everything downloaded or built for the tree, never needed but always quicker.
MINT_CACHE=${MINT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mint}
case $MINT_SRC$MINT_CACHE in
*[[:space:]:\"]*) die "make can't build in '$MINT_SRC' with MINT_CACHE '$MINT_CACHE': use paths without spaces, colons and quotes" ;;
esac
mkdir -p "$MINT_CACHE"
MINT_CACHE=$(cd "$MINT_CACHE" && pwd -P)
# The tag of a cache folder (https://bford.info/cachedir/), which backups skip and `make
# distclean` removes. A folder that has other things in it does not get one.
if [ -z "$(ls -A "$MINT_CACHE")" ]; then
	echo "Signature: 8a477f597d28d172789f06886806bc55" >"$MINT_CACHE/CACHEDIR.TAG"
fi
# The Debian 13 root that holds compilers, Rust and QEMU.
MINT_ROOT=$MINT_CACHE/trixie
# The flavour of the first OS's kernel: cloud-amd64, amd64 or rt-amd64.
MINT_FLAVOUR=${MINT_FLAVOUR:-cloud-amd64}
# The kernel series that the module is known to build for.
# shellcheck disable=SC2034 # kernel-version and build-module use it
MINT_SERIES=(7.2 7.3)

# step "what" command...: one line of progress, the output in a log that is
# shown only when the command fails. The command runs in a subshell: it ends at its
# first failure, and neither a cd nor an exit in it gets out.
step() {
	local what=$1 log started=$SECONDS status
	shift
	mkdir -p "$MINT_CACHE/log"
	log=$MINT_CACHE/log/$(tr -cs 'a-zA-Z0-9\n' - <<<"$what").log
	say "$what ..."
	set +e
	# In a condition, bash would go on after a failure in the command, whatever is set.
	(
		set -e
		false
		true
	)
	status=$?
	[ $status != 0 ] || die "step '$what' is part of a condition"
	(
		set -e
		"$@"
	) >"$log" 2>&1 </dev/null
	status=$?
	set -e
	if [ $status != 0 ]; then
		tail -n 40 "$log" >&2
		die "$what failed (whole log: $log)"
	fi
	say "$what: done in $((SECONDS - started)) s"
}

# lock NAME [--shared]: waits until no other run has NAME, and has it until this shell and
# what it has started have ended. Call it in a subshell to give it back earlier. Who needs
# several takes them in this order: what is made, packages, root.
lock() {
	local fd
	mkdir -p "$MINT_CACHE/lock"
	exec {fd}>>"$MINT_CACHE/lock/$1"
	if ! flock --nonblock "${@:2}" "$fd"; then
		say "waiting for another run that makes or uses '$1' ..."
		flock "${@:2}" "$fd"
	fi
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		command -v sudo >/dev/null || die "need root for '$1': run as root or install sudo"
		sudo "$@"
	fi
}

# bootstrap OPTION...: mmdebstrap, which makes Debian systems, and is all that is installed
# on this machine. Its mounts end with it, even if it is killed.
bootstrap() { as_root unshare --mount --propagation private mmdebstrap --mode=root "$@"; }
need_mmdebstrap() {
	command -v mmdebstrap >/dev/null && return
	step "installing mmdebstrap on this machine" as_root env DEBIAN_FRONTEND=noninteractive sh -euc '
		apt-get -q -o DPkg::Lock::Timeout=600 update
		apt-get -qy -o DPkg::Lock::Timeout=600 install mmdebstrap
	'
}

# in_root command...: run inside the Debian 13 root, as the caller, in the
# caller's directory; the tree and the cache are at the same paths there.
in_root() { "$MINT_SRC/scripts/in-root" "$@"; }

# Debian's package lists in the root, not older than a day. To be called before a
# download: packages of which there is a newer version leave the archive.
update_lists() (
	lock packages
	[ -z "$(find "$MINT_ROOT/.mint-lists" -mmin -1440 2>/dev/null)" ] || exit 0
	step "reading Debian's package lists" in_root --as-root apt-get -q update
	as_root touch "$MINT_ROOT/.mint-lists"
)

# in_archive PACKAGE [VERSION]: whether Debian has it.
in_archive() {
	in_root apt-cache madison "$1" | awk -v version="${2:-}" '
		version == "" || $3 == version { found = 1 }
		END { exit !found }'
}

# gone WHAT: ends the script, which needs a version that the archive does not have.
gone() {
	die "Debian does not have $1, or no longer: remove $MINT_CACHE/kernel-version-* to take the newest kernels, or name one by MINT_KERNEL=VERSION"
}

# install_packages WHAT PACKAGE...: into the root, after what was left of an interrupted run.
install_packages() (
	lock packages
	step "installing $1" in_root --as-root DEBIAN_FRONTEND=noninteractive sh -euc '
		dpkg --configure -a
		apt-get -qy --fix-broken install "$@"
	' sh "${@:2}"
)

# unpack_source VERSION FOLDER: Debian's source of the kernel VERSION, whose
# headers are installed in the root, as FOLDER, which is not seen before it is whole.
unpack_source() {
	local package debian
	package=linux-source-$(cut -d. -f1,2 <<<"$1")
	debian=$(in_root dpkg-query -Wf '${Version}' "linux-headers-$1")
	in_archive "$package" "$debian" || gone "$package of version $debian"
	rm -rf "$2" "$2.new"
	mkdir -p "$2.new"
	cd "$2.new"
	in_root apt-get -q download "$package=$debian"
	in_root bash -euo pipefail -c '
		dpkg-deb --fsys-tarfile "$1"_*.deb | tar -xO "./usr/src/$1.tar.xz" |
			tar -xJ --strip-components=1
	' bash "$package"
	rm ./*.deb
	mv "$2.new" "$2"
}
