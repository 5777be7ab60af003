# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The first OS goes on as another kernel.

. /bench/lib.sh

echo "$CMDLINE" >/tmp/cmdline
kexec_self /boot/vmlinuz /boot/initrd /tmp/cmdline >&3
say 'failed: kexec_self'
