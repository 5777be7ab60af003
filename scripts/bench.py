#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""bench.py: the evaluation of the Mint papers with today's stock kernels; see Documentation/bench.rst.

Prints the tables, and writes results/bench.json and results/bench.svg.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import bench_boot
import bench_disk
import bench_load
import bench_memory_disk
import bench_parallel
import bench_phases
from bench_plot import plot
from bench_rig import MachineError, Rig
from first_os import SOURCE

RESULTS = SOURCE / "results"
WAYS = {"full": "full boot", "kexec": "kexec", "successor": "successor, from start",
        "successor_from_load": "successor, from load", "vmlinux": "of vmlinux, from start",
        "vmlinux_from_load": "of vmlinux, from load"}
MARKS = {"kernel_init": "kernel_init", "user_space": "user space"}
ROWS = {"one": "one", "sequential2": "two, one after the other", "parallel2": "two in parallel",
        "parallel4": "four in parallel", "parallel7": "seven in parallel"}
DISK_JOBS = {"read": ("read", "MiB/s"), "write": ("write", "MiB/s"), "random": ("random 4 KiB reads", "IOPS")}
DISK_CASES = {"first": "first OS", "successor": "successor", "successor_beside_busy": "successor beside busy first OS"}

WAYS_TO_DISK = {"direct": "direct", "loop": "loop", "cached_loop": "cached loop", "memory": "memory disk",
                "own": "own disk"}


def row(name, samples, unit, **more):
    return {"name": name, "unit": unit, "median": median(samples), "min": min(samples), "max": max(samples),
            "samples": samples, **more}


def show(title, header, lines):
    """A table: the first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in (header, *lines)) for column in range(len(header))]
    print(f"\n{title}\n")
    for line in (header, ["-" * width for width in widths], *lines):
        cells = [f"{cell:<{width}}" if column == 0 else f"{cell:>{width}}"
                 for column, (cell, width) in enumerate(zip(line, widths))]
        print("  " + "  ".join(cells).rstrip())


def spread(samples, digits=2):
    return f"{median(samples):.{digits}f}", f"{min(samples):.{digits}f}-{max(samples):.{digits}f}"


class Results:
    """What is written to the JSON file and, as tables, printed."""

    def __init__(self, rig, samples):
        version = subprocess.run(["qemu-system-x86_64", "--version"], check=True, capture_output=True, text=True)
        self.rig = rig
        self.data = {
            "host": {"cores": rig.cores, "accelerator": rig.accelerator, "tsc_hz": rig.tsc_hz,
                     "qemu": version.stdout.split("\n")[0], "threads_table_2": rig.threads(),
                     "load_average": list(os.getloadavg())},
            "kernel": rig.kernel.parent.name, "samples": samples, "tables": {}, "ratios": {}, "figures": {},
        }
        self.charts = []

    def ratio(self, name, value, paper=None):
        self.data["ratios"][name] = value
        if paper:
            self.data["ratios"][f"paper_{name}"] = paper

    def boot(self, samples):
        paper = bench_boot.PAPER
        self.data["tables"]["boot"] = [
            row(f"{way}_{mark}", values, "s", paper=paper.get(way) if mark == "kernel_init" else None)
            for (way, mark), values in samples.items()]
        middle = {key: median(values) for key, values in samples.items()}
        lines = []
        for (way, mark), values in sorted(samples.items(), key=lambda item: list(MARKS).index(item[0][1])):
            of = middle[way, mark] / middle["successor", mark]
            theirs = paper[way] / paper["successor"] if mark == "kernel_init" and way in paper else None
            lines.append([f"{WAYS[way]}, to {MARKS[mark]}", *spread(values), f"{of:.2f}",
                          f"{theirs:.2f}" if theirs else ""])
            if way != "successor":
                self.ratio(f"{way}_over_successor_{mark}", of, theirs)
            if way in ("full", "kexec"):
                self.ratio(f"{way}_over_vmlinux_{mark}", middle[way, mark] / middle["vmlinux", mark], theirs)
        show(f"Table 1: one kernel, {bench_boot.CPUS} CPUs, {bench_boot.MEMORY}, in four ways (seconds)",
             ["", "median", "min-max", "of successor", "papers"], lines)
        for mark, text in MARKS.items():
            self.charts.append((f"Time to {text}", [
                (WAYS[way], values, f"{median(values):.2f} s")
                for (way, its), values in samples.items() if its == mark]))

    def parallel(self, samples, cpu):
        one, papers = median(samples["one"]), {name: paper for name, (_, _, paper) in bench_parallel.ROWS.items()}
        self.data["tables"]["parallel"] = [
            row(name, values, "s", cpu_seconds=cpu[name], paper=papers[name]) for name, values in samples.items()]
        lines = []
        for name, values in samples.items():
            of, theirs = median(values) / one, papers[name] and papers[name] / papers["one"]
            lines.append([ROWS[name], *spread(values, 1), f"{of:.2f}", f"{theirs:.2f}" if theirs else "",
                          f"{median(cpu[name]):.0f}"])
            if name != "one":
                self.ratio(f"{name}_over_one", of, theirs)
            self.data["figures"][f"{name}_cpu_s"] = median(cpu[name])
        show("Table 2: Debian's user space, from load until all daemons are up (seconds)",
             ["", "median", "min-max", "of one", "papers", "QEMU's CPU s"], lines)
        print(f"\n  QEMU had {self.rig.cores} cores of the host for 8 CPUs ({self.emulation()}).")
        if self.rig.cores < 8:
            print("  With fewer cores than systems they wait for cores. Were they waiting for one another, the"
                  "\n  time would be longer than the CPU seconds by the number of cores.")
        self.charts.append(("Debian's user space, until all daemons are up", [
            (ROWS[name], values, f"{median(values):.1f} s") for name, values in samples.items()]))

    def emulation(self):
        if self.rig.accelerator == "kvm":
            return "KVM"
        return f"TCG, thread={self.rig.threads()}"

    def phases(self, seen, told):
        self.data["tables"]["phases"] = [row(name, values, "s") for name, values in (*seen.items(), *told.items())]
        for name, values in told.items():
            unit, scale = ("us", 1e6) if name in ("exclusive", "tables") else ("ms", 1e3)
            self.data["figures"][f"{name}_{unit}"] = median(values) * scale
        self.data["figures"]["load_ms"] = median(seen["write to load"]) * 1e3
        self.data["figures"]["start_ms"] = median(seen["write to start"]) * 1e3
        show("Table 3: a start, and its phases (milliseconds)", ["", "median", "min-max"],
             [[name, *spread([value * 1e3 for value in values], 3)]
              for name, values in (*seen.items(), *told.items())])

    def memory(self, once, each):
        self.data["tables"]["memory"] = [row("shared", once, "KiB"), row("per_successor", each, "KiB")]
        self.data["figures"]["first_os_kib_shared"] = median(once)
        self.data["figures"]["first_os_kib_per_successor"] = median(each)
        show("The first OS's memory for successors beside their ranges (KiB)", ["", "median", "min-max"],
             [["for each successor", *spread(each, 0)], ["once for all that boot the same files", *spread(once, 0)]])

    def load(self, samples):
        self.data["tables"]["load"] = [row(f"{job}_{case}", values, "") for (job, case), values in samples.items()]
        for (job, case), values in samples.items():
            self.ratio(f"{job}_{case}", median(values))
        show("Table 4: time of a job by that of the same job alone", ["", "median", "min-max"],
             [[f"{job}: {case.replace('_', ' ')}", *spread(values)] for (job, case), values in samples.items()])

    def no_load(self, why):
        self.data["tables"]["load"] = {"skipped": why}
        print(f"\nTable 4: jobs beside each other: skipped: {why}.")

    def disk(self, samples, why):
        """`why` is the reason why one case is not there, if so."""
        self.data["tables"]["disk"] = [
            row(f"{case}_{job}", values, DISK_JOBS[job][1]) for (case, job), values in samples.items()]
        lines = []
        for job, (text, unit) in DISK_JOBS.items():
            first = median(samples["first", job])
            for case, values in ((case, values) for (case, its), values in samples.items() if its == job):
                of = median(values) / first
                lines.append([f"{text}, {DISK_CASES[case]}", *spread(values, 0), unit, f"{of:.2f}"])
                if case != "first":
                    self.ratio(f"{case}_over_first_{job}", of)
        show("Table 5: an NVMe disk, in systems of one CPU", ["", "median", "min-max", "", "of first OS"], lines)
        if why:
            self.data["tables"]["disk_beside_busy"] = {"skipped": why}
            print(f"\n  A successor beside a busy first OS: skipped: {why}.")

    def memory_disk(self, samples, cpu, why):
        """`why` is the reason why the times say little, if so."""
        jobs = bench_memory_disk.JOBS
        self.data["tables"]["memory_disk"] = [
            row(f"{case}_{job}", values, jobs[job].unit, cpu_seconds=cpu[case, job])
            for (case, job), values in samples.items()]
        middle = {key: median(values) for key, values in samples.items()}
        for case in WAYS_TO_DISK:
            if case != "memory":
                for job in jobs:
                    self.ratio(f"memdisk_over_{case}_{job}", middle["memory", job] / middle[case, job])
        header = ["", *WAYS_TO_DISK.values()]
        show("Table 6: a disk in five ways: median (min-max)", header, [
            [jobs[job].text, *("{} ({})".format(*spread(samples[case, job], 0)) for case in WAYS_TO_DISK)]
            for job in jobs])
        show("QEMU's CPU seconds for the same work", header, [
            [jobs[job].text, *(f"{median(cpu[case, job]):.2f}" for case in WAYS_TO_DISK)]
            for job in jobs if jobs[job].has_cpu])
        lines = []
        for name, (two, worse) in bench_memory_disk.SUMMARIES.items():
            line = [name]
            for case in ("loop", "cached_loop", "direct", "own"):
                value = worse(self.data["ratios"][f"memdisk_over_{case}_{job}"] for job in two)
                self.ratio(f"memdisk_over_{case}_{name}", value)
                line.append(f"{value:.2f}")
            lines.append(line)
        show("The memory disk relative to the others, the worse of reads and writes",
             ["", "loop", "cached loop", "direct", "own disk"], lines)
        if why:
            self.data["tables"]["memory_disk_note"] = why
            print(f"\n  {why}")

    def memory_disk_idle(self, samples):
        self.data["tables"]["memory_disk_idle"] = [row("poller", samples, "% of a CPU")]
        self.data["figures"]["memdev_idle_cpu_percent"] = median(samples)
        show("The poller while a successor with a disk is idle (% of a CPU)", ["", "median", "min-max"],
             [["mint-poller", *spread(samples, 3)]])

    def write(self, seconds):
        """Writes what there is so far."""
        self.data["discarded"] = self.rig.discarded
        self.data["seconds"] = seconds
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "bench.json").write_text(json.dumps(self.data, indent=1) + "\n")
        plot(RESULTS / "bench.svg", self.charts)

    def close(self):
        if self.rig.discarded:
            print(f"\n  {len(self.rig.discarded)} machines failed to boot their first OS, before Mint was there,"
                  " and are not counted: see the JSON file.")
        print(f"\n{RESULTS.name}/bench.json and {RESULTS.name}/bench.svg, in {self.data['seconds'] / 60:.0f} minutes")


def bench(folder):
    started = time.monotonic()
    # Tables and progress in their order, wherever they go.
    sys.stdout.reconfigure(line_buffering=True)
    tables = (os.environ.get("BENCH_TABLES") or "1 2 3 4 5 6").split()
    many = int(os.environ.get("BENCH_SAMPLES") or 7)
    # Of what takes long, fewer.
    few = min(many, 3)
    rig = Rig(folder, Path(os.environ["MINT_FIRST"]))
    results = Results(rig, {"boot": many, "parallel": few, "memory": few, "load": few, "disk": many,
                            "memory_disk": many, "memory_disk_idle": few})
    # A start is measured with table 1, and told of in table 3.
    if "1" in tables or "3" in tables:
        samples, reports = bench_boot.measure(rig, many)
        results.boot(samples)
        results.write(time.monotonic() - started)
    if "2" in tables:
        results.parallel(*bench_parallel.measure(rig, rig.make_debian(os.environ["MINT_DEBIAN_ROOT"]), few))
        results.write(time.monotonic() - started)
    if "3" in tables:
        results.phases(*bench_phases.phases(rig, reports))
        results.memory(*bench_phases.memory(rig, few))
        results.write(time.monotonic() - started)
    if "4" in tables:
        why = bench_load.reason_to_skip(rig)
        if why and tables != ["4"]:
            results.no_load(why)
        else:
            results.load(bench_load.measure(rig, few))
        results.write(time.monotonic() - started)
    if "5" in tables:
        why = None if tables == ["5"] else bench_disk.reason_to_skip(rig)
        results.disk(bench_disk.measure(rig, many, bench_disk.CASES[:2] if why else bench_disk.CASES), why)
        results.write(time.monotonic() - started)
    if "6" in tables:
        results.memory_disk(*bench_memory_disk.measure(rig, many), bench_memory_disk.reason_for_doubt(rig))
        results.write(time.monotonic() - started)
        results.memory_disk_idle(bench_memory_disk.idle(rig, few))
    results.write(time.monotonic() - started)
    results.close()


try:
    with tempfile.TemporaryDirectory() as name:
        bench(Path(name))
except MachineError as error:
    sys.exit(f"mint: error: {error}")
