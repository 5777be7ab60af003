# SPDX-License-Identifier: GPL-2.0
"""What the first OS is booted with, for all who boot one."""

import os
import re
import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
BUSYBOX_I386 = Path(os.environ["MINT_CACHE"]) / "busybox-i386"
GUEST = SOURCE / "scripts/guest"
TESTS = SOURCE / "tools/testing/selftests/mint"
# What the first OS and its successors both have.
SHARED = tuple(f"{GUEST}/{name}=/bin/{name}" for name in ("check_io", "disk_of", "wait_disk"))
KO = Path(os.environ.get("MINT_KO") or SOURCE / "mint.ko")

# 960 MiB below the tables that QEMU keeps under 2 GiB, and low memory for
# three successors, in these pages.
LOW_PAGES = range(0x20, 0x40)
POOL = "memmap=960M$1G memmap=128K$128K"
# Where 32-bit kernels can lie, for tests that start some.
LOW_POOL = "memmap=256M$512M"
# The first OS keeps IPIs to all CPUs of the machine to its own.
NO_BROADCAST = "no_ipi_broadcast=1"


def is_i386(kernel):
    """Whether it is a 32-bit kernel of Debian."""
    return re.search("-686(-pae)?$", kernel.parent.name) is not None


def compile_c(output, source, *options):
    subprocess.run(["gcc-14", "-O2", "-Wall", "-Wextra", "-Werror", *options, "-o", output, source],
                   check=True)


def make_initramfs(folder, kernel, run=None, files=(), successor_files=(), modules=(), first=None,
                   successor_modules=(), ko=KO):
    """The first OS's initramfs: the module, a successor's `kernel`, and an initrd for that.

    `run` is the text of a script that the first OS runs before it powers off; `files` are
    further ones, as FILE=PATH, and `successor_files` those in the successor's initrd. `modules`
    are names of modules of the first OS's own kernel, `first`, and `successor_modules` of `kernel`.
    `ko` is mint.ko for `first`.
    """
    initrd = make_successor_initramfs(folder / "successor.cpio", successor_files,
                                      modules=successor_modules, kernels=(kernel,))
    files = [f"{ko}=/mint.ko", f"{kernel}=/boot/vmlinuz", f"{initrd}=/boot/initrd",
             f"{GUEST}/README=/README", f"{GUEST}/release_uart=/bin/release_uart",
             *SHARED, *files]
    if run:
        script = folder / "run"
        script.write_text(run)
        files.append(f"{script}=/run.d/test")
    return make(folder / "first.cpio", "first-init", files, modules=modules, kernels=(first,))


def make_successor_initramfs(path, files=(), busybox=None, modules=(), kernels=()):
    """A successor's initramfs, with `files` as FILE=PATH, perhaps of another busybox."""
    files = [f"{GUEST}/busy=/do.d/busy", *SHARED, *files]
    return make(path, "successor-init", files, busybox, modules, kernels)


def make(path, init, files, busybox=None, modules=(), kernels=()):
    """An initramfs whose init loads the `modules` named, of whichever of the `kernels` (images) it runs on."""
    environment = dict(os.environ)
    if busybox:
        environment["BUSYBOX"] = str(busybox)
    if modules:
        environment |= {"MODULES": " ".join(modules),
                        "KERNELS": " ".join(str(kernel.parent) for kernel in kernels)}
    subprocess.run([SOURCE / "scripts/make-initramfs", path, GUEST / init, *files], check=True, env=environment)
    return path


def with_libraries(program):
    """The program and what it is linked with, as FILE=PATH."""
    linked = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return [f"{path}={path}" for path in (program, *re.findall(r"(/\S+) \(0x", linked))]
