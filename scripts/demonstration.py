# SPDX-License-Identifier: GPL-2.0
"""What demo.py and demo_net.py share: a first OS that starts a successor, shown on the terminal."""

import re
import sys
import time
from contextlib import contextmanager

from first_os import NO_BROADCAST, POOL
from qemu_machine import Machine, MachineError, pick_accelerator

COLOURS = {"first": "\033[36m", "successor": "\033[33m", "debian": "\033[32m"} if sys.stdout.isatty() else {}
# What a shell or systemd tells a terminal, which isn't one here.
ESCAPE = re.compile(r"\x1b(\[[0-9;?!]*[a-zA-Z]|\][^\x07\x1b]*(\x07|\x1b\\))")


class Show:
    """Prints what the systems say by whole lines, each under its name."""

    # Kernel messages are left out but for those of the module.
    SHOWN = re.compile(r"^(?!\[)|mint: ")

    def __init__(self):
        self.rest = {}

    def __call__(self, name, data):
        text = self.rest.get(name, "") + data.decode(errors="replace").replace("\r", "")
        *lines, self.rest[name] = text.split("\n")
        for line in lines:
            line = ESCAPE.sub("", line)
            if line.strip() and self.SHOWN.search(line):
                print(f"{COLOURS.get(name, '')}{name:>9} | {line}\033[0m" if COLOURS
                      else f"{name:>9} | {line}", flush=True)


def progress(text):
    print(f"\nmint: {text}", flush=True)


@contextmanager
def demonstrate(kernel, initramfs, hardware="", extra=(), names=("first", "successor"), cpus=4):
    """Boots `kernel` as the first OS, waits until it starts the successor, and lets the caller go on.

    Yields the machine, and what the first OS has said of itself. At the end the machine powers off, and
    no kernel may have complained. `hardware` is what the machine has besides CPUs and memory, and `extra`
    QEMU's options for that. `names` are those of the systems, by their serial ports.
    """
    accelerator = pick_accelerator(kernel, initramfs)
    progress(f"booting {kernel.parent.name} in QEMU ({accelerator}, {cpus} CPUs, 3 GiB{hardware}) as the first OS")
    started = time.monotonic()
    with Machine(kernel, initramfs, f"mint.run=test {NO_BROADCAST} {POOL}", names=names, cpus=cpus,
                 accelerator=accelerator, extra=extra, echo=Show()) as machine:
        up = machine.wait("first", rb"first OS: (.*), (\d+) CPUs, (\d+) MiB, up ([\d.]+) s")
        machine.boot = machine.took()
        machine.wait("first", rb"starting the successor")
        yield machine, up
        machine.wait_end()
        splats = machine.splats()
    if splats:
        raise MachineError("a kernel complained:\n" + "\n".join(splats))
    progress(f"it took {time.monotonic() - started:.0f} s in all")


def show(demonstration):
    """Runs it; an error is told without Python's own report."""
    try:
        demonstration()
    except MachineError as error:
        sys.exit(f"mint: error: {error}")
