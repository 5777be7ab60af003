# SPDX-License-Identifier: GPL-2.0
"""Table 3: what a start is made of, and what a successor costs the first OS beside its range."""

from bench_rig import QUIET, progress, read_marks

# Successors of one CPU for the memory of the first OS.
COUNT = 7
MACHINE = {"cpus": COUNT + 1, "memory": "3G", "pool": "memmap=960M$1G memmap=448K$64K"}
PAGE_KIB = 4


def phases(rig, reports):
    """{phase: samples in seconds}: as they are seen from outside, and as the file timing has them."""
    seen, told = {}, {}
    for report in reports:
        marks = read_marks(report.logs["os1"])
        loading, starting = (report.wrote["os1", name] for name in ("load", "start"))
        for name, ticks in (("write to load", loading[1] - loading[0]),
                            ("write to start", starting[1] - starting[0]),
                            ("entry to kernel_init", marks.kernel_init - starting[1]),
                            ("kernel_init to user space", marks.events["user_space"] - marks.kernel_init)):
            seen.setdefault(name, []).append(rig.seconds(ticks))
        for name, nanoseconds in report.timing["os1"].items():
            told.setdefault(name, []).append(nanoseconds / 1e9)
    return seen, told


def memory(rig, count):
    """Samples of the KiB that all successors together cost once, and of the KiB that each one costs.

    What the first OS has less with one than with none, but for what a further one costs, is what all
    share: the images are held once for all that boot the same files.
    """
    once, each = [], []
    for number in range(1, count + 1):
        report = rig.first_os("memory.sh", rig.small, **MACHINE, environment={
            "COUNT": COUNT, "MEMORY": "128M", "CMDLINE": QUIET})
        free = {line.split()[1]: int(line.split()[2]) * PAGE_KIB
                for line in report.others if line.startswith("free ")}
        # Successors' CPUs are offline in the first OS, by which its free memory changes as well.
        per_cpu = (free["offline-1"] - free["offline-all"]) / (COUNT - 1)
        per_successor = (free["1"] - free["all"]) / (COUNT - 1) - per_cpu
        each.append(per_successor)
        once.append(free["none"] - free["1"] - per_cpu - per_successor)
        progress(f"table 3, {number} of {count}: {each[-1]:.0f} KiB for each successor, {once[-1]:.0f} KiB once,"
                 f" {per_cpu:.0f} KiB for a CPU that is offline")
    return once, each
