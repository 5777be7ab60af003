// SPDX-License-Identifier: GPL-2.0

//! The command line of a successor: the parameters that a person gave, and those that keep the
//! kernel off shared hardware.
//!
//! Each parameter that Mint adds keeps the kernel off something that it would share with the other
//! systems. If the person's command line contradicts such a parameter, Mint refuses it rather than
//! overriding it: the kernel gets what the person wrote.

use crate::image::kernel_image::Mode;
use crate::memory::kernel_params::{params, strtoull, Param};
use core::fmt::{self, Write};

/// Facts about the machine, the kernel and the OS's configuration that the added parameters depend
/// on.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The frequency of the TSC in kHz.
    pub tsc_khz: u32,
    /// The I/O port of the successor's own serial port, if it has one.
    pub console: Option<u16>,
    /// Whether the successor has PCI host bridges.
    pub pci: bool,
    /// Whether the kernel supports EFI, its only way to be reset alone.
    pub efi: bool,
    /// The CPU mode in which the kernel is entered: [`Mode::Protected`] means a 32-bit kernel.
    pub mode: Mode,
}

/// The command line that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Length of the command line without the terminating zero.
    pub len: usize,
    /// Whether the person wants Mint to restart the successor after a panic.
    pub restarts_on_panic: bool,
}

/// Why a command line can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// A parameter that the person gave would break the isolation of the systems.
    Conflict {
        /// The parameter, as written.
        given: &'a str,
        /// The reason.
        why: &'static str,
    },
    /// The whole command line is too long; this is the maximum length in bytes.
    TooLong(usize),
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Conflict { given, why } => {
                write!(f, "cmdline: '{given}' can't be used: {why}; remove it")
            }
            Error::TooLong(max) => write!(
                f,
                "cmdline: with the parameters added to it, it is longer than {max} bytes; shorten it"
            ),
        }
    }
}

/// Parameters that are refused for each successor, and the reason.
const REFUSED: &[(&str, &str)] = &[
    ("memmap", "the memory map is made from 'memory'"),
    ("acpi", "the ACPI tables tell it which CPUs are its own"),
    ("acpi_rsdp", "the ACPI tables are made for it"),
    ("noapic", "it has no other interrupt controller"),
    ("nolapic", "its CPUs need their local APICs"),
    ("disableapic", "its CPUs need their local APICs"),
    ("apic", "the APIC driver decides whom its IPIs reach"),
    (
        "noefi",
        "without EFI a reboot in it resets the whole machine",
    ),
    ("hpet", "the HPET is the first OS's"),
    ("i8042.nopnp", "the keyboard controller is the first OS's"),
    ("kgdboc", "it would write to a port of the first OS"),
    ("bootconfig", "parameters in the initrd can't be checked"),
    // An old name of 8250.nr_uarts, which some kernels still accept.
    (
        "8250_core.nr_uarts",
        "the other serial ports are not its own",
    ),
    (
        "earlyprintk",
        "it would write to a port of the first OS; with 'console' there is an early console",
    ),
];

/// Options of `pci=` that a successor with PCI host bridges may have. They only change how the
/// kernel treats its own devices (`pci_setup()` in `drivers/pci/pci.c`, `pcibios_setup()` in
/// `arch/x86/pci/common.c`). Some of the other options re-enable access by [`PCI_PORTS`] (conf1,
/// bios), some move devices to addresses that belong to other systems (nocrs, assign-busses), and
/// some leave the successor without devices (off, nomsi, nommconf, nodomains).
const PCI_OPTIONS: &[&str] = &[
    "noearly",
    "nobios",
    "earlydump",
    "noaer",
    "noari",
    "noats",
    "nobar",
    "norom",
];

/// The PCI configuration ports and their number, in the syntax of `reserve=`.
const PCI_PORTS: &str = "0xcf8,8";

/// Refused parameters that the decompressor reads: `console_init()` in
/// `arch/x86/boot/early_serial_console.c`, `get_cmdline_acpi_rsdp()` in
/// `arch/x86/boot/compressed/acpi.c`, `parse_mem_encrypt()` in `arch/x86/boot/compressed/misc.c`
/// (in 6.1 `sme_enable()`, which parses the line in the same way).
const DECOMPRESSOR: &[&str] = &["acpi_rsdp", "console", "earlyprintk", "mem_encrypt"];

/// The delay between a panic and the reboot; [`PANIC_AT_ONCE`] means none. Mint sets the sysctl
/// rather than `panic=`, since the kernel applies sysctl parameters only when it starts init.
/// Before the EFI runtime services are set up, `efi_reboot()` has no effect, and the next method
/// that the kernel tries resets the whole machine (`native_machine_emergency_restart()`).
const PANIC: &str = "sysctl.kernel.panic";
const PANIC_AT_ONCE: i32 = -1;

/// I/O ports, as start and length, that drivers can't request: the configuration ports of a Super
/// I/O chip, at two possible places, an index and a data register each. If a UART is a 16550A, a
/// kernel with `CONFIG_SERIAL_8250_FINTEK` writes to both places to see whether it belongs to a
/// Fintek chip (`fintek_8250_enter_key()`). `reserve_setup()` in `kernel/resource.c` accepts four
/// ranges in all, the first that it meets.
const RESERVED_PORTS: &str = "0x2e,2,0x4e,2";

/// Initcalls that the kernel must skip, of modules as well. A kernel ignores names that it does not
/// have.
///
/// - `add_pcspkr()` makes the device of the PC speaker, whose driver writes to ports 0x42, 0x43
///   and 0x61.
/// - `i8237A_init_ops()` reads port 0x87 to see whether there is a DMA controller.
/// - `print_s5_reset_status_mmio()` reads from the chipset why an AMD machine was last reset, and
///   clears that.
/// - `sgx_init()` finds the machine's whole enclave memory (EPC) by CPUID, and removes each page
///   from the enclave that it belongs to.
/// - `thermal_throttle_init_device()` gives each package a page of the kernel for hardware feedback
///   (HFI), to which the package then writes, and handles interrupts that the whole package gets.
/// - `pkg_temp_thermal_init()` (module `x86_pkg_temp_thermal`) sets thresholds for these interrupts.
/// - `resctrl_late_init()` (6.1, 6.12) or `resctrl_arch_late_init()` (7.3) resets the cache masks
///   and bandwidth limits that all CPUs of a cache share.
/// - `intel_epb_init()` changes an energy bias of 0, which CPUs of the first OS may share.
/// - `itmt_legacy_init()` sends commands to a mailbox of the package.
/// - `intel_rapl_msr_driver_init()` (6.1, 6.12) or `intel_rapl_msr_init()` (7.3), of the module
///   `intel_rapl_msr`, turns off the package's power limits when the module is unloaded.
/// - `intel_uncore_init()` resets the package's performance counters (module `intel_uncore`), or
///   changes the limits of its uncore frequency (module `intel_uncore_frequency`).
/// - `pmc_core_platform_init()` (module `intel_pmc_core_pltdrv`) makes a device of the machine's
///   power management controller.
const BLACKLISTED_INITCALLS: &str =
    "add_pcspkr,i8237A_init_ops,print_s5_reset_status_mmio,sgx_init,\
     thermal_throttle_init_device,pkg_temp_thermal_init,resctrl_late_init,resctrl_arch_late_init,\
     intel_epb_init,itmt_legacy_init,intel_rapl_msr_driver_init,intel_rapl_msr_init,\
     intel_uncore_init,pmc_core_platform_init";

/// The length of a console's name that the decompressor reads (`parse_console_uart8250()`).
const CONSOLE_LEN: usize = 64;

/// Writes the command line and its terminating zero into `out`. `limit` is the maximum length that
/// the kernel supports.
///
/// # Errors
///
/// [`Error::Conflict`] or [`Error::TooLong`]; the contents of `out` are then undefined.
pub fn write<'a>(
    given: &'a str,
    facts: &Facts,
    limit: usize,
    out: &mut [u8],
) -> Result<Written, Error<'a>> {
    for param in params(given).chain(decompressor_params(given)) {
        refuse_foreign(&param, facts.console)?;
    }
    let panic = panic_timeout(given, facts.efi)?;
    let mut line = Line {
        given,
        max: limit.min(out.len().saturating_sub(1)),
        out,
        len: 0,
    };
    match facts.mode {
        // Otherwise IPIs to all CPUs (reboot, panic, stop_machine) use the broadcast shorthand.
        Mode::Long => line.own(
            "no_ipi_broadcast",
            format_args!("1"),
            "broadcast IPIs would reach the other systems' CPUs",
        )?,
        Mode::Protected => line.own_of_32_bit()?,
    }
    line.own(
        "tsc_early_khz",
        format_args!("{}", facts.tsc_khz),
        "the PIT to calibrate by is the first OS's, and the frequency is known",
    )?;
    line.own(
        "tsc",
        format_args!("reliable"),
        "no other clock is its own to check the TSC against",
    )?;
    if facts.pci {
        line.own_of_pci(facts.mode)?;
    } else {
        line.own(
            "pci",
            format_args!("off"),
            "the PCI configuration ports are the first OS's",
        )?;
    }
    // In VMX root operation a CPU blocks INIT, which Mint needs to stop it. KVM since 6.12 would
    // enter VMX root operation when its module is loaded rather than when a virtual machine starts.
    line.own(
        "kvm.enable_virt_at_load",
        format_args!("0"),
        "its CPUs could not be stopped",
    )?;
    // Both lists are added to those that the person gives; a parameter can't undo them.
    line.push(format_args!("reserve={RESERVED_PORTS}"))?;
    line.push(format_args!("initcall_blacklist={BLACKLISTED_INITCALLS}"))?;
    // Or intel_pstate would turn HWP on for the whole package. Where the first OS has done so, the
    // driver ignores this, and no other option undoes it (intel_pstate_init(), intel_pstate_setup()).
    line.push(format_args!("intel_pstate=no_hwp"))?;
    // Overrides CONFIG_PANIC_TIMEOUT; see PANIC.
    line.push(format_args!("panic=0"))?;
    line.own(
        "8250.nr_uarts",
        format_args!("{}", u8::from(facts.console.is_some())),
        "the other serial ports are not its own",
    )?;
    if let Some(port) = facts.console {
        // Named by its port: ttyS0 is the PC's first serial port until ACPI has reported this one
        // (univ8250_console_setup()). Then this port becomes ttyS0.
        if !params(given).any(|param| param.is("console") && is_console_on_port(&param)) {
            line.push(format_args!("console=uart8250,io,{port:#x},115200"))?;
        }
    }
    if facts.efi {
        // Mint recognizes the reset after a panic by its type, warm (mailbox.rs). Naming EFI also
        // keeps `efi_reboot_required()` from making all resets warm.
        line.own(
            "reboot",
            format_args!("efi,panic_warm"),
            "another way would reset the whole machine, or look like a panic",
        )?;
        // Some kernels disable the runtime services by default (CONFIG_EFI_DISABLE_RUNTIME,
        // real-time kernels).
        line.push(format_args!("efi=runtime"))?;
        match panic {
            Some(0) => {}
            timeout => line.push(format_args!("{PANIC}={}", timeout.unwrap_or(PANIC_AT_ONCE)))?,
        }
    }
    // Everything that the person gave, except panic timeouts, which the sysctl above has replaced.
    let mut rest = given;
    for param in params(given).filter(|param| is_panic(param)) {
        let start = param.text.as_ptr() as usize - rest.as_ptr() as usize;
        line.push_given(rest[..start].trim_end_matches(' '))?;
        rest = &rest[start + param.text.len()..];
    }
    line.push_given(rest)?;
    line.out[line.len] = 0;
    Ok(Written {
        len: line.len,
        restarts_on_panic: panic.is_some_and(|timeout| timeout != 0),
    })
}

fn is_panic(param: &Param<'_>) -> bool {
    // process_sysctl_arg() (fs/proc/proc_sysctl.c) accepts both separators, and several in a row.
    let sysctl = param.name.split(['.', '/']).filter(|part| !part.is_empty());
    param.is("panic") || sysctl.eq(["sysctl", "kernel", "panic"])
}

/// Returns the panic timeout that the person gave, if any: 0 means no restart, anything else means
/// a restart.
fn panic_timeout(given: &str, efi: bool) -> Result<Option<i32>, Error<'_>> {
    let Some(param) = params(given).filter(is_panic).last() else {
        return Ok(None);
    };
    let conflict = |why| Error::Conflict {
        given: param.text,
        why,
    };
    let timeout = param
        .value
        .and_then(|value| value.parse().ok())
        .ok_or(conflict("it takes a number of seconds"))?;
    if timeout != 0 && !efi {
        return Err(conflict(
            "the kernel knows no EFI, so that its reboot would reset the whole machine",
        ));
    }
    Ok(Some(timeout))
}

/// Returns the parameters that the kernel's decompressor would see. It parses the line by itself,
/// and knows neither quotes nor `--` (`__cmdline_find_option()` in `arch/x86/boot/cmdline.c`).
fn decompressor_params(line: &str) -> impl Iterator<Item = Param<'_>> {
    line.split(|c| c <= ' ').filter_map(|text| {
        let (name, value) = text.split_once('=')?;
        let param = Param {
            name,
            value: Some(value),
            text,
        };
        // It supports only consoles that are named by their address.
        let known =
            DECOMPRESSOR.contains(&name) && (name != "console" || is_console_on_port(&param));
        known.then_some(param)
    })
}

/// Refuses the parameters in [`REFUSED`], encrypted memory, and a console on another port than
/// `own`.
fn refuse_foreign<'a>(param: &Param<'a>, own: Option<u16>) -> Result<(), Error<'a>> {
    let conflict = |why| Error::Conflict {
        given: param.text,
        why,
    };
    if let Some((_, why)) = REFUSED.iter().find(|(name, _)| param.is(name)) {
        return Err(conflict(why));
    }
    let value = param.value.unwrap_or("");
    if param.is("efi") && value.split(',').any(|option| option == "noruntime") {
        return Err(conflict(
            "without EFI a reboot in it resets the whole machine",
        ));
    }
    // Nothing writes back the caches of a CPU when it is stopped.
    if param.is("mem_encrypt") && value != "off" {
        return Err(conflict(
            "its encrypted data in the caches could overwrite other data once it is stopped",
        ));
    }
    // A bare number means a ttyS as well (console_setup()).
    let is_by_number = value.starts_with("ttyS") || value.starts_with(|c: char| c.is_ascii_digit());
    if param.is("console") && is_by_number {
        return Err(conflict(
            "until its own port is found, that is the first OS's; 'console' makes it the console",
        ));
    }
    if !is_console_on_port(param) {
        return Ok(());
    }
    // `uart8250,io,PORT[,OPTIONS]`; see "earlycon=" in kernel-parameters.txt.
    let port = value
        .strip_prefix("uart8250,io,")
        .or(value.strip_prefix("uart,io,"))
        .and_then(strtoull)
        .map(|(port, _)| port);
    match port {
        Some(port) if value.len() < CONSOLE_LEN && Some(port) == own.map(u64::from) => Ok(()),
        _ => Err(conflict("that is not the port in 'console'")),
    }
}

/// Returns whether `param` names a serial port by its address to make it a console.
fn is_console_on_port(param: &Param<'_>) -> bool {
    param.is("earlycon")
        || (param.is("console") && param.value.is_some_and(|value| value.starts_with("uart")))
}

/// The command line being written to `out`; at most `max` bytes.
struct Line<'a, 'b> {
    given: &'a str,
    out: &'b mut [u8],
    len: usize,
    max: usize,
}

impl<'a> Line<'a, '_> {
    /// Adds the parameters that only a 32-bit kernel gets.
    fn own_of_32_bit(&mut self) -> Result<(), Error<'a>> {
        // Address IPIs by APIC ID. By default a 32-bit kernel addresses them by logical IDs, which
        // count from each system's own CPU 0, whatever the FADT says (`apic_default` in
        // arch/x86/kernel/apic/probe_32.c).
        self.push(format_args!("apic=bigsmp"))?;
        // The bigsmp driver never uses shorthands, but lacks `send_IPI_mask_allbutself()`. The
        // kernel would call that null pointer with `no_ipi_broadcast=1`, or if some CPUs never come
        // up (`apic_send_IPI_allbutself()`).
        self.own(
            "no_ipi_broadcast",
            format_args!("0"),
            "a 32-bit kernel with several CPUs would crash when it reboots",
        )?;
        if let Some(param) = params(self.given).find(|param| param.is("maxcpus")) {
            return Err(Error::Conflict {
                given: param.text,
                why: "a 32-bit kernel would crash when it reboots; give it fewer 'cpus'",
            });
        }
        // ISA Plug and Play would write to I/O ports of the first OS (`isapnp_isolate()`).
        self.push(format_args!("noisapnp"))
    }

    /// Adds the parameters of a kernel with PCI host bridges, so that it accesses only the
    /// configuration space of its own devices, by ECAM.
    fn own_of_pci(&mut self, mode: Mode) -> Result<(), Error<'a>> {
        let is_allowed = |param: &Param<'_>| {
            let mut options = param.value.unwrap_or("").split(',');
            options.all(|option| PCI_OPTIONS.contains(&option))
        };
        let mut given = params(self.given).filter(|param| param.is("pci"));
        if let Some(param) = given.find(|param| !is_allowed(param)) {
            return Err(Error::Conflict {
                given: param.text,
                why: "it would reach beyond the PCI devices that are its own, or lose them",
            });
        }
        // Disables `early_pci_allowed()` (arch/x86/pci/early.c), and the PCI BIOS, which 32-bit
        // kernels would call (`pci_pcbios_init()` in arch/x86/pci/pcbios.c).
        self.push(match mode {
            Mode::Long => format_args!("pci=noearly"),
            Mode::Protected => format_args!("pci=noearly,nobios"),
        })?;
        // With the ports reserved, `pci_direct_probe()` (arch/x86/pci/direct.c) can't request them.
        // The first `reserve=` of a port counts, and this one comes first (`reserve_setup()` in
        // kernel/resource.c).
        self.push(format_args!("reserve={PCI_PORTS}"))
    }

    /// Adds `name=value`, unless the person gave exactly that. Fails if they gave another value;
    /// `why` is the reason in the error.
    fn own(
        &mut self,
        name: &'static str,
        value: fmt::Arguments<'_>,
        why: &'static str,
    ) -> Result<(), Error<'a>> {
        let before = self.len;
        self.push(format_args!("{name}={value}"))?;
        let ours = self.out[before..self.len].trim_ascii_start();
        let ours = &ours[name.len() + 1..];
        let mut given = params(self.given).filter(|param| param.is(name)).peekable();
        if given.peek().is_some() {
            if let Some(other) = given.find(|param| param.value.map(str::as_bytes) != Some(ours)) {
                return Err(Error::Conflict {
                    given: other.text,
                    why,
                });
            }
            self.len = before;
        }
        Ok(())
    }

    /// Adds text that the person gave, unless it is only spaces. Keeps spaces at its end, which may
    /// be part of a quoted value that is not closed.
    fn push_given(&mut self, text: &str) -> Result<(), Error<'a>> {
        match text.trim_start_matches(' ') {
            "" => Ok(()),
            text => self.push(format_args!("{text}")),
        }
    }

    /// Adds `text`, with a space before it unless it is the first.
    fn push(&mut self, text: fmt::Arguments<'_>) -> Result<(), Error<'a>> {
        let space = if self.len > 0 { " " } else { "" };
        write!(self, "{space}{text}").map_err(|fmt::Error| Error::TooLong(self.max))
    }
}

impl Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        if end > self.max {
            return Err(fmt::Error);
        }
        self.out[self.len..end].copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
