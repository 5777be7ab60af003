# SPDX-License-Identifier: GPL-2.0
"""Table 2: how long Debian's user space takes in one successor, and in several at a time or one by one."""

from bench_rig import QUIET, MachineError, progress, read_marks

# name: how many successors, and in what order; then the papers' seconds.
ROWS = {
    "one": (1, "parallel", 19.7),
    "sequential2": (2, "sequential", 39.4),
    "parallel2": (2, "parallel", 21.6),
    "parallel4": (4, "parallel", None),
    "parallel7": (7, "parallel", None),
}
# One machine for all rows: a CPU and 512 MiB for each of 7 successors, above 4 GiB, and low
# memory for each, between what the first OS keeps of it for itself. What TCG translates of 7 user spaces
# must not make it forget that of the others: 2 GiB are the most it takes.
MACHINE = {"cpus": 8, "memory": "8G", "pool": "memmap=4G$4G memmap=448K$64K", "translated": 2047}
# The daemons that must run, as tools/bench/daemons-up asks for them.
DAEMONS = 7


def one(rig, initrd, count, order, threads):
    """Seconds from the first write to load until the last successor's daemons are up; QEMU's CPU seconds."""
    report = rig.first_os("starts.sh", initrd, threads=threads, **MACHINE, environment={
        "COUNT": count, "CPUS": 1, "MEMORY": "512M", "ORDER": order, "CMDLINE": QUIET})
    for lines in report.logs.values():
        units = [line for line in lines if "mint-bench: unit " in line]
        if len(units) != DAEMONS or not all(line.endswith(" active") for line in units):
            raise MachineError("not all daemons run:\n" + "\n".join(lines))
    begun = min(before for (_, file), (before, _) in report.wrote.items() if file == "load")
    ended = max(read_marks(lines).events["daemons"] for lines in report.logs.values())
    return rig.seconds(ended - begun), sum(report.cpu_seconds)


def measure(rig, initrd, count):
    """{row: samples in seconds}, {row: CPU seconds}."""
    samples, cpu = {name: [] for name in ROWS}, {name: [] for name in ROWS}
    for number in range(1, count + 1):
        for name, (systems, order, _) in ROWS.items():
            seconds, cpu_seconds = one(rig, initrd, systems, order, rig.threads())
            samples[name].append(seconds)
            cpu[name].append(cpu_seconds)
            progress(f"table 2, {number} of {count}: {name} {seconds:.1f} s, {cpu_seconds:.0f} CPU seconds")
    return samples, cpu
