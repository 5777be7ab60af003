#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""matrix.py KERNEL...: tries kernels as successors; prints Documentation/kernels.rst.

A kernel's row comes from one boot of the first OS, in which it is started many
times. What is tried next depends on what came of the last try, so the first OS
runs what comes in on its last serial port.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from first_os import (BUSYBOX_I386, LOW_POOL, NO_BROADCAST, POOL, TESTS, compile_c, is_i386, make_initramfs,
                      make_successor_initramfs)
from qemu_machine import Machine, MachineError, pick_accelerator
from scenarios import PORTS

# Each command's output, and its status in a line of its own.
FIRST_OS = """
. /tests/lib.sh
release_uart 0x2f8
insmod /mint.ko
echo 'status 0' >&3
while read -r command <&3; do
	eval "$command" >/tmp/said 2>&1
	status=$?
	cat /tmp/said >&3
	echo "status $status" >&3
done
"""
START = "put $MINT/os1/load 1 && put $MINT/os1/start 1"
RESTART = "put $MINT/os1/restart 1"
# MiB: the unit of `memory`, and what is plenty for each kernel.
UNIT = 2
PLENTY = 128
# How often a kernel must come up in the least memory: the decompressor puts it
# elsewhere each time.
STARTS = 3
# The limit of the first boot in seconds; later ones are known to be faster.
LIMIT = 120


class Refused(Exception):
    """A command failed; the text is what it said."""


@dataclass
class Row:
    """What came of a kernel."""

    version: str
    one_cpu: bool = False
    two_cpus: bool = False
    halts: bool = False
    reboots: bool = False
    crashes: bool = False
    # MiB that `load` takes, and that it comes up in.
    loads: int = 0
    boots: int = 0


class Successor:
    """os1, which is to boot one kernel, and the first OS that starts it."""

    def __init__(self, machine, version):
        self.machine, self.version = machine, version
        self.port = machine.ports["os1"]
        self.slowest = 0
        machine.wait("control", rb"status 0\n", LIMIT)

    def run(self, command):
        """What `command` prints in the first OS."""
        self.machine.send("control", command + "\n")
        said, status = self.machine.wait("control", rb"([\s\S]*?)status (\d+)\n", LIMIT).groups()
        if int(status):
            raise Refused(f"{command}: {said.decode().strip()}")
        return said.decode()

    def tell(self, text):
        print(f"mint: {self.version}: {text}", file=sys.stderr, flush=True)

    @contextmanager
    def made(self, cpus, memory):
        """There is an os1, until the end."""
        self.run(f"make_os os1 {cpus} {memory}M 0x2f8 /kernels/{self.version}")
        self.forget()
        yield
        self.run("drop_os os1")

    def forget(self):
        """From now on, only what it says next counts."""
        # All that it has said is in the log: it was said before the first OS's last answer.
        self.port.seen = len(self.port.log)

    def comes_up(self, cpus, command="true"):
        """Whether `command`, or what was told before, gets it to its user space, and that ticks."""
        started = time.monotonic()
        self.run(command)
        up = rf"mint-successor-up: {re.escape(self.version)}, {cpus} CPUs, \d+ MiB, up [\d.]+ s[\s\S]*?mint-tick"
        limit = 4 * self.slowest + 10 if self.slowest else LIMIT
        try:
            panic = self.machine.wait("os1", rf"{up}|Kernel panic - not syncing: ([^\r\n]*)[\r\n]".encode(), limit)[1]
        except MachineError:
            if self.machine.process.poll() is not None:
                raise
            self.tell(f"nothing in {limit:.0f} s; the last lines:\n{self.port.tail(3)}")
            return False
        took = time.monotonic() - started
        if panic:
            self.tell(f"{panic.decode()} ({took:.0f} s)")
            return False
        self.slowest = max(self.slowest, took)
        return True

    def goes(self, command, *states):
        """Whether it goes through the states once its user space is told to run `command`."""
        self.run(f"watch_state os1 {' '.join(states)}")
        self.forget()
        self.machine.send("os1", command + "\n")
        try:
            self.run("watched")
        except Refused as refused:
            self.tell(f"'{command}': {refused}")
            return False
        return True

    def boots(self, memory):
        """Whether it comes to its user space on one CPU."""
        with self.made("1", memory):
            good = self.comes_up(1, START)
        self.tell(f"{memory} MiB are {'enough' if good else 'too few'}")
        return good

    def loads(self, memory):
        """The least memory that `load` takes, in MiB: `memory`, or what it says instead."""
        with self.made("1", memory):
            try:
                self.run("dmesg -c >/dev/null; put $MINT/os1/load 1")
                return memory
            except Refused:
                found = re.search(r"need at least (\d+) MiB", self.run("dmesg"))
                if not found:
                    raise
                return int(found[1])

    def least_memory(self, loads):
        """The least memory that it comes up in, each time, in MiB."""
        low, high, good = loads - UNIT, PLENTY, 1
        while high - low > UNIT:
            middle = low + (high - low) // UNIT // 2 * UNIT
            if self.boots(middle):
                high = middle
            else:
                low = middle
        while good < STARTS:
            if self.boots(high):
                good += 1
            else:
                high, good = high + UNIT, 0
        return high

    def row(self):
        row = Row(self.version)
        with self.made("1-2", PLENTY):
            row.two_cpus = self.comes_up(2, START)
            if row.two_cpus:
                row.reboots = self.goes("reboot", "restarting", "running") and self.comes_up(2)
                if row.reboots or self.comes_up(2, RESTART):
                    row.halts = self.goes("poweroff", "halted")
                if self.comes_up(2, RESTART):
                    row.crashes = self.goes("echo c >/proc/sysrq-trigger", "crashed")
        row.one_cpu = self.boots(PLENTY)
        row.loads = self.loads(self.loads(UNIT))
        if row.one_cpu:
            row.boots = self.least_memory(row.loads)
        return row


def run(kernel, first, accelerator):
    """Tries one kernel; returns its row and its initrd's size in bytes."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        compile_c(folder / "wait_state", TESTS / "wait_state.c", "-static")
        files = [f"{TESTS}/lib.sh=/tests/lib.sh", f"{folder}/wait_state=/bin/wait_state",
                 f"{kernel}=/kernels/{kernel.parent.name}"]
        initrd = folder / "successor.cpio"
        if is_i386(kernel):
            initrd = make_successor_initramfs(folder / "i386.cpio", busybox=BUSYBOX_I386)
            files.append(f"{initrd}=/boot/initrd.i386")
        initramfs = make_initramfs(folder, first, FIRST_OS, files)
        with Machine(first, initramfs, f"mint.run=test {NO_BROADCAST} {POOL} {LOW_POOL}", names=PORTS,
                     cpus=3, accelerator=accelerator) as machine:
            successor = Successor(machine, kernel.parent.name)
            row = successor.row()
        successor.tell(f"{row} in {time.monotonic() - started:.0f} s")
        return row, initrd.stat().st_size


def table(rows):
    """The rows as a simple table."""
    lines = [("Kernel", "1 CPU", "2 CPUs", "poweroff", "reboot", "panic", "load", "boot")]
    for row in rows:
        lines.append((row.version, *("yes" if good else "**no**" for good in (
            row.one_cpu, row.two_cpus, row.halts, row.reboots, row.crashes)), str(row.loads), str(row.boots or "\\-")))
    widths = [max(map(len, column)) for column in zip(*lines)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    rule = "  ".join("=" * width for width in widths)
    return "\n".join((rule, text[0], rule, *text[1:], rule))


def document(first, accelerator, rows, initrds):
    said = subprocess.run(["qemu-system-x86_64", "--version"], check=True, capture_output=True, text=True).stdout
    qemu = re.match(r"QEMU emulator version (\S+)", said)[1]
    sizes = " or ".join(f"{size / 2**20:.1f} MiB ({bits} bits)" for bits, size in sorted(initrds.items(), reverse=True))
    return f"""\
.. SPDX-License-Identifier: GPL-2.0

=======
Kernels
=======

Stock kernels of Debian as successors. ``make matrix`` (scripts/matrix.py) tries the
kernels and writes this file.

{table(rows)}

1 CPU, 2 CPUs
	With so many CPUs and {PLENTY} MiB of memory, the kernel boots to a busybox user
	space that ticks. The next three columns are with two CPUs, from this user space:

poweroff
	After ``poweroff``, the state is ``halted``.

reboot
	After ``reboot``, the state is ``restarting``, then ``running``, and the kernel
	boots to its user space again.

panic
	After sysrq-c, the state is ``crashed``.

load
	The least ``memory`` that ``load`` accepts, in MiB: firmware area, the kernel's
	``init_size``, initrd. i386 kernels lie at multiples of 16 MiB. Their figure is
	for a range that starts at such a multiple, and may be up to 14 MiB less for
	another range.

boot
	The least ``memory``, in MiB, in which the kernel boots to its user space on one
	CPU, {STARTS} times of {STARTS}. The initrd is busybox and a script, not compressed:
	{sizes}.
	Other programs need more memory. With 2 MiB less the kernel may boot now and then;
	runs differed by as much.

Made with mint.ko of commit {os.environ["MINT_COMMIT"]} in {first.parent.name}, in QEMU {qemu}
with {"KVM" if accelerator == "kvm" else "TCG (emulated CPUs)"}.
"""


def main():
    first, kernels = Path(os.environ["MINT_FIRST"]), [Path(path) for path in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        accelerator = pick_accelerator(first, make_initramfs(Path(folder), first))
    # One QEMU needs one CPU of the host, of those this may use.
    with ThreadPoolExecutor(max_workers=min(len(os.sched_getaffinity(0)), 4)) as pool:
        tried = list(pool.map(lambda kernel: run(kernel, first, accelerator), kernels))
    initrds = {32 if is_i386(kernel) else 64: size for kernel, (_, size) in zip(kernels, tried)}
    print(document(first, accelerator, [row for row, _ in tried], initrds), end="")


try:
    main()
except (MachineError, Refused) as error:
    sys.exit(f"mint: error: {error}")
