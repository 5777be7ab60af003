# SPDX-License-Identifier: GPL-2.0
"""uefi.py: a Debian that UEFI and GRUB boot, set up as the README says, line by line.

The lines are those of the README's section "Use it". Those that change GRUB's menu end
with a reboot; the others start a successor, from a disk of its own, and stop it.
"""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from first_os import KO, SOURCE
from qemu_machine import Machine, below_ports

FIRMWARE = Path("/usr/share/OVMF")
# The console of the first OS, that of the successor, one that nobody uses, and root's shell.
PORTS = ("first", "os1", "spare", "shell")
UART = 0x2F8
PROMPT = rb"\[(\d+)\]# "
# How many plain boots of the other machines' any wait may take: a boot here is some ten of them.
PATIENCE = 60
# What the README's words reserve, and where they are.
RESERVED = (4 << 30) + (128 << 10)
SETTINGS = "/etc/default/grub.d/mint.cfg"
# Documentation/parameters.rst tells what becomes of "$" in GRUB's files, as of these words.
FORMS = r"""
GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX double1=4G\$4G double3=4G\\\$4G"
GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX "'single0=4G$4G single1=4G\$4G'
"""
OUTCOMES = {"double1=4GG", "double3=4G$4G", "single0=4GG", "single1=4G$4G"}
# What the pool is cut to multiples of.
RANGE = 2 << 20
# What kernels say of memory in /proc/iomem.
RAM = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) : System RAM\r?$", re.MULTILINE)


def readme_blocks():
    """The indented blocks of the section "Use it", as lists of lines."""
    section = re.search(r"\n## Use it\n(.*?)\n## ", (SOURCE / "README.md").read_text(), re.DOTALL)[1]
    return [[line[4:] for line in block.strip("\n").split("\n")]
            for block in re.findall(r"(?:^    .*\n)+", section + "\n", re.MULTILINE)]


class Shell:
    """Root's shell in the first OS."""

    def __init__(self, machine, limit):
        self.machine, self.limit = machine, limit
        machine.wait("shell", PROMPT, limit)

    def type(self, line):
        self.machine.send("shell", line + "\n")

    def run(self, line):
        """What a command prints, and its status."""
        port = self.machine.ports["shell"]
        self.type(line)
        # The terminal's echo ends with the line.
        self.machine.wait("shell", rb"\n", self.limit)
        start = port.seen
        found = self.machine.wait("shell", PROMPT, self.limit)
        return bytes(port.log[start:found.start()]).decode(errors="replace").replace("\r", ""), int(found[1])

    def end(self, line):
        """Types a command that ends the machine."""
        self.type(line)
        self.machine.wait_end(self.limit)

    def ask(self, line):
        return self.run(line)[0].strip()

    def ram(self):
        """The bytes that /proc/iomem calls RAM."""
        found = RAM.findall(self.ask("cat /proc/iomem"))
        return sum(int(last, 16) + 1 - int(start, 16) for start, last in found)


def boot(folder, disks):
    """The machine; what is written to its first disk, and to the firmware's variables, is in `folder`."""
    nvme = ("nvme,serial=mint,drive=back{bus}",
            ("-drive", f"if=none,id=back{{bus}},format=raw,snapshot=on,file={disks}/nvme"))
    return Machine(None, None, None, names=PORTS, memory="8G", extra=(
        "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.fd",
        "-drive", f"if=pflash,unit=1,format=raw,file={folder}/variables",
        "-drive", f"if=none,id=disk,format=raw,file={folder}/disk",
        "-device", "virtio-blk-pci,drive=disk,bootindex=0",
        "-drive", f"if=none,id=module,format=raw,readonly=on,file={folder}/module",
        "-device", "virtio-blk-pci,drive=module",
        *below_ports([nvme]),
    ))


def prepare(folder, disks):
    shutil.copy(FIRMWARE / "OVMF_VARS_4M.fd", folder / "variables")
    subprocess.run(["cp", "--sparse=always", disks / "disk", folder], check=True)
    (folder / "files").mkdir()
    shutil.copy(KO, folder / "files/mint.ko")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "mint", "-d", folder / "files", folder / "module", "64M"],
                   check=True)


def run_lines(shell, lines):
    """Types lines of the README; yields (passed, name of the test)."""
    for line in lines:
        said, status = shell.run(line)
        yield status == 0, line if status == 0 else f"{line}: {said.strip()}"


def set_up(shell, lines):
    """What the README says on GRUB: the last of its lines reboots."""
    *others, last = lines
    shell.run(f"echo {shlex.quote(FORMS)} > /etc/default/grub.d/forms.cfg")
    yield from run_lines(shell, others)
    shell.end(last)
    yield True, last


def check_boot(shell, ram):
    """Whether the kernel has got what GRUB was told; there was `ram` before."""
    words = re.findall(r'[^ "]*=[^ "]+', shell.ask(f"sed 's/^GRUB_CMDLINE_LINUX=//' {SETTINGS}"))
    line = shell.ask("cat /proc/cmdline").split()
    yield bool(words) and set(words) <= set(line), f"the kernel's command line has {words}: {line}"
    yield OUTCOMES <= set(line), "a '$' needs backslashes, as is documented"
    lost = ram - shell.ram()
    yield lost == RESERVED, f"its RAM has lost what is reserved, and nothing else: {lost:#x} bytes"


def check_refusals(shell):
    """Whether what the firmware uses, and an EFI table that the first OS reads, are refused as a pool."""
    runtime = shell.ask("(cd /sys/firmware/efi/runtime-map &&"
                        " cat $(grep -lx 0x6 */type | head -n 1 | cut -d/ -f1)/phys_addr)")
    table = shell.ask("dmesg | sed -n 's/.* efi: .*MOKvar=\\(0x[0-9a-f]*\\).*/\\1/p'")
    for what, address, why in (("the firmware's data", runtime, "is not all memory"),
                               ("shim's variables", table, "has an EFI table in it")):
        start = (int(address, 16) & -RANGE) - RANGE
        shell.run("dmesg -C")
        _, status = shell.run(f"insmod mint.ko pool_start={start:#x} pool_size={4 * RANGE:#x}"
                              " low_start=0x20000 low_size=0x20000")
        said = shell.ask("dmesg -t | grep '^mint: 0x'")
        yield (status != 0 and re.search(f"{why}.*: memmap=0x[0-9a-f]+%0x[0-9a-f]+-1.2 would do$", said) is not None,
               f"a pool over {what} is refused: {said}")


def use(shell, lines):
    """What the README says on a successor, whose console is a serial port besides."""
    shell.run("cd /sys/bus/pnp/drivers/serial &&"
              f" grep -l 'io {UART:#x}-' */resources | cut -d/ -f1 >unbind; cd /mnt")
    for line in lines:
        if line.startswith("echo 1 > os1/start"):
            yield from run_lines(shell, [f"echo {UART:#x} > os1/console"])
        yield from run_lines(shell, [line])
        if line.startswith("echo 1 > os1/start"):
            shell.machine.wait("os1", rb"successor login: ", shell.limit)
            yield True, "the successor comes to its login"
            yield shell.ask("cat os1/state") == "running", "it is running"
            yield "Linux version" in shell.ask("cat os1/dmesg"), "its log can be read"


def check_end(shell):
    """Whether the first OS has got all back."""
    yield shell.ask("cat os1/state") == "offline", "the successor is offline"
    yield shell.ask("cat /sys/devices/system/cpu/online") == "0-3", "the CPUs are back"
    total, free = shell.ask("cat memory_total memory_free").split()
    yield total == free, "the memory is back"
    yield shell.run("udevadm wait /dev/nvme0n1p1")[1] == 0, "the disk is back"
    yield from run_lines(shell, ["cd / && rmmod mint"])


def test(disks, limit):
    """Boots the machine twice; yields (passed, name of the test)."""
    grub, successor = readme_blocks()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        prepare(folder, disks)
        with boot(folder, disks) as machine:
            shell = Shell(machine, limit)
            ram = shell.ram()
            yield from set_up(shell, grub)
            yield from no_complaint(machine)
        with boot(folder, disks) as machine:
            shell = Shell(machine, limit)
            shell.run("mount /dev/disk/by-label/mint /mnt && cd /mnt")
            yield from check_boot(shell, ram)
            yield from check_refusals(shell)
            yield from use(shell, successor)
            yield from check_end(shell)
            shell.end("poweroff")
            yield from no_complaint(machine)


def no_complaint(machine):
    splats = machine.splats(("first", "os1"))
    yield not splats, f"no system complained in its log {splats[:5] or ''}"


def run(plain_boot):
    """All of it, where a plain boot takes so many seconds; yields (passed, name of the test)."""
    yield from test(Path(os.environ["MINT_UEFI"]), PATIENCE * plain_boot)
