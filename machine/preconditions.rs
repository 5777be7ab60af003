// SPDX-License-Identifier: GPL-2.0

//! Checks of the machine, of how the first OS was booted, and of the caller's permissions.

use crate::linux::errno::EOPNOTSUPP;
use crate::{
    linux::kernel_mount::KernelMount,
    memory::kernel_params::{memparse, params},
};
use core::ptr::addr_of;
use kernel::{bindings, prelude::*, str::CString};

/// COMMAND_LINE_SIZE of `arch/x86/include/asm/setup.h`.
pub(crate) const COMMAND_LINE_SIZE: usize = 2048;

/// Checks the machine, and how the first OS was booted; `cmdline` is its command line.
///
/// # Errors
///
/// `EOPNOTSUPP` if Mint can't work on the machine, `EPERM` if the first OS must be booted with
/// other parameters. The log says what to do.
pub(crate) fn check_machine(cmdline: &str) -> Result {
    if is_memory_encrypted() {
        pr_err!("memory encryption (SME, SEV, TDX) is on: successors could not read what is copied for them; boot with mem_encrypt=off\n");
        return Err(EOPNOTSUPP.into());
    }
    // The kernel uses the last such parameter, and takes any number but 0 for true
    // (apic_ipi_shorthand(), arch/x86/kernel/apic/ipi.c).
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
    // SAFETY: The function only reads flags that are set at boot.
    unsafe { bindings::cc_platform_has(bindings::cc_attr_CC_ATTR_MEM_ENCRYPT) }
}

#[cfg(not(CONFIG_ARCH_HAS_CC_PLATFORM))]
fn is_memory_encrypted() -> bool {
    false
}

/// Returns the frequency of the TSC in kHz.
pub(crate) fn tsc_khz() -> u32 {
    // SAFETY: `tsc_khz` is an integer that does not change after calibration at boot.
    unsafe { *addr_of!(bindings::tsc_khz) }
}

/// Checks that the caller may start another kernel, with the checks of kexec_load(2).
///
/// # Errors
///
/// `EPERM`, and the log says why; those of [`KernelMount::procfs`].
pub(crate) fn check_caller() -> Result {
    if !capable_sys_boot() {
        return Err(EPERM);
    }
    // SAFETY: The function only asks the security modules, which log a refusal.
    kernel::error::to_result(unsafe {
        bindings::security_locked_down(bindings::lockdown_reason_LOCKDOWN_KEXEC)
    })?;
    match kexec_sysctl(&KernelMount::procfs()?, c"sys/kernel/kexec_load_disabled")? {
        0 => Ok(()),
        _ => {
            pr_err!(
                "kernel.kexec_load_disabled is set: no kernel may be started until the next boot\n"
            );
            Err(EPERM)
        }
    }
}

/// Counts a load, as kexec_load(2) does: `kernel.kexec_load_limit_reboot` is how many are left, or
/// -1 if their number is not limited.
///
/// # Errors
///
/// `EPERM` if none is left, or if the caller may not write the sysctl, and the log says why; those
/// of [`KernelMount::procfs`].
pub(crate) fn count_load() -> Result {
    const LIMIT: &CStr = c"sys/kernel/kexec_load_limit_reboot";
    let procfs = KernelMount::procfs()?;
    let mut left = kexec_sysctl(&procfs, LIMIT)?;
    while left > 0 {
        // The kernel accepts only a value below the present one (kexec_limit_handler(),
        // kernel/kexec_core.c). So this fails if somebody else has counted a load meanwhile.
        let value = CString::try_from_fmt(fmt!("{}", left - 1))?;
        let Err(error) = procfs.write_text(LIMIT, &value) else {
            return Ok(());
        };
        let now = kexec_sysctl(&procfs, LIMIT)?;
        if error != EINVAL || now >= left {
            pr_err!(
                "can't count a load (error {}): let root write kernel.kexec_load_limit_reboot, from a process that no security policy confines\n",
                error.to_errno()
            );
            return Err(EPERM);
        }
        left = now;
    }
    if left == 0 {
        pr_err!(
            "kernel.kexec_load_limit_reboot is 0: no kernel may be loaded until the next boot\n"
        );
        return Err(EPERM);
    }
    Ok(())
}

/// Returns the value of a sysctl of kexec, which is at `path` in `procfs`.
fn kexec_sysctl(procfs: &KernelMount, path: &CStr) -> Result<i32> {
    let mut buffer = [0; 16];
    procfs
        .read_text(path, &mut buffer)
        .and_then(|text| text.parse().map_err(|_| EINVAL))
        .map_err(|error| {
            pr_err!(
                "can't tell whether kernels may be started (error {}): boot a first OS with kexec, and let the caller read /proc/{}\n",
                error.to_errno(),
                path
            );
            EPERM
        })
}

/// Returns whether the caller has CAP_SYS_BOOT.
pub(crate) fn capable_sys_boot() -> bool {
    // SAFETY: `capable()` checks the current task, and the number is a valid capability.
    unsafe { bindings::capable(bindings::CAP_SYS_BOOT as c_int) }
}
