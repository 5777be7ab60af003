# SPDX-License-Identifier: GPL-2.0
"""The page in which CPUs rest (machine/rest.S), on a machine that has nothing else.

tools/testing/qemu/rest_boot.S sends all CPUs there. Seen from outside: what the page makes
of an MSR that a CPU does not have, of machine checks, and of what its slots say.
"""

import mmap
import re
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from first_os import SOURCE
from qemu_machine import PATIENCE, Machine, MachineError

CPUS = 4
# Where the page is, as in rest_boot.S, and how long it is.
PAGE, PAGE_LEN = 0x8000, 0x1000
RAM = 16 << 20
# A slot of each CPU: its flags, an MSR and a value for its low half, and banks.
SLOT = struct.Struct("<4I")
HAS_REQUEST, HAS_CMCI, BANKS_KNOWN, RESTS = 1 << 0, 1 << 2, 1 << 3, 1 << 4
# An entry of the lists: an MSR, and the bits of its halves that stay.
ENTRY = struct.Struct("<3I")
IA32_SPEC_CTRL, IA32_DEBUGCTL = 0x48, 0x1D9
# In xAPIC mode there is no such MSR; the SDM has QEMU's #GP for it.
IA32_X2APIC_APICID = 0x802
# The MSR that QEMU shows. rest_boot.S sets two bits on the first CPU.
IA32_EFER, SCE, NXE = 0xC0000080, 1 << 0, 1 << 11
ALL = 0xFFFFFFFF


def page():
    """The code, with the first of its MSRs replaced by one that faults, and the second by EFER."""
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run(["objcopy", "-O", "binary", "-j", ".rodata", SOURCE / "machine/rest.o", file.name], check=True)
        code = bytearray(file.read())
    first = code.index(ENTRY.pack(IA32_SPEC_CTRL, 0, 0))
    ENTRY.pack_into(code, first, IA32_X2APIC_APICID, 0, 0)
    if ENTRY.unpack_from(code, first + ENTRY.size)[0] != IA32_DEBUGCTL:
        raise ValueError("IA32_DEBUGCTL is not the second entry of the list in machine/rest.S")
    ENTRY.pack_into(code, first + ENTRY.size, IA32_EFER, ALL & ~NXE, ALL)
    slots = bytearray(CPUS * SLOT.size)
    SLOT.pack_into(slots, 1 * SLOT.size, HAS_REQUEST, IA32_EFER, NXE, 0)
    SLOT.pack_into(slots, 2 * SLOT.size, HAS_CMCI, 0, 0, 0)
    return code.ljust(PAGE_LEN, b"\0") + slots


def slots(ram):
    """The four words of each CPU's slot."""
    return [list(SLOT.unpack_from(ram, PAGE + PAGE_LEN + cpu * SLOT.size)) for cpu in range(CPUS)]


def forget(ram):
    """Clears what says of each CPU that it rests; a CPU that has handled an exception says so again."""
    for cpu in range(CPUS):
        offset = PAGE + PAGE_LEN + cpu * SLOT.size
        struct.pack_into("<I", ram, offset, struct.unpack_from("<I", ram, offset)[0] & ~RESTS)


def efer(machine, cpu):
    return int(re.findall(r"EFER=([0-9a-f]+)", machine.monitor("info registers -a"))[cpu], 16)


def await_rest(machine, ram, cpus=range(CPUS)):
    """Waits until CPUs rest; nobody is told of that."""
    deadline = time.monotonic() + PATIENCE * machine.boot
    while not all(slots(ram)[cpu][0] & RESTS for cpu in cpus):
        if time.monotonic() > deadline:
            raise MachineError(machine.evidence(f"not all CPUs came to rest: {slots(ram)}"))
        # The machine may have ended.
        machine.execute("query-status")
        time.sleep(0.05)


def run(plain_boot):
    """All of it; yields (passed, name of the test)."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for command in (["gcc-14", "-c", "-o", folder / "boot.o", SOURCE / "tools/testing/qemu/rest_boot.S"],
                        ["objcopy", "-O", "binary", "-j", ".text", folder / "boot.o", folder / "boot"]):
            subprocess.run(command, check=True)
        with (folder / "ram").open("w+b") as file:
            file.truncate(RAM)
            with mmap.mmap(file.fileno(), RAM) as ram:
                code = page()
                ram[PAGE:PAGE + len(code)] = bytes(code)
                with Machine(None, None, None, cpus=CPUS, memory=str(RAM >> 20), boot=plain_boot, extra=(
                        # QEMU broadcasts machine checks to such CPUs.
                        "-cpu", "Skylake-Server",
                        "-object", f"memory-backend-file,id=ram,size={RAM},mem-path={folder}/ram,share=on",
                        "-machine", "memory-backend=ram",
                        "-bios", str(folder / "boot"))) as machine:
                    yield from test(machine, ram)


def test(machine, ram):
    await_rest(machine, ram)
    yield True, "all CPUs come to rest, past an MSR that they do not have"
    yield efer(machine, 0) == SCE, "a bit of an MSR is cleared, and the others stay"
    yield efer(machine, 1) == NXE, "a request is restored"
    flags, _, _, banks = slots(ram)[2]
    yield flags & BANKS_KNOWN and banks == ALL, "the banks without CMCI are remembered"
    for what, *cpus in (("0", 0), ("0", 0), ("1", 1), ("2", 2), ("3", 3), ("-b 0", *range(CPUS))):
        forget(ram)
        said = machine.monitor(f"mce {what} 1 0xa000000000000000 0x5 0x0 0x0")
        yield not said, f"mce {what}: a machine check is taken {said}"
        await_rest(machine, ram, cpus)
        yield True, f"mce {what}: it comes to rest again"
