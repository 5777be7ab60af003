# SPDX-License-Identifier: GPL-2.0
"""Table 6: one disk in five ways: directly, by loop devices, as a disk made of memory, and given away."""

import re
from dataclasses import dataclass

from bench_disk import MIB, plug_in
from bench_rig import BENCH, QUIET, MachineError, progress
from first_os import POOL, SHARED, with_libraries

CASES = ("direct", "loop", "cached_loop", "memory", "own")
# Each system has one.
CPUS = 2
# For each CPU one, one that moves the disk's data, and one for QEMU's own thread, which is the disk's
# controller.
CORES = CPUS + 2
# How many pieces each job of disk_io moves.
COUNTS = {"read": 2048, "write": 2048, "random": 32768, "random_write": 32768, "random1": 8192,
          "random_write1": 8192}
# Where the kernel has not built it in.
MODULES = ("nvme",)
IDLE_SECONDS = 60


@dataclass
class Job:
    """What is told of a job of disk_io."""

    text: str
    unit: str
    has_cpu: bool = True


JOBS = {
    "read": Job("read, MiB/s", "MiB/s"),
    "write": Job("write, MiB/s", "MiB/s"),
    "random": Job("4 KiB reads, 32 at a time, IOPS", "IOPS"),
    "random_write": Job("4 KiB writes, 32 at a time, IOPS", "IOPS"),
    "random1": Job("4 KiB reads, IOPS", "IOPS"),
    "random_write1": Job("4 KiB writes, IOPS", "IOPS"),
    # Of the same jobs.
    "random1_latency": Job("4 KiB read, us", "us", has_cpu=False),
    "random_write1_latency": Job("4 KiB write, us", "us", has_cpu=False),
}
# What is said of the memory disk in a word: of two jobs, the one that is worse.
SUMMARIES = {
    "throughput": (("read", "write"), min),
    "iops32": (("random", "random_write"), min),
    "iops1": (("random1", "random_write1"), min),
    "latency1": (("random1_latency", "random_write1_latency"), max),
}


def reason_for_doubt(rig):
    """Why the times show how the host shares its cores as well; or None."""
    if rig.cores < CORES:
        return (f"{CPUS} CPUs at work, a disk and QEMU itself need {CORES} cores; the host has {rig.cores}. So both"
                " CPUs shared one\n  thread of the emulator, and waited for each other: compare the CPU seconds, too.")
    return None


class Ways:
    """What all cases boot."""

    def __init__(self, rig):
        self.rig = rig
        # One CPU at a time is more dependable, and several are no quicker without cores.
        self.threads = "single" if reason_for_doubt(rig) else rig.threads()
        self.files = [f"{rig.programs['disk_io']}=/bin/disk_io", f"{BENCH}/measure-jobs=/bin/measure-jobs"]
        self.initrd = rig.make_small("ways.cpio", [*self.files, *SHARED], MODULES)

    def run(self, case, jobs, append=""):
        return self.rig.first_os(
            "disk-ways.sh", self.initrd, files=[*self.files, *with_libraries("/usr/sbin/losetup")],
            modules=(*MODULES, "loop"), pool=POOL, cpus=CPUS, threads=self.threads,
            extra=plug_in(self.rig, 1), environment={
                "CASE": case, "JOBS": jobs, "IDLE_SECONDS": IDLE_SECONDS,
                "CMDLINE": f"{QUIET} mint.disk_jobs={jobs} {append}"})


def one(ways, case):
    """{job: result}, {job: QEMU's CPU seconds}."""
    report = ways.run(case, ",".join(f"{job}:{count}" for job, count in COUNTS.items()))
    lines = report.others + report.logs.get("os1", [])
    results = {}
    for line in lines:
        if found := re.search(r"\bdisk (\w+) (\d+) (\d+) (\d+) (\d+) (\d+)$", line):
            job, (piece, count, begun, ended, latency) = found[1], map(int, found.groups()[1:])
            pieces = count / ways.rig.seconds(ended - begun)
            results[job] = pieces * piece / MIB if piece == MIB else pieces
            if f"{job}_latency" in JOBS:
                results[f"{job}_latency"] = ways.rig.seconds(latency) * 1e6
    if set(results) != set(JOBS) or len(report.cpu_seconds) != len(COUNTS):
        raise MachineError(f"results of {case} are missing:\n" + "\n".join(lines))
    return results, dict(zip(COUNTS, report.cpu_seconds))


def measure(rig, count):
    """{(case, job): samples}, {(case, job): CPU seconds}."""
    ways = Ways(rig)
    samples, cpu = {}, {}
    for number in range(1, count + 1):
        for case in CASES:
            results, seconds = one(ways, case)
            for job in JOBS:
                samples.setdefault((case, job), []).append(results[job])
                cpu.setdefault((case, job), []).append(seconds.get(job))
            progress(f"table 6, {number} of {count}: {case} " + ", ".join(
                f"{job} {value:.0f}" for job, value in results.items()))
    return samples, cpu


def idle(rig, count):
    """The CPU time of the poller while a successor with a disk does nothing, in percent of a CPU."""
    ways, samples = Ways(rig), []
    for number in range(1, count + 1):
        report = ways.run("idle", "random1:1", "mint.idle")
        lines = [line.split()[1:] for line in report.others if line.startswith("poller ")]
        (before, begun), (after, ended) = (map(float, words) for words in lines)
        samples.append((after - before) / 1e9 / (ended - begun) * 100)
        progress(f"table 6, idle, {number} of {count}: {samples[-1]:.3f} %")
    return samples
