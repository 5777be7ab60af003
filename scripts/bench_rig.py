# SPDX-License-Identifier: GPL-2.0
"""What all measurements share: the systems that are measured, a machine for each sample, the TSC's marks."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from first_os import GUEST, NO_BROADCAST, SOURCE, make, make_initramfs
from qemu_machine import Machine, MachineError, pick_accelerator

BENCH = SOURCE / "tools/bench"
SELFTESTS = SOURCE / "tools/testing/selftests/mint"
# The first OS's console, and the measurement's own port.
PORTS = ("first", "control")
# Seconds until a machine that says nothing is given up.
LIMIT = 600
# How many machines may be discarded in a run: see Rig.discard().
DISCARDS = 3
# What is on the command line of each system that is measured: without it they would
# differ by what their consoles take.
QUIET = "quiet printk.devkmsg=on"


def progress(text):
    print(f"mint: {text}", file=sys.stderr, flush=True)


class Discarded(Exception):
    """The emulator broke a system before anything of Mint ran."""


@dataclass
class Marks:
    """When a system came where, in ticks of the TSC."""

    events: dict
    kernel_init: float


def read_marks(lines):
    """The marks in the log of a system: see tools/bench/tsc.h.

    kernel_init is the line that native_smp_prepare_cpus() prints (arch/x86/kernel/smpboot.c),
    with one CPU as with many: the first thing that kernel_init_freeable() (init/main.c) calls
    which prints something. The timestamps are those of sched_clock(), which is the TSC by the rate
    that the kernel has found (cycles_2_ns(), arch/x86/kernel/tsc.c).
    """
    events, clocks, begun, rate = {}, [], None, None
    for line in lines:
        found = re.match(r"\[ *([0-9.]+)\](?:\[[^]]*\])? (.*)", line)
        if not found:
            continue
        seconds, text = float(found[1]), found[2]
        if text.startswith("smpboot: CPU0: "):
            begun = seconds
        elif detected := re.fullmatch(r"tsc: Detected ([0-9.]+) MHz (processor|TSC)", text):
            rate = float(detected[1]) * 1e6
        elif mark := re.fullmatch(r"mint-bench: (\w+) tsc=(\d+)", text):
            if mark[1] == "clock":
                clocks.append((int(mark[2]), seconds))
            else:
                events[mark[1]] = int(mark[2])
    if begun is None or rate is None or not clocks or "user_space" not in events:
        raise MachineError("a log lacks marks:\n" + "\n".join(lines))
    # By the line that was least late.
    return Marks(events, max(tsc - (seconds - begun) * rate for tsc, seconds in clocks))


@dataclass
class Report:
    """What the script in the first OS has found."""

    wrote: dict = field(default_factory=dict)
    logs: dict = field(default_factory=dict)
    timing: dict = field(default_factory=dict)
    others: list = field(default_factory=list)
    # Of QEMU, of each piece of work.
    cpu_seconds: list = field(default_factory=list)

    def take(self, line):
        if found := re.fullmatch(r"(\w+) wrote /sys/kernel/mint/\w+/(\w+) (\d+) (\d+)", line):
            self.wrote[found[1], found[2]] = int(found[3]), int(found[4])
        elif found := re.fullmatch(r"(os\d+) log (.*)", line):
            self.logs.setdefault(found[1], []).append(found[2])
        elif found := re.fullmatch(r"(os\d+) timing (\w+) (\d+)(?: \d+)?", line):
            self.timing.setdefault(found[1], {})[found[2]] = int(found[3])
        else:
            self.others.append(line)


class Rig:
    """A host, its emulator, and the systems to measure."""

    def __init__(self, folder, kernel):
        self.folder, self.kernel = folder, kernel
        self.cores = len(os.sched_getaffinity(0))
        self.discarded = []
        self.programs = {}
        sources = [*BENCH.glob("*.c"), SELFTESTS / "kexec_self.c", SELFTESTS / "wait_state.c"]
        for source in sources:
            program = folder / source.stem
            subprocess.run(["gcc-14", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", program, source],
                           check=True)
            self.programs[source.stem] = program
        # Under TCG and KVM alike the guest's TSC ticks as the host's, and is 0 when the machine
        # starts (cpu_get_ticks() of QEMU; KVM's offset of a new vCPU).
        self.tsc_hz = float(subprocess.run([self.programs["tsc_rate"]], check=True,
                                           capture_output=True, text=True).stdout)
        self.small = self.make_small("measured.cpio")
        self.accelerator = pick_accelerator(kernel, make(folder / "hello.cpio", GUEST / "first-init", []))

    def seconds(self, ticks):
        return ticks / self.tsc_hz

    def make_small(self, name, files=(), modules=()):
        """An initramfs of busybox that is begun by tsc_init."""
        return make(self.folder / name, self.programs["tsc_init"],
                    [f"{BENCH}/measured-init=/bench/init", f"{self.programs['tsc_job']}=/bin/tsc_job", *files],
                    modules=modules, kernels=(self.kernel,))

    def make_debian(self, root):
        """An initramfs of the Debian `root` that is begun by tsc_init."""
        files = {self.programs["tsc_init"]: "init", self.programs["tsc_mark"]: "bench/tsc_mark",
                 BENCH / "debian-init": "bench/init", BENCH / "daemons-up": "bench/daemons-up",
                 BENCH / "mint-bench.service": "etc/systemd/system/mint-bench.service",
                 BENCH / "mint-bench.conf": "etc/systemd/system/multi-user.target.d/mint-bench.conf"}
        tree = self.folder / "debian"
        for source, name in files.items():
            target = tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode & 0o777)
        # A kernel unpacks archives that follow one another into the same tree
        # (Documentation/driver-api/early-userspace/buffer-format.rst).
        output = self.folder / "debian.cpio"
        output.write_bytes(Path(root).read_bytes())
        with output.open("ab") as end:
            subprocess.run("find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0", shell=True, check=True,
                           cwd=tree, stdout=end)
        return output

    def make_first(self, script, initrd, environment, kernel=None, files=(), modules=()):
        """The first OS's initramfs: it runs tools/bench/`script` with `environment`, and has `initrd`.

        Successors boot `kernel`, by default that of the first OS. `files`, as FILE=PATH, and `modules`
        are what the first OS has besides.
        """
        folder = self.folder / "first"
        folder.mkdir(exist_ok=True)
        assignments = "".join(f"{name}='{value}'\n" for name, value in environment.items())
        files = [*files, f"{initrd}=/boot/initrd", f"{BENCH}/lib.sh=/bench/lib.sh", f"{BENCH}/{script}=/bench/{script}",
                 f"{SELFTESTS}/memory_use.sh=/bench/memory_use.sh"]
        files += [f"{self.programs[name]}=/bin/{name}"
                  for name in ("tsc_write", "tsc_job", "wait_state", "kexec_self")]
        return make_initramfs(folder, kernel or self.kernel, f"LIMIT={LIMIT}\n{assignments}. /bench/{script}\n", files,
                              modules=modules, first=self.kernel)

    def machine(self, initramfs, append, *, cpus, memory, **more):
        return Machine(self.kernel, initramfs, append, cpus=cpus, memory=memory, names=PORTS,
                       accelerator=self.accelerator, **more)

    def threads(self):
        """How TCG runs CPUs that are to be seen to run at once: see Documentation/bench.rst."""
        return "multi" if self.accelerator == "tcg" and self.cores > 1 else "single"

    def first_os(self, script, initrd, environment, *, pool, kernel=None, files=(), modules=(), cpus=4, memory="3G",
                 threads="single", **more):
        """Boots a first OS, has it run a script of tools/bench, and returns the Report."""
        initramfs = self.make_first(script, initrd, environment, kernel, files, modules)
        append = f"mint.run=test {NO_BROADCAST} {pool}"
        if threads == "multi":
            append += " maxcpus=1"
        while True:
            try:
                with self.machine(initramfs, append, cpus=cpus, memory=memory, threads=threads, **more) as machine:
                    return self.converse(machine)
            except Discarded as broken:
                self.discard(str(broken))

    def converse(self, machine):
        report, begun = Report(), 0
        while True:
            try:
                line = machine.wait("control", rb"([^\n]*)\n", LIMIT)[1].decode().strip()
            except MachineError as error:
                if b"ready" not in machine.ports["control"].log:
                    raise Discarded(str(error)) from error
                raise
            if line == "begin":
                begun = cpu_seconds(machine.process.pid)
            elif line == "end":
                report.cpu_seconds.append(cpu_seconds(machine.process.pid) - begun)
            elif line == "done":
                machine.wait_end(60)
                break
            elif line == "ready":
                if splats := machine.splats(PORTS[:1]):
                    raise Discarded("\n".join(splats))
            elif line.startswith("failed: "):
                machine.wait_end(60)
                raise MachineError(machine.evidence(line))
            else:
                report.take(line)
        if splats := machine.splats(PORTS[:1]):
            raise MachineError("the first OS complained:\n" + "\n".join(splats))
        return report

    def discard(self, why):
        """Notes that a machine is not counted; more than a few are an error of the rig."""
        self.discarded.append(why)
        progress(f"a machine failed to boot its first OS, and is not counted:\n{why}")
        if len(self.discarded) > DISCARDS:
            raise MachineError(f"{len(self.discarded)} machines failed to boot their first OS")


def cpu_seconds(pid):
    """The CPU time that a process has had: utime and stime of proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
