#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""demo.py: boots the first OS, has it start a successor, and shows both at work."""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

from first_os import GUEST, NO_BROADCAST, POOL, make_initramfs
from qemu_machine import Machine, MachineError, pick_accelerator

COLOURS = {"first": "\033[36m", "successor": "\033[33m"} if sys.stdout.isatty() else {}
WATCH_TICKS = 5
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


def demo():
    first, successor = Path(os.environ["MINT_FIRST"]), Path(os.environ["MINT_SUCCESSOR"])
    with tempfile.TemporaryDirectory() as folder:
        initramfs = make_initramfs(Path(folder), successor, (GUEST / "demo").read_text(),
                                   [f"{GUEST}/demo-lib=/bin/demo-lib"])
        accelerator = pick_accelerator(first, initramfs)
        progress(f"booting {first.parent.name} in QEMU ({accelerator}, 4 CPUs, 3 GiB) as the first OS")
        started = time.monotonic()
        with Machine(first, initramfs, f"mint.run=test {NO_BROADCAST} {POOL}",
                     names=("first", "successor"), accelerator=accelerator, echo=Show()) as machine:
            up = machine.wait("first", rb"first OS: (.*), (\d+) CPUs, (\d+) MiB, up ([\d.]+) s")
            machine.boot = machine.took()
            machine.wait("first", rb"starting the successor")
            asked = time.monotonic()
            progress(f"the first OS starts {successor.parent.name} on CPUs 2-3")
            there = machine.wait(
                "successor", rb"mint-successor-up: (.*), (\d+) CPUs, (\d+) MiB, up ([\d.]+) s")
            took = time.monotonic() - asked
            progress("both are at work")
            for _ in range(WATCH_TICKS):
                machine.wait("first", rb"up [\d.]+ s")
                machine.wait("successor", rb"mint-tick")
            progress("the first OS stops the successor and takes its CPUs and memory back")
            machine.send("first", "\n")
            machine.wait("first", rb"all CPUs and memory are back")
            machine.wait_end()
            splats = machine.splats()
    if splats:
        raise MachineError("a kernel complained:\n" + "\n".join(splats))
    print()
    print(f"{'':11}{'kernel':<30}{'CPUs':>5}{'memory':>10}{'boot, own clock':>17}{'from start':>12}")
    for name, found, wall in (("first OS", up, "-"), ("successor", there, f"{took:.1f} s")):
        kernel, cpus, memory, clock = (group.decode() for group in found.groups())
        print(f"{name:<11}{kernel:<30}{cpus:>5}{memory + ' MiB':>10}{clock + ' s':>17}{wall:>12}")
    print(f"\nTwo stock kernels ran side by side, no hypervisor between them"
          f" ({time.monotonic() - started:.0f} s in all).")


def show(demonstration):
    """Runs it; an error is told without Python's own report."""
    try:
        demonstration()
    except MachineError as error:
        sys.exit(f"mint: error: {error}")


if __name__ == "__main__":
    show(demo)
