#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""selftests.py [--known] [NAME...]: runs the kselftests in QEMU, all or those named.

Each scenario (scenarios.py) is a first OS, booted in a way of its own, in which a
script of tools/testing/selftests/mint runs. Its results come as TAP from the last
serial port; by the same port it asks what successors print. On top of what the
script tests, no system may say anything in its log that a healthy kernel does not
say. With --known, only checks that there are scenarios of these names.

All ends when the standard input does: it is a pipe of whoever has started this.
"""

import math
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from first_os import (BUSYBOX_I386, GUEST, KO, SOURCE, TESTS, compile_c, is_i386, make, make_initramfs,
                      make_successor_initramfs, with_libraries)
from icr_watcher import IcrWatcher
from msr_watcher import MsrWatcher
from port_watcher import PortWatcher
from qemu_machine import PATIENCE, Machine, MachineError, below_ports
from scenarios import DISK_SIZE, PORTS, ROLES, scenarios, ticks

# What the first OS's kernel must be told, whatever the scenario.
FIRST_APPEND = os.environ.get("MINT_FIRST_APPEND", "")
LONG = bool(os.environ.get("MINT_LONG"))
# How many plain boots a script may say nothing: longer than what it waits for itself.
SILENCE = 2 * PATIENCE


@dataclass
class Run:
    """What all scenarios of a run share."""

    # The kernels of the first OS and of successors, and the others by their roles.
    first: Path
    successor: Path
    kernels: dict
    # The tests' programs as FILE=PATH, and the module that makes a successor fail.
    tools: list
    provoke: str
    # How long a plain boot takes beside as many others as there are in this run, in seconds.
    boot: float = 0


def plug_in(devices, folder):
    """QEMU's options for devices below root ports, whose disks are empty files."""
    for bus, (_, other) in enumerate(devices, 1):
        if any("{folder}/disk{bus}" in option for option in other):
            with (folder / f"disk{bus}").open("wb") as disk:
                disk.truncate(DISK_SIZE)
    return below_ports(devices, folder=folder)


def acpi_table(source, folder):
    """QEMU's options for the ACPI table made of `source`, if there is one."""
    if not source:
        return ()
    subprocess.run(["iasl", "-p", folder / "table", SOURCE / "tools/testing/qemu" / source],
                   check=True, stdout=subprocess.DEVNULL)
    return ("-acpitable", f"file={folder}/table.aml")


def converse(machine, watcher):
    """Answers the script's questions until its plan; yields the TAP lines."""
    doing = "its start"
    try:
        while True:
            line = machine.wait("control", rb"([^\n]*)\n", SILENCE * machine.boot)[1].decode().strip()
            verb, _, rest = line.partition(" ")
            if verb == "booted":
                machine.boot = max(machine.boot, machine.took())
                continue
            if verb == "at":
                doing = rest
                continue
            if verb == "expect":
                name, pattern = rest.split(" ", 1)
                machine.wait(name, pattern.encode())
                answer = "yes"
            elif verb == "last":
                name, pattern = rest.split(" ", 1)
                answer = re.findall(pattern.encode(), bytes(machine.ports[name].log))[-1].decode()
            elif verb == "ticks":
                answer = "{} {:.2f}".format(*ticks(machine, rest))
            elif verb == "tell":
                name, command = rest.split(" ", 1)
                machine.send(name, command + "\n")
                answer = "told"
            elif verb == "monitor":
                answer = " ".join(machine.monitor(rest).split()) or "done"
            elif verb == "mark":
                watcher.mark(rest)
                answer = "marked"
            else:
                yield line
                if line.startswith("1.."):
                    return
                continue
            machine.send("control", answer + "\n")
    except MachineError as error:
        raise MachineError(f"{doing}: {error}") from None


def build_tools(folder, successor):
    """The tests' programs, and the module that makes a successor fail; returns (FILE=PATH..., FILE=PATH)."""
    files = []
    for source in TESTS.glob("*.c"):
        program = folder / source.stem
        compile_c(program, source, "-static")
        files.append(f"{program}=/bin/{source.stem}")
    built = folder / "provoke"
    built.mkdir()
    subprocess.run(["make", "-s", "-C", f"/usr/src/linux-headers-{successor.parent.name}",
                    f"M={SOURCE}/tools/testing/provoke", f"MO={built}", "modules"], check=True)
    module = folder / "provoke.ko"
    subprocess.run(["strip", "-g", "-o", module, built / "provoke.ko"], check=True)
    return files, f"{module}=/provoke.ko"


def build_initramfs(folder, scenario, run, first, successor, ko):
    """The first OS's initramfs, with all that the scenario's script needs."""
    kernels = [run.kernels[role] for role in scenario.kernels]
    if scenario.vmlinux:
        kernels = [kernel.with_name("vmlinux") for kernel in kernels]
    files = [f"{script}=/tests/{script.name}" for script in TESTS.glob("*.sh")]
    files += [f"{kernel}=/kernels/{kernel.parent.name}" for kernel in kernels]
    files += [*run.tools, run.provoke]
    for program in scenario.programs:
        files += with_libraries(program)
    for name, busybox, others in (("i386", BUSYBOX_I386, [kernel for kernel in kernels if is_i386(kernel)]),
                                  ("others", None, [kernel for kernel in kernels if not is_i386(kernel)])):
        if others and (busybox or scenario.other_modules):
            initrd = make_successor_initramfs(folder / f"{name}.cpio", busybox=busybox,
                                              modules=scenario.other_modules, kernels=others)
            files.append(f"{initrd}=/boot/initrd.{name}")
    if scenario.disk_init:
        initrd = make(folder / "disk.cpio", "disk-init", [f"{GUEST}/wait_disk=/bin/wait_disk"],
                      modules=scenario.modules, kernels=(successor,))
        files.append(f"{initrd}=/boot/initrd.disk")
    if scenario.kexec:
        programs = sum(map(with_libraries, scenario.programs), [])
        inner = make_successor_initramfs(folder / "inner.cpio", programs,
                                         modules=scenario.modules, kernels=(successor,))
        outer = make_successor_initramfs(folder / "outer.cpio", [
            f"{successor}=/boot/vmlinuz", f"{inner}=/boot/initrd",
            *(tool for tool in run.tools if tool.endswith("/kexec_self"))],
            modules=scenario.modules, kernels=(successor,))
        files.append(f"{inner}=/boot/initrd.next")
        files.append(f"{outer}=/boot/initrd.kexec")
    successor_files = [run.provoke, f"{GUEST}/crash=/do.d/crash",
                       *(tool for tool in run.tools if tool.endswith(("/read_port", "/edu_read", "/scribble")))]
    script = "\n".join((f"BOOT={math.ceil(run.boot)}", f"LONG={'yes' if LONG else ''}",
                        f"SUCCESSOR={successor.parent.name}", scenario.environment,
                        f". /tests/{scenario.script}.sh", ""))
    return make_initramfs(folder, successor, script, files, successor_files, scenario.modules, first,
                          scenario.modules, ko)


def run_scenario(scenario, run):
    """Runs one scenario; returns (passed, failed, text)."""
    started = time.monotonic()
    lines, passed, failed = [], 0, 0
    first, successor, ko = run.first, run.successor, KO
    if scenario.generic:
        first = successor = run.kernels["generic"]
        ko = Path(os.environ["MINT_GENERIC_KO"])

    def count(good, text):
        nonlocal passed, failed
        passed, failed = passed + good, failed + (not good)
        lines.append(f"{'ok' if good else 'not ok'} - {scenario.name}: {text}")

    def done():
        lines.append(f"# {scenario.name}: {time.monotonic() - started:.0f} s")
        return passed, failed, "\n".join(lines)

    if scenario.run:
        try:
            for good, text in scenario.run(run.boot):
                count(good, text)
        except (MachineError, ValueError) as error:
            what, _, evidence = str(error).partition("\n")
            count(False, what)
            lines.append(evidence)
        return done()

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        watcher = IcrWatcher(folder) if scenario.watch else None
        port_watcher = PortWatcher(folder) if scenario.ports else None
        msr_watcher = MsrWatcher(folder, scenario.append) if scenario.msrs is not None else None
        extra = (*scenario.extra, *plug_in(scenario.devices, folder), *acpi_table(scenario.acpi, folder),
                 *sum((w.arguments for w in (watcher, port_watcher, msr_watcher) if w), ()))
        initramfs = build_initramfs(folder, scenario, run, first, successor, ko)
        with Machine(first, initramfs, f"mint.run=test {scenario.append} {FIRST_APPEND}", names=PORTS,
                     cpus=scenario.cpus, memory=scenario.memory, boot=run.boot, extra=extra) as machine:
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
                if scenario.after:
                    for good, text in scenario.after(machine):
                        count(good, text)
                else:
                    machine.wait_end()
            except (MachineError, ValueError) as error:
                what, _, evidence = str(error).partition("\n")
                count(False, what)
                lines.append(evidence)
            count(planned == ran and ran > 0, f"the script came to its end ({ran} of {planned} tests)")
            if watcher and planned:
                for good, text in watcher.results(scenario.watch):
                    count(good, text)
            if port_watcher and planned:
                for good, text in port_watcher.results(scenario.ports, scenario.strays):
                    count(good, text)
            if msr_watcher and planned:
                for good, text in msr_watcher.results(scenario.msrs):
                    count(good, text)
            splats = [line for line in machine.splats(PORTS[:-1])
                      if not any(re.search(pattern, line) for pattern in scenario.expected)]
            count(not splats, "no system complained in its log")
            lines += [f"  {line}" for line in splats[:20]]
            if splats:
                # A report goes on for long after the line that tells it.
                name, _, line = splats[0][1:].partition("] ")
                log = machine.ports[name].log.decode(errors="replace").replace("\r", "")
                lines += ["  from the first on:", *log[max(0, log.find(line)):].split("\n")[:150]]
            if failed:
                lines.append(machine.evidence(f"  the last lines of {scenario.name}:"))
    return done()


def plain_boot(first, initramfs):
    """How long the first OS's kernel takes to its user space, with nothing of Mint in it."""
    with Machine(first, initramfs, f"mint.run=hello {FIRST_APPEND}") as machine:
        machine.wait("first", rb"mint-hello")
        return machine.took()


def end_with_caller():
    """Ends this process, and by that its machines, once the standard input has ended."""
    def wait():
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def choose(names):
    """The scenarios of these names, or all."""
    there = scenarios(LONG)
    for name in names:
        if not any(name in (scenario.name, scenario.script) for scenario in there):
            sys.exit(f"mint: error: no kselftest '{name}'{'' if LONG else ' without --long'}: there are "
                     + " ".join(sorted({scenario.name for scenario in there})))
    return [scenario for scenario in there if not names or {scenario.name, scenario.script} & set(names)]


def run_all(chosen):
    """Runs the scenarios and prints what comes of them; returns (passed, failed)."""
    first = Path(os.environ["MINT_FIRST"])
    successor = Path(os.environ.get("MINT_SUCCESSOR_KERNEL") or first)
    kernels = {role: Path(os.environ[f"MINT_KERNEL_{role.upper().replace('-', '_')}"]) for role in ROLES}
    # One QEMU needs one CPU of the host, of those this may use.
    workers = min(len(os.sched_getaffinity(0)), 4, len(chosen))
    total = [0, 0]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        folder = Path(folder)
        run = Run(first, successor, kernels, *build_tools(folder, successor))
        initramfs = make_initramfs(folder, successor)
        try:
            run.boot = max(pool.map(lambda _: plain_boot(first, initramfs), range(workers)))
        except MachineError as error:
            print(f"not ok - a plain boot of the first OS: {error}", flush=True)
            return 0, 1
        print(f"# a plain boot: {run.boot:.1f} s, {workers} at a time", flush=True)
        for done in as_completed([pool.submit(run_scenario, scenario, run) for scenario in chosen]):
            passed, failed, text = done.result()
            print(text, flush=True)
            total = [total[0] + passed, total[1] + failed]
    return total


def main():
    if sys.argv[1:2] == ["--known"]:
        choose(sys.argv[2:])
        return
    chosen = choose(sys.argv[1:])
    end_with_caller()
    started = time.monotonic()
    passed, failed = run_all(chosen)
    print(f"# all kselftests: {time.monotonic() - started:.0f} s", flush=True)
    Path(os.environ["MINT_COUNT"]).write_text(f"{passed} {failed} 0\n")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
