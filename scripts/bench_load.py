# SPDX-License-Identifier: GPL-2.0
"""Table 4: how much slower a job is while another system, or another process, does the same."""

from statistics import median

from bench_rig import QUIET, MachineError, progress
from first_os import POOL

JOBS = ("cpu", "memory", "syscall")
SECONDS = 5
# Two for the first OS, one for the successor; and one for QEMU itself.
CPUS = 3
CORES = CPUS + 1


def reason_to_skip(rig):
    """Why the host can't tell a system that waits for another from one that waits for a core; or None."""
    if rig.cores < CORES:
        return (f"{CPUS} CPUs at work need as many cores and one for QEMU; the host has {rig.cores},"
                " for which they would wait")
    return None


def pieces(lines):
    """[(start, end)] of each piece of work, from the TSC before the first and after each."""
    ticks = [int(word) for line in lines for word in line.split()]
    return list(zip(ticks, ticks[1:]))


def typical(found):
    return median(end - start for start, end in found)


def within(found, others):
    """Those pieces during which the other was at it all the time."""
    begun, ended = others[0][0], others[-1][1]
    return [(start, end) for start, end in found if begun <= start and end <= ended]


def one(rig, job):
    """{case: time of a piece by that of the same job alone}."""
    report = rig.first_os("jobs.sh", rig.small, pool=POOL, cpus=CPUS, threads=rig.threads(), environment={
        "JOB": job, "SECONDS_EACH": SECONDS, "CMDLINE": f"{QUIET} mint.job={job} mint.seconds={SECONDS}"})
    found = {}
    for line in report.others:
        if line.startswith("job "):
            _, who, *words = line.split()
            found.setdefault(who, []).append(" ".join(words))
    # The first OS does its job again and again: the time between two is no piece.
    first = [pair for line in found["first"] for pair in pieces([line])]
    alone, both = (pieces([line.split("mint-bench: job ")[1] for line in report.logs[name]
                           if "mint-bench: job " in line]) for name in ("os1", "os2"))
    first, both = within(first, both), within(both, first)
    if not first or not both:
        raise MachineError(f"the two were not at {job} at the same time")
    first_alone = typical(pieces(found["first-alone"]))
    controls = [pieces(found[name]) for name in ("control-1", "control-2")]
    return {
        "first_os_beside_successor": typical(first) / first_alone,
        "successor_beside_first_os": typical(both) / typical(alone),
        "process_beside_process": typical(within(*controls)) / first_alone,
    }


def measure(rig, count):
    """{(job, case): samples}."""
    samples = {}
    for number in range(1, count + 1):
        for job in JOBS:
            for case, ratio in one(rig, job).items():
                samples.setdefault((job, case), []).append(ratio)
        progress(f"table 4, {number} of {count}: " + ", ".join(
            f"{job} {case} {values[-1]:.2f}" for (job, case), values in samples.items()))
    return samples
