// SPDX-License-Identifier: GPL-2.0

//! What must hold for the machine, for the first OS, and for whoever asks.

use crate::linux::errno::EOPNOTSUPP;
use crate::{
    linux::file::read_text,
    memory::kernel_params::{memparse, params},
};
use core::ptr::addr_of;
use kernel::{bindings, prelude::*};

/// COMMAND_LINE_SIZE of `arch/x86/include/asm/setup.h`.
pub(crate) const COMMAND_LINE_SIZE: usize = 2048;

/// Checks the machine and how the first OS, whose command line is `cmdline`, was booted.
///
/// # Errors
///
/// `EOPNOTSUPP` if it can't be, `EPERM` if the first OS must be booted in another way. The log
/// says what to do.
pub(crate) fn check_machine(cmdline: &str) -> Result {
    if is_memory_encrypted() {
        pr_err!("memory encryption (SME, SEV, TDX) is on: successors could not read what is copied for them; boot with mem_encrypt=off\n");
        return Err(EOPNOTSUPP.into());
    }
    // The kernel takes the last one, and any number but 0 (apic_ipi_shorthand(),
    // arch/x86/kernel/apic/ipi.c).
    let no_broadcast = params(cmdline)
        .filter(|param| param.is("no_ipi_broadcast"))
        .last()
        .and_then(|param| memparse(param.value?))
        .is_some_and(|(number, _)| number != 0);
    if !no_broadcast {
        pr_err!("the first OS would send IPIs to all CPUs of the machine, successors' as well: boot it with no_ipi_broadcast=1\n");
        return Err(EPERM);
    }
    if tsc_khz() == 0 {
        pr_err!("the TSC's frequency is unknown, and it is the only clock of a successor\n");
        return Err(EOPNOTSUPP.into());
    }
    Ok(())
}

#[cfg(CONFIG_ARCH_HAS_CC_PLATFORM)]
fn is_memory_encrypted() -> bool {
    // SAFETY: It only reads flags.
    unsafe { bindings::cc_platform_has(bindings::cc_attr_CC_ATTR_MEM_ENCRYPT) }
}

#[cfg(not(CONFIG_ARCH_HAS_CC_PLATFORM))]
fn is_memory_encrypted() -> bool {
    false
}

/// The frequency of the TSC in kHz.
pub(crate) fn tsc_khz() -> u32 {
    // SAFETY: A plain number that is constant once it was calibrated.
    unsafe { *addr_of!(bindings::tsc_khz) }
}

/// Checks that whoever calls may start another kernel: what kexec_load(2) would check.
///
/// # Errors
///
/// `EPERM`; the log says why.
pub(crate) fn check_caller() -> Result {
    if !capable_sys_boot() {
        return Err(EPERM);
    }
    // SAFETY: It only asks the security modules, which log a refusal.
    kernel::error::to_result(unsafe {
        bindings::security_locked_down(bindings::lockdown_reason_LOCKDOWN_KEXEC)
    })?;
    let mut buffer = [0; 16];
    match read_text(c"/proc/sys/kernel/kexec_load_disabled", &mut buffer) {
        Ok("0") => Ok(()),
        Ok(_) => {
            pr_err!(
                "kernel.kexec_load_disabled is set: no kernel may be started until the next boot\n"
            );
            Err(EPERM)
        }
        Err(error) => {
            pr_err!(
                "can't tell whether kernels may be started (error {}): mount /proc, and boot a first OS with kexec\n",
                error.to_errno()
            );
            Err(EPERM)
        }
    }
}

/// Whether the caller has CAP_SYS_BOOT.
pub(crate) fn capable_sys_boot() -> bool {
    // SAFETY: Asks about the current task.
    unsafe { bindings::capable(bindings::CAP_SYS_BOOT as c_int) }
}
