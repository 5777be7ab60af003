# SPDX-License-Identifier: GPL-2.0
"""Table 5: what an NVMe disk does in the first OS and in a successor, alone and beside a busy first OS."""

import random
import re

from bench_rig import BENCH, QUIET, MachineError, progress
from first_os import POOL
from qemu_machine import below_ports

# How many pieces each job of disk_io moves.
JOBS = {"read": 4096, "write": 4096, "random": 32768}
CASES = ("first", "successor", "successor_beside_busy")
MIB = 1 << 20
DISK_MIB = 256
# One for each system.
CPUS = 2
# For each CPU one, for each disk one that moves its data, and one for QEMU's own thread, which is
# all disks' controller.
CORES = 2 * CPUS + 1
# Where the kernel has not built it in.
MODULES = ("nvme",)


def reason_to_skip(rig):
    """Why the host can't tell a disk that is disturbed from one that waits for a core; or None."""
    if rig.cores < CORES:
        return (f"{CPUS} CPUs at work, {CPUS} disks and QEMU itself need {CORES} cores; the host has {rig.cores},"
                " for which they would wait")
    return None


def plug_in(rig, count=2):
    """QEMU's options for the disks, with the same data each time.

    The folder is a tmpfs, which in-root has mounted: no disk of the host's is in it.
    """
    data = random.Random(5).randbytes(MIB)
    disks = []
    for number in range(1, count + 1):
        path = rig.folder / f"disk{number}"
        with path.open("wb") as disk:
            for _ in range(DISK_MIB):
                disk.write(data)
        disks.append((f"nvme,serial=mint{number},drive=back{{bus}}",
                      ("-drive", f"if=none,id=back{{bus}},format=raw,file={path}")))
    return below_ports(disks)


def one(rig, initrd, files, job, case):
    """MiB in a second; of random reads, how many."""
    report = rig.first_os("disks.sh", initrd, files=files, modules=MODULES, pool=POOL, cpus=CPUS,
                          threads=rig.threads(), extra=plug_in(rig), environment={
                              "CASE": case, "JOB": job, "COUNT": JOBS[job],
                              "CMDLINE": f"{QUIET} mint.disk={job} mint.count={JOBS[job]}"})
    lines = report.others + report.logs.get("os1", [])
    for line in lines:
        if found := re.search(r"\bdisk (\d+) (\d+) (\d+) (\d+) \d+$", line):
            piece, count, begun, ended = map(int, found.groups())
            return count * (1 if job == "random" else piece / MIB) / rig.seconds(ended - begun)
    raise MachineError(f"no result of {job}, {case}:\n" + "\n".join(lines))


def measure(rig, count, cases):
    """{(case, job): samples}."""
    files = [f"{rig.programs['disk_io']}=/bin/disk_io", f"{BENCH}/measure-disk=/bin/measure-disk"]
    initrd = rig.make_small("disk.cpio", files, MODULES)
    samples = {(case, job): [] for case in cases for job in JOBS}
    for number in range(1, count + 1):
        # Those that are compared one after the other.
        for job in JOBS:
            for case in cases:
                samples[case, job].append(one(rig, initrd, files, job, case))
        progress(f"table 5, {number} of {count}: " + ", ".join(
            f"{case} {job} {values[-1]:.0f}" for (case, job), values in samples.items()))
    return samples
