#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""demo_net.py: has the first OS start Debian from a disk of its own, and speak with it by network cards."""

import os
import tempfile
from pathlib import Path

from demonstration import demonstrate, progress, show
from first_os import GUEST, make, make_initramfs, with_libraries
from qemu_machine import below_ports

# Drivers of the disk and the cards, whatever the kernel has built in.
MODULES = ("nvme", "ext4", "virtio_net")
CARD = ("virtio-net-pci,netdev=back{bus},romfile=", ("-netdev", "hubport,id=back{bus},hubid=0"))
# A hub keeps what nobody takes, and the sender waits: a port with nothing behind it takes all.
LISTENER = ("-netdev", "hubport,id=listener,hubid=0")


def devices(disk):
    """The successor's disk on bus 1, which is written to as if it were a copy, its card, and that of the first OS."""
    drive = f"if=none,id=back{{bus}},format=raw,snapshot=on,file={disk}"
    return [*LISTENER, *below_ports([("nvme,serial=mint,drive=back{bus}", ("-drive", drive)), CARD, CARD])]


def make_files(folder, kernel, disk):
    """What the first OS has besides, as FILE=PATH: an initrd that goes on to the disk, and ssh."""
    initrd = make(folder / "disk.cpio", "disk-init", [f"{GUEST}/wait_disk=/bin/wait_disk"],
                  modules=MODULES, kernels=(kernel,))
    users = folder / "passwd"
    users.write_text("root:x:0:0::/root:/bin/sh\n")
    return [f"{initrd}=/boot/initrd.disk", f"{GUEST}/demo-lib=/bin/demo-lib", f"{users}=/etc/passwd",
            f"{disk.parent}/key=/root/.ssh/id_ed25519", f"{disk.parent}/key.pub=/root/.ssh/id_ed25519.pub",
            f"{disk.parent}/known_hosts=/root/.ssh/known_hosts",
            *with_libraries("/bin/ssh")]


def demo_net():
    kernel, disk = Path(os.environ["MINT_FIRST"]), Path(os.environ["MINT_DISK"])
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        initramfs = make_initramfs(folder, kernel, (GUEST / "demo-net").read_text(), make_files(folder, kernel, disk),
                                   modules=MODULES, first=kernel)
        with demonstrate(kernel, initramfs, ", a disk, 2 network cards", devices(disk)) as (machine, _):
            progress("the first OS starts a Debian on CPUs 2-3, with a disk and a card of its own")
            # systemd and what it starts.
            machine.wait("successor", rb"debian login: ", 40 * machine.boot)
            progress("Debian is up, and has its name, its network and the key for ssh from its credentials; "
                     "somebody logs in on its console")
            for command, answer in (("root", rb""), ("findmnt /", rb"nvme0n1"), ("ip -brief address", rb"10\.7\.0\.2"),
                                    ("hostnamectl", rb"Hardware Model:[^\n]*Successor"),
                                    ("echo system: $(systemctl is-system-running --wait)", rb"system: running")):
                machine.send("successor", command + "\n")
                machine.wait("successor", answer)
                machine.wait("successor", rb":~# ")
            progress("the first OS reaches it through the two cards")
            machine.send("first", "\n")
            machine.wait("first", rb"mint: os1: halted")
            progress("Debian has powered off; the first OS takes everything back, and reads the disk")
            machine.send("first", "\n")
            machine.wait("first", rb"CPUs, memory and devices are back")
    print("\nDebian ran from its own disk, on its own card, beside the first OS, no hypervisor between them.")


show(demo_net)
