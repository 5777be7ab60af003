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

from first_os import (BUSYBOX_I386, GUEST, KO, LOW_POOL, NO_BROADCAST, POOL, SOURCE, make_initramfs,
                      make_successor_initramfs, with_libraries)
from port_watcher import PortWatcher
from qemu_machine import CACHE, Machine, MachineError, below_ports

TESTS = SOURCE / "tools/testing/selftests/mint"
SUCCESSORS = ("os1", "os2")
# The first OS's console, two successors, and the tests' own port.
PORTS = ("first", *SUCCESSORS, "control")
# How much slower than the stock kernel the first OS's is: the limits of all waits are as much longer.
SLOW = int(os.environ.get("MINT_SLOW") or 1)
# What the first OS's kernel must be told, whatever the scenario.
FIRST_APPEND = os.environ.get("MINT_FIRST_APPEND", "")
LIMIT = 400
# The longest time between two ticks of a system that misses none: an emulator on a host that is busy
# with others stands still for seconds; a kernel that did complains of itself after 21 s.
GAP = 10 * SLOW
# A tick of a system, by its own clock; they come one a second.
TICK = re.compile(rb"mint-tick: up ([0-9.]+) s")


@dataclass
class Scenario:
    """A first OS and the script that runs in it."""

    script: str
    name: str = ""
    append: str = f"{NO_BROADCAST} {POOL}"
    environment: str = ""
    cpus: int = 4
    memory: str = "3G"
    limit: int = LIMIT
    kernels: tuple = ()
    # Programs of the root's, and whether there is an initrd whose system can replace itself.
    programs: tuple = ()
    kexec: bool = False
    extra: tuple = ()
    # What a system that is made to fail says; its script waits for it.
    expected: tuple = ()
    # The successors whose IPIs are watched, as WATCHED.
    watch: dict = None
    # The successors whose accesses to ports are watched, as PORTS_OF_ONE, and those that are made on purpose.
    ports: dict = None
    strays: tuple = ()
    # Whether there is an initrd for 32-bit kernels.
    i386: bool = False
    # What is below a root port each, from bus 1 on: a device of QEMU, and what it has to have.
    devices: tuple = ()
    # The kernel of the first OS and of successors where it must be one that has drivers for CARDS.
    generic: Path = None
    # Modules of their kernels that the first OS and successors load, and successors of other kernels.
    modules: tuple = ()
    other_modules: tuple = ()
    # What is seen of the machine once the script is over: yields (passed, name of the test).
    after: callable = None

    def __post_init__(self):
        self.name = self.name or self.script


def is_i386(kernel):
    """The flavour of Debian's i386 kernel, if it is one."""
    found = re.search("-(686(-pae)?)$", kernel.parent.name)
    return found and found[1]


def panic(system):
    """What a system says that is made to panic by sysrq."""
    return rf"\[{system}\].*Kernel panic - not syncing: sysrq triggered crash"


# What the deaths of deaths.sh have its successor say.
DEATHS = tuple(rf"\[os1\].*{said}" for said in (
    "Modules linked in: provoke",
    "Kernel panic - not syncing: sysrq triggered crash",
    # The last line of a panic with panic=0, in the midst of which the CPUs may be parked.
    r"---\[ end Kernel panic",
    "BUG: kernel NULL pointer dereference, address: 0000000000001000",
    "BUG: unable to handle page fault for address: 0000000000001000",
    "Oops: (Oops: )?0000 ",
    r"Kernel panic - not syncing: Fatal exception( \]---)?$",
    "BUG: TASK stack guard page was hit",
    "Oops: stack guard page: 0000 ",
    "Kernel panic - not syncing: Fatal exception in interrupt",
    "Kernel panic - not syncing: Out of memory: .*panic_on_oom is enabled",
    r"Kernel panic - not syncing: VFS: Unable to mount root fs on ",
))


# The successors of watch.sh and together.sh: where the RAM of each starts and ends, and its CPUs.
WATCHED = {
    "os1": (0x40000000, 0x50000000, (1, 2)),
    "os2": (0x50000000, 0x60000000, (3, 4)),
}
TOGETHER = {
    "os1": (0x40000000, 0x50000000, (1, 2)),
    "os2": (0x20000000, 0x30000000, (3, 4)),
}

# The first port of each successor's UART, and its CPUs.
PORTS_OF_ONE = {"os1": (0x2F8, (2, 3))}
PORTS_OF_TWO = {"os1": (0x2F8, (1, 2)), "os2": (None, (3,))}
PORTS_TOGETHER = {"os1": (0x2F8, (1, 2)), "os2": (0x3E8, (3, 4))}


# A disk of 64 MiB, or what a network card is connected to: options of QEMU, with the number of the bus.
DISK = ("-drive", "if=none,id=back{bus},format=raw,file={folder}/disk{bus}")
NET = ("-netdev", "hubport,id=back{bus},hubid=0")
# One of each: (options of the device, those of its other side); then those that stay the first OS's,
# and what can't be given.
DEVICES = (
    ("nvme,serial=mint,drive=back{bus}", DISK),
    ("virtio-blk-pci,drive=back{bus}", DISK),
    ("virtio-net-pci,netdev=back{bus}", NET),
    ("virtio-blk-pci,drive=back{bus}", DISK),
    ("virtio-net-pci,netdev=back{bus},mac=52:54:00:00:00:05", NET),
    ("virtio-rng-pci,multifunction=on,addr=0.0", ("-device", "virtio-rng-pci,addr=0.1,bus=port{bus}")),
    ("virtio-rng-pci,vectors=0", ()),
)
MODULES = ("nvme", "virtio_blk", "virtio_net")
# What Debian's cloud kernels have no drivers for; the last is the first OS's.
CARDS = (
    ("nvme,serial=mint,drive=back{bus}", DISK),
    ("e1000e,netdev=back{bus}", NET),
    ("qemu-xhci,id=usb", (*DISK, "-device", "usb-storage,bus=usb.0,drive=back{bus}")),
    ("virtio-net-pci,netdev=back{bus},mac=52:54:00:00:00:05", NET),
)
CARD_MODULES = ("nvme", "e1000e", "xhci_pci", "usb-storage", "sd_mod")
# A disk with more memory than there is room for below 4 GiB, and a card that can have virtual functions.
LARGE = ("nvme,serial=large,drive=back{bus},cmb_size_mb=2048", DISK)
VIRTUAL = ("igb,netdev=back{bus}", NET)
# A switch with a disk and a card, on buses 1 to 4.
SWITCH = ("x3130-upstream,id=up{bus}", (
    *DISK,
    "-device", "xio3130-downstream,id=down1,bus=up{bus},chassis=21,slot=21",
    "-device", "nvme,serial=mint,drive=back{bus},bus=down1",
    "-device", "xio3130-downstream,id=down2,bus=up{bus},chassis=22,slot=22",
    "-netdev", "hubport,id=card{bus},hubid=0",
    "-device", "virtio-net-pci,netdev=card{bus},bus=down2",
))
DISK_SIZE = 64 << 20
# For forward.sh: two cards of a 32-bit OS, one of which hears that of the first OS, and the other a host
# that answers whatever is asked of it.
FORWARD = (
    ("e1000e,netdev=back{bus}", NET),
    ("e1000e,netdev=back{bus}", ("-netdev", "user,id=back{bus},restrict=on,net=10.9.0.0/24,"
                                 f"guestfwd=tcp:10.9.0.100:80-cmd:sh {SOURCE}/tools/testing/qemu/http_answer")),
    ("virtio-net-pci,netdev=back{bus}", NET),
)
# A hub keeps what nobody takes, and the sender waits: a port with nothing behind it takes all.
LISTENER = ("-netdev", "hubport,id=listener,hubid=0")


# What Debian's i386 kernels say of QEMU's CPU, whatever starts them: as an AMD CPU of family 6 it is
# one that was not made for SMP (amd_k7_smp_check(), arch/x86/kernel/cpu/amd.c).
NOT_FOR_SMP = (r"\[os[12]\].*WARNING: .*amd\.c:\d+ init_amd", r"\[os[12]\].*Modules linked in:\r?$")


def scenarios(successor, others):
    cycles = int(os.environ.get("MINT_CYCLES") or 100)
    device_cycles = int(os.environ.get("MINT_DEVICE_CYCLES") or 20)
    return [
        Scenario("watch", cpus=5, watch=WATCHED, kernels=(others["6.1"],)),
        Scenario("cycles", environment=f"CYCLES={cycles}", limit=LIMIT + 4 * cycles),
        Scenario("ports", ports=PORTS_OF_TWO, strays=(("os1", "read", 0x3FF),), expected=(panic("os1"),)),
        Scenario("life", ports=PORTS_OF_ONE, expected=(panic("os1"),)),
        Scenario("deaths", ports=PORTS_OF_ONE, expected=DEATHS),
        Scenario("postmortem", programs=("/usr/bin/makedumpfile",), expected=(panic("os1"),)),
        Scenario("traces", expected=(panic("os1"), r"\[os1\].*---\[ end Kernel panic")),
        *(Scenario("kernels", name=f"kernels/{series}", kernels=(kernel,), ports=PORTS_OF_ONE,
                   expected=(panic("os1"), *(NOT_FOR_SMP if is_i386(kernel) else ())),
                   append=f"{NO_BROADCAST} {POOL} {LOW_POOL}", i386=is_i386(kernel))
          for series, kernel in others.items()),
        Scenario("together", cpus=5, watch=TOGETHER, ports=PORTS_TOGETHER,
                 kernels=(others["6.1-686-pae"],), i386=True, expected=NOT_FOR_SMP,
                 append=f"{NO_BROADCAST} {POOL} {LOW_POOL}"),
        Scenario("parallel", cpus=8, memory="4G",
                 append=f"{NO_BROADCAST} memmap=960M$1G memmap=1G$4G memmap=448K$64K"),
        *(Scenario("vmlinux", name=f"vmlinux/{series}", kernels=(kernel.with_name("vmlinux"),),
                   programs=("/usr/bin/makedumpfile",), expected=(panic("os1"),))
          for series, kernel in others.items() if not is_i386(kernel)),
        Scenario("start", environment=f"SUCCESSOR={successor.parent.name}", expected=(panic("os2"),)),
        Scenario("files"),
        Scenario("siblings", expected=(panic("os2"),)),
        Scenario("recovery", expected=(panic("os1"),)),
        Scenario("kexec", kexec=True, devices=DEVICES[:1], modules=MODULES[:1]),
        Scenario("events"),
        Scenario("panic_first", append=f"{NO_BROADCAST} {POOL} panic=0", expected=(panic("first"),),
                 after=successors_outlive),
        Scenario("ends_first", name="kexec_first", after=successor_is_stopped_by_kexec,
                 devices=DEVICES[:1], modules=MODULES[:1],
                 environment="END='kexec_self /boot/vmlinuz /boot/initrd /proc/cmdline'"),
        Scenario("ends_first", name="reboot_first", after=successor_is_stopped_by_reboot,
                 devices=DEVICES[:1], modules=MODULES[:1],
                 environment="END='reboot -f'"),
        Scenario("x2apic", kernels=(others["6.1-686-pae"],), i386=True,
                 extra=("-device", "intel-iommu,intremap=on,eim=on"),
                 append=f"{NO_BROADCAST} {POOL} intel_iommu=on"),
        Scenario("devices", devices=DEVICES, modules=MODULES, limit=1500, expected=(panic("os1"),),
                 environment=f"CYCLES={device_cycles}", ports=PORTS_OF_ONE),
        Scenario("cards", devices=(*CARDS, LARGE), modules=("virtio_net",), other_modules=CARD_MODULES, i386=True,
                 kernels=(others["7.3"], others["6.1-686-pae"]), limit=1500, expected=NOT_FOR_SMP,
                 ports=PORTS_OF_ONE, append=f"{NO_BROADCAST} {POOL} {LOW_POOL}"),
        Scenario("cards_back", generic=others["7.3"], devices=(*CARDS[1:], VIRTUAL),
                 modules=(*CARD_MODULES[1:], "igb", "virtio_net"), limit=1500, expected=(panic("os1"),),
                 environment=f"CYCLES={device_cycles}", ports=PORTS_OF_ONE),
        Scenario("switch", devices=(SWITCH, CARDS[-1]), modules=("nvme", "virtio_net"), ports=PORTS_OF_ONE),
        Scenario("forward", devices=FORWARD, extra=LISTENER, modules=("virtio_net",), other_modules=("e1000e",),
                 i386=True, kernels=(others["6.1-686-pae"],), expected=NOT_FOR_SMP,
                 ports=PORTS_OF_ONE, append=f"{NO_BROADCAST} {POOL} {LOW_POOL}"),
        Scenario("iommu", devices=DEVICES[:1], modules=MODULES, environment="REMAPS=",
                 extra=("-device", "intel-iommu,intremap=off"),
                 append=f"{NO_BROADCAST} {POOL} intel_iommu=on"),
        Scenario("iommu", name="iommu/intremap", devices=DEVICES[:1], modules=MODULES, environment="REMAPS=yes",
                 extra=("-device", "intel-iommu,intremap=on"),
                 append=f"{NO_BROADCAST} {POOL} intel_iommu=on"),
        Scenario("lockdown"),
        Scenario("fuzz", devices=DEVICES[:2]),
        Scenario("refusals", name="refusals/broadcast", append=POOL,
                 environment="REFUSAL=boot.it.with.no_ipi_broadcast=1"),
        Scenario("refusals", name="refusals/pool", append=NO_BROADCAST,
                 environment="REFUSAL=boot.with.memmap=SIZE"),
    ]


def ticks(machine, name):
    """How often `name` has ticked since it last came up, and the longest time between two, by its clock."""
    log = bytes(machine.ports[name].log)
    clocks = [float(clock) for clock in TICK.findall(log, max(0, log.rfind(b"mint-successor-up")))]
    gaps = [after - before for before, after in zip(clocks, clocks[1:])]
    return len(clocks), max(gaps, default=0)


def successors_outlive(machine):
    """The first OS panics and stays so."""
    machine.wait("first", rb"end Kernel panic", 60 * SLOW)
    for name in SUCCESSORS:
        machine.ports[name].seen = len(machine.ports[name].log)
    for name in SUCCESSORS:
        before, _ = ticks(machine, name)
        while ticks(machine, name)[0] < before + 15:
            machine.wait(name, TICK.pattern, 60 * SLOW)
        _, gap = ticks(machine, name)
        yield gap < GAP, f"{name} ticks on after the first OS's panic, {gap:.1f} s at most between two"


def successor_is_stopped_by_kexec(machine):
    """The first OS starts another kernel."""
    machine.wait("first", rb"mint: os1: [^\n]* is stopped", 60 * SLOW)
    yield True, "the first OS's log tells that os1 is stopped"
    machine.wait("first", rb"Linux version ", 60 * SLOW)
    silent = len(machine.ports["os1"].log)
    machine.wait("first", rb"mint-successor-up: [^\n]*, 4 CPUs", 120 * SLOW)
    yield True, "the next kernel comes to its user space, on all CPUs"
    while ticks(machine, "first")[0] < 5:
        machine.wait("first", TICK.pattern, 60 * SLOW)
    yield len(machine.ports["os1"].log) == silent, "the successor says nothing any more"
    machine.send("first", "check_io write /dev/nvme0n1 2 && check_io read /dev/nvme0n1 2\n")
    machine.wait("first", rb"64 MiB of 2 came whole", 200 * SLOW)
    yield True, "the next kernel has the successor's disk for itself"
    machine.send("first", "poweroff -f\n")
    machine.wait_end(60 * SLOW)


def successor_is_stopped_by_reboot(machine):
    """The first OS resets the machine."""
    machine.wait("first", rb"mint: os1: [^\n]* is stopped", 60 * SLOW)
    yield True, "the first OS's log tells that os1 is stopped"
    machine.wait_end(60 * SLOW)
    yield machine.process.returncode == 0, "the machine is reset"


def plug_in(devices, folder):
    """QEMU's options for devices below root ports, whose disks are empty files."""
    for bus, (_, other) in enumerate(devices, 1):
        if other[:2] == DISK[:2]:
            with (folder / f"disk{bus}").open("wb") as disk:
                disk.truncate(DISK_SIZE)
    return below_ports(devices, folder=folder)


def compile_c(output, source, *options):
    subprocess.run(["gcc-14", "-O2", "-Wall", "-Wextra", "-Werror", *options, "-o", output, source],
                   check=True)


class Watcher:
    """What the systems' CPUs send by their ICRs, seen by a QEMU plugin."""

    LINE = re.compile(r"cr3=(0x[0-9a-f]+) dest=(\d+) shorthand=(\w+) mode=(\w+) level=\w+ destmode=(\w+) vector=")

    def __init__(self, folder):
        plugin = folder / "icr_watch.so"
        self.log = folder / "icr.log"
        self.marks = {}
        compile_c(plugin, SOURCE / "tools/testing/qemu/icr_watch.c", "-shared", "-fPIC")
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


def converse(machine, watcher, limit):
    """Answers the script's questions until its plan; yields the TAP lines."""
    deadline = time.monotonic() + limit * SLOW
    while True:
        line = machine.wait("control", rb"([^\n]*)\n", deadline - time.monotonic())[1].decode().strip()
        verb, _, rest = line.partition(" ")
        if verb == "expect":
            name, limit, pattern = rest.split(" ", 2)
            try:
                machine.wait(name, pattern.encode(), int(limit) * SLOW)
                answer = "yes"
            except MachineError as error:
                print(error, flush=True)
                answer = "no"
        elif verb == "last":
            name, pattern = rest.split(" ", 1)
            answer = re.findall(pattern.encode(), bytes(machine.ports[name].log))[-1].decode()
        elif verb == "ticks":
            answer = "{} {:.2f}".format(*ticks(machine, rest))
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


def build_tools(folder, successor):
    """The tests' programs, and the module that makes a successor fail; returns (FILE=PATH..., FILE=PATH)."""
    files = []
    for source in TESTS.glob("*.c"):
        program = folder / source.stem
        compile_c(program, source, "-static")
        files.append(f"{program}=/bin/{source.stem}")
    built = CACHE / "provoke" / successor.parent.name
    built.mkdir(parents=True, exist_ok=True)
    subprocess.run(["make", "-s", "-C", f"/usr/src/linux-headers-{successor.parent.name}",
                    f"M={SOURCE}/tools/testing/provoke", f"MO={built}", "modules"], check=True)
    module = folder / "provoke.ko"
    subprocess.run(["strip", "-g", "-o", module, built / "provoke.ko"], check=True)
    return files, f"{module}=/provoke.ko"


def run(scenario, first, successor, tools, provoke):
    """Runs one scenario; returns (passed, failed, text)."""
    started = time.monotonic()
    lines, passed, failed = [], 0, 0
    ko = KO
    if scenario.generic:
        first = successor = scenario.generic
        ko = Path(os.environ["MINT_GENERIC_KO"])

    def count(good, text):
        nonlocal passed, failed
        passed, failed = passed + good, failed + (not good)
        lines.append(f"{'ok' if good else 'not ok'} - {scenario.name}: {text}")

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        watcher = Watcher(folder) if scenario.watch else None
        port_watcher = PortWatcher(folder) if scenario.ports else None
        extra = (*scenario.extra, *plug_in(scenario.devices, folder),
                 *sum((w.arguments for w in (watcher, port_watcher) if w), ()))
        files = [f"{script}=/tests/{script.name}" for script in TESTS.glob("*.sh")]
        files += [f"{kernel}=/kernels/{kernel.parent.name}" for kernel in scenario.kernels]
        files += tools
        for program in scenario.programs:
            files += with_libraries(program)
        successor_files = [provoke, f"{GUEST}/crash=/do.d/crash",
                           *(tool for tool in tools if tool.endswith("/read_port"))]
        if scenario.i386:
            initrd = make_successor_initramfs(
                folder / "i386.cpio", busybox=BUSYBOX_I386, modules=scenario.other_modules,
                kernels=[kernel for kernel in scenario.kernels if is_i386(kernel)])
            files.append(f"{initrd}=/boot/initrd.i386")
        if scenario.other_modules:
            initrd = make_successor_initramfs(
                folder / "others.cpio", modules=scenario.other_modules,
                kernels=[kernel for kernel in scenario.kernels if not is_i386(kernel)])
            files.append(f"{initrd}=/boot/initrd.others")
        if scenario.kexec:
            inner = make_successor_initramfs(folder / "inner.cpio", modules=scenario.modules, kernels=(successor,))
            outer = make_successor_initramfs(folder / "outer.cpio", [
                f"{successor}=/boot/vmlinuz", f"{inner}=/boot/initrd",
                *(tool for tool in tools if tool.endswith("/kexec_self"))],
                modules=scenario.modules, kernels=(successor,))
            files.append(f"{outer}=/boot/initrd.kexec")
        initramfs = make_initramfs(
            folder, successor, f"SLOW={SLOW}\n{scenario.environment}\n. /tests/{scenario.script}.sh\n",
            files, successor_files, scenario.modules, first, scenario.modules, ko)
        with Machine(first, initramfs, f"mint.run=test {scenario.append} {FIRST_APPEND}", names=PORTS,
                     cpus=scenario.cpus, memory=scenario.memory, extra=extra) as machine:
            planned, ran = None, 0
            try:
                for line in converse(machine, watcher, scenario.limit):
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
                    machine.wait_end(60 * SLOW)
            except (MachineError, ValueError) as error:
                lines.append(f"  {error}")
                count(False, "what was waited for came")
            count(planned == ran and ran > 0, f"the script came to its end ({ran} of {planned} tests)")
            if watcher and planned:
                for good, text in watcher.results(scenario.watch):
                    count(good, text)
            if port_watcher and planned:
                for good, text in port_watcher.results(scenario.ports, scenario.strays):
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
    lines.append(f"# {scenario.name}: {time.monotonic() - started:.0f} s")
    return passed, failed, "\n".join(lines)


def main():
    first = Path(os.environ["MINT_FIRST"])
    successor = Path(os.environ.get("MINT_SUCCESSOR_KERNEL") or first)
    others = {}
    for path in map(Path, os.environ["MINT_OTHERS"].split()):
        series = ".".join(path.parent.name.split(".")[:2])
        others[f"{series}-{is_i386(path)}" if is_i386(path) else series] = path
    names = sys.argv[1:]
    chosen = [s for s in scenarios(successor, others) if not names or {s.name, s.script} & set(names)]
    total = [0, 0]
    # One QEMU needs one CPU of the host.
    with (tempfile.TemporaryDirectory() as folder,
          ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 4)) as pool):
        tools, provoke = build_tools(Path(folder), successor)
        for passed, failed, text in pool.map(lambda s: run(s, first, successor, tools, provoke), chosen):
            print(text, flush=True)
            total = [total[0] + passed, total[1] + failed]
    Path(os.environ["MINT_COUNT"]).write_text(f"{total[0]} {total[1]} 0\n")
    sys.exit(total[1] != 0)


if __name__ == "__main__":
    main()
