// SPDX-License-Identifier: GPL-2.0

//! What the first OS has left in the MSRs of a CPU that an OS takes: the performance that it asks
//! for, above all. The first OS asks for the lowest when the CPU goes offline, and INIT keeps that.
//! So the state is read before, and restored for the OS.

use crate::linux::cpu_registers::{self, leaf};
use kernel::cpu::CpuId;

// MSRs of the Intel SDM, volume 4.
const IA32_MCG_CAP: u32 = 0x179;
const IA32_ENERGY_PERF_BIAS: u32 = 0x1b0;
const IA32_PM_ENABLE: u32 = 0x770;
const IA32_HWP_REQUEST: u32 = 0x774;
// MSRs of AMD, arch/x86/include/asm/msr-index.h.
const AMD_PERF_CTL: u32 = 0xc001_0062;
const AMD_CPPC_ENABLE: u32 = 0xc001_02b1;
const AMD_CPPC_REQ: u32 = 0xc001_02b3;

/// IA32_MCG_CAP: the banks have registers IA32_MCi_CTL2.
const MCG_CMCI_P: u64 = 1 << 10;
/// IA32_PM_ENABLE, AMD_CPPC_ENABLE: the request counts.
const ENABLED: u64 = 1 << 0;
/// IA32_ENERGY_PERF_BIAS: the bias.
const BIAS: u64 = 0xf;
/// AMD_PERF_CTL: the P-state with the highest performance.
const P0: u32 = 0;

// Bits of CPUID (Intel SDM volume 2, "CPUID"; AMD APM volume 3, appendix E).
/// Leaf 1, EDX: machine-check architecture.
const MCA: u32 = 1 << 14;
/// Leaf 6, EAX: hardware-controlled performance states.
const HWP: u32 = 1 << 7;
/// Leaf 6, ECX: IA32_ENERGY_PERF_BIAS.
const EPB: u32 = 1 << 3;
/// Leaf 0x80000007, EDX: hardware P-state control.
const HW_PSTATE: u32 = 1 << 7;
/// Leaf 0x80000008, EBX: collaborative processor performance control.
const CPPC: u32 = 1 << 27;

/// The state of a CPU.
pub(crate) struct CpuState {
    /// The MSR with the request for performance, and its low half.
    pub(crate) request: Option<(u32, u32)>,
    /// The energy-performance bias.
    pub(crate) bias: Option<u8>,
    /// Whether its machine-check banks can interrupt (CMCI).
    pub(crate) has_cmci: bool,
}

impl CpuState {
    /// Reads the state of `cpu`, which must be online in the first OS. An MSR that can't be read
    /// counts as missing.
    pub(crate) fn of(cpu: CpuId) -> Self {
        let power = leaf(6);
        let is_on = |msr| rdmsr(cpu, msr).is_some_and(|value| value & ENABLED != 0);
        let request = |msr| rdmsr(cpu, msr).map(|value| (msr, value as u32));
        let has_cppc = leaf(0x8000_0008).ebx & CPPC != 0;
        CpuState {
            request: if power.eax & HWP != 0 && is_on(IA32_PM_ENABLE) {
                request(IA32_HWP_REQUEST)
            } else if has_cppc && is_on(AMD_CPPC_ENABLE) {
                request(AMD_CPPC_REQ)
            } else if leaf(0x8000_0007).edx & HW_PSTATE != 0 {
                // The CPU may just be idle, so that the first OS asks for little.
                Some((AMD_PERF_CTL, P0))
            } else {
                None
            },
            bias: (power.ecx & EPB != 0)
                .then(|| rdmsr(cpu, IA32_ENERGY_PERF_BIAS))
                .flatten()
                .map(|value| (value & BIAS) as u8),
            has_cmci: leaf(1).edx & MCA != 0
                && rdmsr(cpu, IA32_MCG_CAP).is_some_and(|cap| cap & MCG_CMCI_P != 0),
        }
    }
}

/// Returns the value of one of the MSRs above, if `cpu` has it.
fn rdmsr(cpu: CpuId, msr: u32) -> Option<u64> {
    // SAFETY: Reading one of the MSRs above has no side effect.
    unsafe { cpu_registers::rdmsr(cpu, msr) }
}
