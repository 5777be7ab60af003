# SPDX-License-Identifier: GPL-2.0
"""What the first OS is booted with, for all who boot one."""

import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
GUEST = SOURCE / "scripts/guest"

# 960 MiB below the tables that QEMU keeps under 2 GiB, and, for trampolines, two
# slices of low memory.
POOL = "memmap=960M$1G memmap=128K$128K"
# The first OS keeps IPIs to all CPUs of the machine to its own.
NO_BROADCAST = "no_ipi_broadcast=1"


def make_initramfs(folder, kernel, run=None, files=()):
    """The first OS's initramfs: the module, a successor's `kernel`, and an initrd for that.

    `run` is the text of a script that the first OS runs before it powers off; `files` are
    further ones, as FILE=PATH.
    """
    maker = SOURCE / "scripts/make-initramfs"
    successor = folder / "successor.cpio"
    subprocess.run([maker, successor, GUEST / "successor-init", f"{GUEST}/busy=/do.d/busy"],
                   check=True)
    files = [f"{SOURCE}/mint.ko=/mint.ko", f"{kernel}=/boot/vmlinuz",
             f"{successor}=/boot/initrd", f"{GUEST}/README=/README",
             f"{GUEST}/release_uart=/bin/release_uart", *files]
    if run:
        script = folder / "run"
        script.write_text(run)
        files.append(f"{script}=/run.d/test")
    initramfs = folder / "first.cpio"
    subprocess.run([maker, initramfs, GUEST / "first-init", *files], check=True)
    return initramfs
