// SPDX-License-Identifier: GPL-2.0

//! What CPUID and the model-specific registers of CPUs say.

use core::arch::x86_64::{CpuidResult, __cpuid};
use kernel::{bindings, cpu::CpuId, error::to_result};

/// Returns a leaf of CPUID, or zeros if the CPU does not have it. The CPUs of a machine have the
/// same ones.
pub(crate) fn leaf(number: u32) -> CpuidResult {
    // SAFETY: CPUID only returns information, and every 64-bit CPU has it.
    let cpuid = |number| unsafe { __cpuid(number) };
    if number > cpuid(number & 0x8000_0000).eax {
        return CpuidResult {
            eax: 0,
            ebx: 0,
            ecx: 0,
            edx: 0,
        };
    }
    cpuid(number)
}

/// Returns the value of an MSR of `cpu`, if the CPU is online and has the MSR.
///
/// # Safety
///
/// Reading the MSR must have no side effect.
pub(crate) unsafe fn rdmsr(cpu: CpuId, msr: u32) -> Option<u64> {
    let mut value = 0;
    // SAFETY: `value` is valid for writing. The caller guarantees that reading the MSR has no side
    // effect, and the function catches the exception if there is no such MSR.
    to_result(unsafe { bindings::rdmsrq_safe_on_cpu(cpu.as_u32(), msr, &mut value) }).ok()?;
    Some(value)
}
