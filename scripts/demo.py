#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""demo.py: boots the first OS, has it start a successor, and shows both at work."""

import os
import tempfile
import time
from pathlib import Path

from demonstration import demonstrate, progress, show
from first_os import GUEST, make_initramfs

WATCH_TICKS = 5


def demo():
    first, successor = Path(os.environ["MINT_FIRST"]), Path(os.environ["MINT_SUCCESSOR"])
    with tempfile.TemporaryDirectory() as folder:
        initramfs = make_initramfs(Path(folder), successor, (GUEST / "demo").read_text(),
                                   [f"{GUEST}/demo-lib=/bin/demo-lib"])
        with demonstrate(first, initramfs) as (machine, up):
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
    print(f"\n{'':11}{'kernel':<30}{'CPUs':>5}{'memory':>10}{'boot, own clock':>17}{'from start':>12}")
    for name, found, wall in (("first OS", up, "-"), ("successor", there, f"{took:.1f} s")):
        kernel, cpus, memory, clock = (group.decode() for group in found.groups())
        print(f"{name:<11}{kernel:<30}{cpus:>5}{memory + ' MiB':>10}{clock + ' s':>17}{wall:>12}")
    print("\nTwo stock kernels ran side by side, no hypervisor between them.")


show(demo)
