# SPDX-License-Identifier: GPL-2.0
"""Table 1: how long a kernel takes to kernel_init and to user space, by four ways to start it."""

from bench_rig import LIMIT, QUIET, MachineError, progress, read_marks
from first_os import POOL

# What all three give the kernel that is measured.
CPUS, MEMORY = 2, "512M"
# From the papers, in seconds, to kernel_init.
PAPER = {"full": 21.4, "kexec": 1.97, "successor": 0.309}


def read_console(rig, machine, more=()):
    """The marks that a system of its own machine prints, with what `more` patterns find before."""
    found = [machine.wait(port, pattern, LIMIT)[1].decode() for port, pattern in more]
    machine.wait("first", rb"log ends", LIMIT)
    machine.wait_end(60)
    if splats := machine.splats(("first",)):
        raise MachineError("a system complained:\n" + "\n".join(splats))
    lines = machine.ports["first"].log.decode(errors="replace").replace("\r", "").split("\n")
    return read_marks([line[4:] for line in lines if line.startswith("log [")]), found


def since(rig, marks, begun):
    return {"kernel_init": rig.seconds(marks.kernel_init - begun),
            "user_space": rig.seconds(marks.events["user_space"] - begun)}


def full(rig):
    """Power on: the TSC is 0 then."""
    with rig.machine(rig.small, QUIET, cpus=CPUS, memory=MEMORY) as machine:
        marks, _ = read_console(rig, machine)
    return {"full": since(rig, marks, 0)}


def kexec(rig):
    """From reboot(2), as kexec -e calls it; the kernel was loaded before."""
    initramfs = rig.make_first("kexec.sh", rig.small, {"CMDLINE": f"console=ttyS0 panic=-1 {QUIET}"})
    with rig.machine(initramfs, f"mint.run=test {QUIET}", cpus=CPUS, memory=MEMORY) as machine:
        marks, (begun,) = read_console(rig, machine, [("control", rb"kexec tsc (\d+)\s")])
    return {"kexec": since(rig, marks, int(begun))}


def start(rig, kernel=None):
    """Starts a successor; returns the Report, and the times from the writes to start and to load."""
    report = rig.first_os("starts.sh", rig.small, pool=POOL, kernel=kernel, environment={
        "COUNT": 1, "CPUS": CPUS, "MEMORY": MEMORY, "ORDER": "parallel", "CMDLINE": QUIET})
    marks = read_marks(report.logs["os1"])
    return report, *(since(rig, marks, report.wrote["os1", file][0]) for file in ("start", "load"))


def successor(rig, phases):
    """From the write to start, and from that to load; the phases are for table 3."""
    report, from_start, from_load = start(rig)
    phases.append(report)
    return {"successor": from_start, "successor_from_load": from_load}


def unpacked(rig):
    """The same of what the kernel's image unpacks."""
    _, from_start, from_load = start(rig, rig.kernel.with_name("vmlinux"))
    return {"vmlinux": from_start, "vmlinux_from_load": from_load}


def measure(rig, count):
    """{(way, mark): samples in seconds}, and the reports of the starts."""
    samples, phases = {}, []
    for number in range(1, count + 1):
        for way in (full, kexec, lambda rig: successor(rig, phases), unpacked):
            for name, marks in way(rig).items():
                for mark, seconds in marks.items():
                    samples.setdefault((name, mark), []).append(seconds)
        progress(f"table 1, {number} of {count}: " + ", ".join(
            f"{name} {mark} {values[-1]:.2f} s" for (name, mark), values in samples.items()))
    return samples, phases
