# SPDX-License-Identifier: GPL-2.0
"""Which model-specific registers successors touch, seen by a QEMU plugin that records RDMSR and WRMSR.

The lists below are the machine-readable part of "Model-specific registers and CPUID" in
Documentation/shared-hardware.rst, which tells what the registers are and what may come of a write.
"""

import re
from collections import Counter

from first_os import SOURCE, compile_c

# The registers of the machine-check banks, four each: IA32_MCi_CTL, _STATUS, _ADDR, _MISC. QEMU's CPU
# has ten banks.
BANKS = range(0x400, 0x400 + 4 * 10)
# The MTRRs.
MTRRS = (*range(0x200, 0x210), 0x250, 0x258, 0x259, *range(0x268, 0x270), 0x2FF)
# Event selectors and counters of AMD's CPUs before family 0x15.
COUNTERS = range(0xC0010000, 0xC0010008)

# What a successor's kernel may write. What has no remark is the CPU's own, and without effect on others.
WRITTEN = {
    0x1B,  # IA32_APIC_BASE: to turn x2APIC mode off
    0x3A,  # IA32_FEAT_CTL: locked, if the firmware has not done so
    0x4E,  # MSR_PPIN_CTL, of the package: all systems set the same
    0x8B,  # IA32_BIOS_SIGN_ID: 0, as what comes before a read of the microcode's revision
    0x140,  # MSR_MISC_FEATURES_ENABLES
    0x174, 0x175, 0x176,  # IA32_SYSENTER_CS, _ESP, _EIP
    0x17B,  # IA32_MCG_CTL
    0x277,  # IA32_PAT: as every Linux sets it
    *BANKS,  # Of the package in part. Open
    0xC0000080,  # IA32_EFER
    0xC0000081, 0xC0000082, 0xC0000083, 0xC0000084,  # STAR, LSTAR, CSTAR, SFMASK
    0xC0000100, 0xC0000101, 0xC0000102,  # FS base, GS base, kernel GS base
    0xC0000103,  # IA32_TSC_AUX
    *COUNTERS,
    0xC0010117,  # VM_HSAVE_PA: 0, when 6.1 panics
    0xC0011029,  # DE_CFG
}

# What it may read besides.
READ = {
    0x34,  # MSR_SMI_COUNT
    0xCE,  # MSR_PLATFORM_INFO
    0xFE,  # IA32_MTRRCAP
    0x179, 0x17A,  # IA32_MCG_CAP, IA32_MCG_STATUS
    0x1A0,  # IA32_MISC_ENABLE
    *MTRRS,
    0x64E,  # MSR_PPERF
    *range(0x800, 0x900),  # The local APIC in x2APIC mode, in which the firmware may have left it
    0xC0010114,  # VM_CR
}

# What Mint's own code in low memory, trampoline.S and machine/rest.S, may touch besides. The latter turns
# off what the last kernel on a CPU may have left going.
MINT = {
    0x48,  # IA32_SPEC_CTRL
    0x1D9,  # IA32_DEBUGCTL
    0x570,  # IA32_RTIT_CTL
    0x600, 0x3F1,  # IA32_DS_AREA, IA32_PEBS_ENABLE
    0x38D, 0x38F, *range(0x186, 0x18E),  # IA32_FIXED_CTR_CTRL, IA32_PERF_GLOBAL_CTRL, event selectors
    0x14CE,  # IA32_LBR_CTL
    0xC0011030, 0xC0011033,  # AMD: IBS
    0xC0000301, *range(0xC0010200, 0xC001020C, 2),  # AMD: PerfCntrGlobalCtl, event selectors
    0xC000010F,  # AMD: DbgExtnCfg
    *range(0x280, 0x2A0),  # IA32_MCi_CTL2
    0x774, 0xC00102B3, 0x1B0,  # IA32_HWP_REQUEST, AMD's CPPC_REQ, IA32_ENERGY_PERF_BIAS: as the first OS had them
    0x17A,  # IA32_MCG_STATUS: 0, after a machine check
}

# What may be written to those that hold a physical address.
VALUES = {
    0x1B: lambda value: value >> 12 == 0xFEE00,
    0xC0010117: lambda value: value == 0,
}
# A register that every kernel writes on each of its CPUs: IA32_SYSENTER_CS.
ALWAYS_WRITTEN = 0x174
LOW_END = 640 << 10


def reserved(append):
    """The ranges of memory that a command line of the first OS keeps for successors."""
    shift = {"K": 10, "M": 20, "G": 30}
    for length, unit, start, start_unit in re.findall(r"memmap=(\d+)([KMG])\$(\d+)([KMG])", append):
        start = int(start) << shift[start_unit]
        yield range(start, start + (int(length) << shift[unit]))


class MsrWatcher:
    """Checks that successors keep to the registers of the lists."""

    LINE = re.compile(r"(read|write) msr=(0x[0-9a-f]+)(?: value=(0x[0-9a-f]+))? pc=(0x[0-9a-f]+) cr3=(0x[0-9a-f]+)$")

    def __init__(self, folder, append):
        plugin = folder / "msr_watch.so"
        self.log = folder / "msr.log"
        ranges = list(reserved(append))
        self.low = [part for part in ranges if part.stop <= LOW_END]
        self.high = [part for part in ranges if part.stop > LOW_END]
        compile_c(plugin, SOURCE / "tools/testing/qemu/msr_watch.c", "-shared", "-fPIC")
        self.arguments = ("-plugin", f"{plugin},log={self.log}")

    def who(self, pc, cr3):
        """Who executes the instruction at `pc`; None if that is the first OS.

        A kernel's page table lies in its own RAM. Without paging the kernel's code does. Below 640 KiB
        runs Mint's code, and later the kernel's own trampoline.
        """
        if any(pc in part for part in self.low):
            return "code in low memory"
        if any(cr3 in part or pc in part for part in self.high):
            return "kernel"
        return None

    @staticmethod
    def may_have(msr, value):
        return msr not in VALUES or VALUES[msr](value)

    def results(self, strays=()):
        """Checks the log; yields (passed, name of the test).

        `strays` are registers that the script has had a successor write on purpose: these writes must be
        seen.
        """
        done = {"read": Counter(), "write": Counter()}
        foreign = Counter()
        with self.log.open() as log:
            for line in log:
                found = self.LINE.match(line)
                if not found:
                    foreign[line.strip()] += 1
                    continue
                what, msr, value = found[1], int(found[2], 16), found[3]
                who = self.who(int(found[4], 16), int(found[5], 16))
                if not who:
                    continue
                done[what][msr] += 1
                known = msr in WRITTEN or what == "read" and msr in READ or who != "kernel" and msr in MINT
                if not known or value and not self.may_have(msr, int(value, 16)):
                    foreign[f"{what} of {msr:#x} by the {who}"] += 1
        yield done["write"][ALWAYS_WRITTEN] > 0, f"successors were seen to write {ALWAYS_WRITTEN:#x}"
        for stray in strays:
            yield (foreign.pop(f"write of {stray:#x} by the kernel", 0) > 0,
                   f"it is seen what was done on purpose: a write of {stray:#x}")
        told = [f"{what}: {count} times" for what, count in foreign.most_common(9)]
        yield not foreign, f"no successor touched an MSR that is not listed {told or ''}"
