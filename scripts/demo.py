#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""demo.py: boots the first OS, has it start a successor, and a Debian from a file, and shows all at work."""

import os
import tempfile
import time
from pathlib import Path

from demonstration import demonstrate, progress, show
from first_os import GUEST, make, make_initramfs, with_libraries
from qemu_machine import below_ports

WATCH_TICKS = 5
# What the first OS has in /srv: a file system with the image of a Debian. What is written goes to a copy.
STORE = ("nvme,serial=store,drive=back{bus}", ("-drive", "if=none,id=back{bus},format=raw,snapshot=on,file={store}"))
UP = r"(.*), (\d+) CPUs, (\d+) MiB, up ([\d.]+) s"
# What Debian says of itself, as the others do.
ASK = ("echo debian-up: $(uname -r), $(nproc) CPUs, $(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo) MiB, "
       "up $(cut -d' ' -f1 /proc/uptime) s")


def use_debian(machine):
    """Waits for Debian's login, and logs in; returns what it says of itself."""
    # systemd and what it starts.
    machine.wait("debian", rb"debian login: ", 40 * machine.boot)
    progress("Debian is up on its disk, which is a file of the first OS, and has its name from its credentials; "
             "somebody logs in on its console")
    for command, answer in (("root", rb""), ("findmnt /", rb"nvme0n1"), ("echo was here >/root/note && sync", rb"")):
        machine.send("debian", command + "\n")
        machine.wait("debian", answer)
        machine.wait("debian", rb":~# ")
    machine.send("debian", ASK + "\n")
    # Not the echo of the command.
    return machine.wait("debian", rf"debian-up: (?=\d){UP}".encode())


def demo():
    first, successor = Path(os.environ["MINT_FIRST"]), Path(os.environ["MINT_SUCCESSOR"])
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        initrd = make(folder / "disk.cpio", "disk-init", [f"{GUEST}/wait_disk=/bin/wait_disk"],
                      modules=("nvme", "ext4"), kernels=(successor,))
        initramfs = make_initramfs(folder, successor, (GUEST / "demo").read_text(),
                                   [f"{GUEST}/demo-lib=/bin/demo-lib", f"{initrd}=/boot/initrd.disk",
                                    *with_libraries("/usr/sbin/debugfs")],
                                   modules=("nvme", "ext4"), first=first)
        store = below_ports([STORE], store=os.environ["MINT_STORE"])
        with demonstrate(first, initramfs, ", a disk", store, ("first", "successor", "debian"), 5) as (machine, up):
            asked = time.monotonic()
            progress(f"the first OS starts {successor.parent.name} on CPUs 2-3")
            there = machine.wait("successor", rf"mint-successor-up: {UP}".encode())
            took = time.monotonic() - asked
            machine.send("first", "\n")
            machine.wait("first", rb"starting Debian")
            asked = time.monotonic()
            progress(f"it starts {successor.parent.name} once more on CPU 4, for a Debian in a file")
            debian = use_debian(machine)
            debian_took = time.monotonic() - asked
            progress("all three are at work")
            for _ in range(WATCH_TICKS):
                machine.wait("first", rb"up [\d.]+ s")
                machine.wait("successor", rb"mint-tick")
            machine.send("debian", "systemctl --no-block poweroff\n")
            machine.wait("first", rb"mint: os2: halted")
            progress("Debian has powered off; the first OS takes all CPUs and memory back, and looks into the file")
            machine.send("first", "\n")
            machine.wait("first", rb"was here")
            machine.wait("first", rb"all CPUs and memory are back")
    print(f"\n{'':11}{'kernel':<30}{'CPUs':>5}{'memory':>10}{'boot, own clock':>17}{'from start':>12}")
    for name, found, wall in (("first OS", up, "-"), ("successor", there, f"{took:.1f} s"),
                              ("Debian", debian, f"{debian_took:.1f} s")):
        kernel, cpus, memory, clock = (group.decode() for group in found.groups())
        print(f"{name:<11}{kernel:<30}{cpus:>5}{memory + ' MiB':>10}{clock + ' s':>17}{wall:>12}")
    print("\nThree stock systems ran side by side, no hypervisor between them."
          "\nDebian's disk was a file of the first OS.")


show(demo)
