#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""selftests.py [NAME...]: runs the kselftests in QEMU, all or those named.

Each scenario is a first OS, booted in a way of its own, in which a script of
tools/testing/selftests/mint runs. Its results come as TAP from the last serial
port; by the same port it asks what successors print. On top of what the script
tests, no system may say anything in its log that a healthy kernel does not say.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from first_os import NO_BROADCAST, POOL, SOURCE, make_initramfs
from qemu_machine import CACHE, Machine, MachineError

TESTS = SOURCE / "tools/testing/selftests/mint"
SUCCESSORS = ("os1", "os2")
# The first OS's console, two successors, and the tests' own port.
PORTS = ("first", *SUCCESSORS, "control")
LIMIT = 400


@dataclass
class Scenario:
    """A first OS and the script that runs in it."""

    script: str
    name: str = ""
    append: str = f"{NO_BROADCAST} {POOL}"
    environment: str = ""
    cpus: int = 4
    kernels: tuple = ()
    extra: tuple = ()
    # What a successor that is made to panic says; its script waits for it.
    expected: tuple = ()
    watch: bool = False

    def __post_init__(self):
        self.name = self.name or self.script


def scenarios(first, others):
    return [
        Scenario("watch", cpus=5, watch=True, kernels=(others["6.1"],)),
        Scenario("start", environment=f"SUCCESSOR={first.parent.name}",
                 expected=(r"\[os2\].*(sysrq: Trigger a crash|Kernel panic - not syncing: sysrq)",)),
        Scenario("files"),
        Scenario("kernels", kernels=tuple(others.values())),
        Scenario("x2apic", extra=("-device", "intel-iommu,intremap=on,eim=on"),
                 append=f"{NO_BROADCAST} {POOL} intel_iommu=on"),
        Scenario("lockdown"),
        Scenario("refusals", name="refusals/broadcast", append=POOL,
                 environment="REFUSAL=boot.it.with.no_ipi_broadcast=1"),
        Scenario("refusals", name="refusals/pool", append=NO_BROADCAST,
                 environment="REFUSAL=boot.with.memmap=SIZE"),
    ]


# The successors of watch.sh: where the RAM of each starts and ends, and its CPUs.
WATCHED = {
    "os1": (0x40000000, 0x50000000, (1, 2)),
    "os2": (0x50000000, 0x60000000, (3, 4)),
}


class Watcher:
    """What the systems' CPUs send by their ICRs, seen by a QEMU plugin."""

    LINE = re.compile(r"cr3=(0x[0-9a-f]+) dest=(\d+) shorthand=(\w+) mode=(\w+) level=\w+ destmode=(\w+) vector=")

    def __init__(self, folder):
        plugin = folder / "icr_watch.so"
        self.log = folder / "icr.log"
        self.marks = {}
        subprocess.run(["gcc-14", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", plugin,
                        SOURCE / "tools/testing/qemu/icr_watch.c"], check=True)
        self.arguments = ("-plugin", f"{plugin},log={self.log}")

    def mark(self, what):
        self.marks[what] = self.log.stat().st_size

    def results(self, systems):
        """Checks the log against {name: (RAM's start, RAM's end, CPUs)}; yields (passed, name of the test).

        A line is from the system in whose RAM its page table lies, or else from the first OS.
        """
        text = self.log.read_bytes()[self.marks["start"]:self.marks["stop"]].decode()
        successors = {cpu for _, _, cpus in systems.values() for cpu in cpus}
        # The CPUs that the first OS has sent an INIT: from then on they are not its own.
        given = set()
        started = {name: set() for name in systems}
        seen, foreign = dict.fromkeys(systems, 0), []
        for line in text.splitlines():
            found = self.LINE.match(line)
            if not found:
                foreign.append(line)
                continue
            cr3, dest = int(found[1], 16), int(found[2])
            shorthand, mode = found[3], found[4]
            to_one = shorthand == "none" and found[5] == "physical"
            name = next((name for name, (start, end, _) in systems.items() if start <= cr3 < end), None)
            if name:
                seen[name] += 1
                own = to_one and dest in systems[name][2]
                if own:
                    started[name].add((mode, dest))
            else:
                if to_one and mode == "init" and dest in successors:
                    given.add(dest)
                # Only the module, which resets and wakes them, may reach CPUs that were given away.
                own = not given or to_one and (dest not in given or mode in ("init", "sipi"))
            if not own and shorthand != "self":
                foreign.append(line)
        yield given == successors, "the first OS was seen to reset the successors' CPUs"
        for name, (_, _, cpus) in systems.items():
            second = cpus[1]
            yield ({("init", second), ("sipi", second)} <= started[name],
                   f"{name} was seen to start its second CPU")
            yield seen[name] > 100, f"{name} was seen to send IPIs ({seen[name]})"
        yield not foreign, f"no system sent an IPI to another's CPU {foreign[:5] or ''}"


def converse(machine, watcher):
    """Answers the script's questions until its plan; yields the TAP lines."""
    deadline = time.monotonic() + LIMIT
    while True:
        line = machine.wait("control", rb"([^\n]*)\n", deadline - time.monotonic())[1].decode().strip()
        verb, _, rest = line.partition(" ")
        if verb == "expect":
            name, limit, pattern = rest.split(" ", 2)
            try:
                machine.wait(name, pattern.encode(), int(limit))
                answer = "yes"
            except MachineError as error:
                print(error, flush=True)
                answer = "no"
        elif verb == "last":
            name, pattern = rest.split(" ", 1)
            answer = re.findall(pattern.encode(), bytes(machine.ports[name].log))[-1].decode()
        elif verb == "tell":
            name, command = rest.split(" ", 1)
            machine.send(name, command + "\n")
            answer = "told"
        elif verb == "mark":
            watcher.mark(rest)
            answer = "marked"
        else:
            yield line
            if line.startswith("1.."):
                return
            continue
        machine.send("control", answer + "\n")


def run(scenario, first):
    """Runs one scenario; returns (passed, failed, text)."""
    started = time.monotonic()
    lines, passed, failed = [], 0, 0

    def count(good, text):
        nonlocal passed, failed
        passed, failed = passed + good, failed + (not good)
        lines.append(f"{'ok' if good else 'not ok'} - {scenario.name}: {text}")

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        watcher = Watcher(folder) if scenario.watch else None
        extra = scenario.extra + (watcher.arguments if watcher else ())
        files = [f"{script}=/tests/{script.name}" for script in TESTS.glob("*.sh")]
        files += [f"{kernel}=/kernels/{kernel.parent.name}" for kernel in scenario.kernels]
        initramfs = make_initramfs(
            folder, first, f"{scenario.environment}\n. /tests/{scenario.script}.sh\n", files)
        with Machine(first, initramfs, f"mint.run=test {scenario.append}", names=PORTS,
                     cpus=scenario.cpus, extra=extra) as machine:
            planned, ran = None, 0
            try:
                for line in converse(machine, watcher):
                    if line.startswith("1.."):
                        planned = int(line[3:])
                    elif found := re.match(r"(not )?ok \d+ - (.*)", line):
                        ran += 1
                        count(not found[1], found[2])
                    elif line:
                        lines.append(f"  {line}")
                machine.wait_end(60)
            except (MachineError, ValueError) as error:
                lines.append(f"  {error}")
            count(planned == ran and ran > 0, f"the script came to its end ({ran} of {planned} tests)")
            if watcher and planned:
                for good, text in watcher.results(WATCHED):
                    count(good, text)
            splats = [line for line in machine.splats(PORTS[:-1])
                      if not any(re.search(pattern, line) for pattern in scenario.expected)]
            count(not splats, "no system complained in its log")
            lines += [f"  {line}" for line in splats[:20]]
            if failed:
                lines.append(machine.evidence(f"  the last lines of {scenario.name}:"))
    lines.append(f"# {scenario.name}: {time.monotonic() - started:.0f} s")
    return passed, failed, "\n".join(lines)


def main():
    first = Path(os.environ["MINT_FIRST"])
    others = {}
    for path in map(Path, os.environ["MINT_OTHERS"].split()):
        others[".".join(path.parent.name.split(".")[:2])] = path
    chosen = [s for s in scenarios(first, others) if not sys.argv[1:] or s.name in sys.argv[1:]]
    total = [0, 0]
    # One QEMU needs one CPU of the host.
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 4)) as pool:
        for passed, failed, text in pool.map(lambda s: run(s, first), chosen):
            print(text, flush=True)
            total = [total[0] + passed, total[1] + failed]
    Path(CACHE / "selftests.count").write_text(f"{total[0]} {total[1]} 0\n")
    sys.exit(total[1] != 0)


main()
