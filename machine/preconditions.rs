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
    if let Some((hypervisor, page)) = shared_guest_page() {
        pr_err!("the first OS is a guest of {hypervisor}: a successor would take its {page} from it; use a machine or a virtual machine without {hypervisor}\n");
        return Err(EOPNOTSUPP.into());
    }
    if is_started_by_tboot() {
        pr_err!("the first OS was started by tboot: with Intel TXT, CPUs don't answer the INIT that stops a successor; boot without tboot\n");
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
    // Only a warning: a watchdog that runs late, as in a virtual machine on a busy host, makes the
    // kernel distrust a TSC that is good.
    // SAFETY: The function only reads a flag.
    if unsafe { bindings::check_tsc_unstable() } != 0 {
        pr_warn!("the first OS found the TSC unstable (its log says why), but it is the only clock of a successor: the time there may jump\n");
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

/// Returns the name of the hypervisor that the first OS is a guest of, and of its page in the first
/// OS's memory, if there can be only one such page in a virtual machine. A successor would find the
/// hypervisor by CPUID, and replace the page by one of its own (`hyperv_init()` in
/// `arch/x86/hyperv/hv_init.c`, `xen_hvm_init_shared_info()` in `arch/x86/xen/enlighten_hvm.c`).
#[cfg(CONFIG_HYPERVISOR_GUEST)]
fn shared_guest_page() -> Option<(&'static str, &'static str)> {
    // enum x86_hypervisor_type, arch/x86/include/asm/hypervisor.h
    const X86_HYPER_MS_HYPERV: c_uint = 2;
    const X86_HYPER_XEN_PV: c_uint = 3;
    const X86_HYPER_XEN_HVM: c_uint = 4;
    extern "C" {
        static x86_hyper_type: c_uint;
    }
    // SAFETY: `x86_hyper_type` is an integer that does not change after boot.
    match unsafe { x86_hyper_type } {
        X86_HYPER_MS_HYPERV => Some(("Hyper-V", "hypercall page")),
        X86_HYPER_XEN_PV | X86_HYPER_XEN_HVM => Some(("Xen", "shared information page")),
        _ => None,
    }
}

#[cfg(not(CONFIG_HYPERVISOR_GUEST))]
fn shared_guest_page() -> Option<(&'static str, &'static str)> {
    None
}

/// Returns whether tboot has started the first OS in a measured environment (Intel TXT). The kernel
/// doesn't tell modules (`tboot_enabled()`), but its boot parameters do.
fn is_started_by_tboot() -> bool {
    /// Offset of `tboot_addr` in `struct boot_params`, arch/x86/include/uapi/asm/bootparam.h.
    const TBOOT_ADDR: usize = 0x58;
    let mut start = [0; TBOOT_ADDR + size_of::<u64>()];
    KernelMount::sysfs()
        .and_then(|sysfs| sysfs.read_bytes(c"kernel/boot_params/data", &mut start))
        .is_ok_and(|start| start.iter().skip(TBOOT_ADDR).any(|&byte| byte != 0))
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
