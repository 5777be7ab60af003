// SPDX-License-Identifier: GPL-2.0

//! The command line of a successor: what the person gave, and what it needs to keep to itself.
//!
//! Each parameter that is added keeps the kernel off something it would share with the others;
//! one that would undo that is refused rather than overridden, so that what a person writes is
//! what the kernel gets.

use crate::image::kernel_image::Mode;
use crate::memory::kernel_params::{params, strtoull, Param};
use core::fmt::{self, Write};

/// What the machine and the OS's configuration contribute to the command line.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The frequency of the TSC in kHz.
    pub tsc_khz: u32,
    /// The I/O port of the successor's own serial port, if it has one.
    pub console: Option<u16>,
    /// Whether it has PCI host bridges.
    pub pci: bool,
    /// Whether the kernel knows EFI firmware, by which alone it can be reset.
    pub efi: bool,
    /// How the kernel is entered, which tells a 32-bit one.
    pub mode: Mode,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Length of the command line without the terminating zero.
    pub len: usize,
    /// Whether the person wants the successor to be restarted when it panics.
    pub restarts_on_panic: bool,
}

/// Why a command line can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// The person's parameter undoes what keeps the systems apart.
    Conflict {
        /// The parameter, as written.
        given: &'a str,
        /// What it would break.
        why: &'static str,
    },
    /// The whole does not fit; the longest that would, in bytes.
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

/// Parameters that no successor may have, and why.
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
    // What 8250.nr_uarts was called for a while; some kernels still know it.
    (
        "8250_core.nr_uarts",
        "the other serial ports are not its own",
    ),
    (
        "earlyprintk",
        "it would write to a port of the first OS; with 'console' there is an early console",
    ),
];

/// Options of `pci=` that a successor with PCI host bridges may have: they only change what is done
/// with its own devices (`pci_setup()` in `drivers/pci/pci.c`, `pcibios_setup()` in
/// `arch/x86/pci/common.c`). Of the others, some bring back an access by [`PCI_PORTS`] (conf1, bios),
/// some put devices where they would be others' (nocrs, assign-busses), and some leave it without
/// any (off, nomsi, nommconf, nodomains).
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

/// The PCI configuration ports and how many they are, as `reserve=` takes them.
const PCI_PORTS: &str = "0xcf8,8";

/// Parameters by which the decompressor would touch what is not the successor's:
/// `console_init()` in `arch/x86/boot/early_serial_console.c`, `get_cmdline_acpi_rsdp()` in
/// `arch/x86/boot/compressed/acpi.c`.
const DECOMPRESSOR: &[&str] = &["acpi_rsdp", "console", "earlyprintk"];

/// How long a kernel waits before it asks for a reset when it panics: it does not wait. As sysctl,
/// since that counts from the start of init on: `efi_reboot()` calls nothing useful before the EFI
/// runtime services are set up, and what comes after it resets the whole machine
/// (`native_machine_emergency_restart()`).
const PANIC: &str = "sysctl.kernel.panic";
const PANIC_AT_ONCE: i32 = -1;

/// I/O ports, as start and length, that a driver is refused when it asks for them: the configuration
/// ports of a Super I/O chip, an index and a data register each. Where its UART is a 16550A, a kernel
/// with `CONFIG_SERIAL_8250_FINTEK` writes to both to see whether it is one of Fintek's
/// (`fintek_8250_enter_key()`). `reserve_setup()` in `kernel/resource.c` takes four ranges in all, the
/// first that it meets.
const RESERVED_PORTS: &str = "0x2e,2,0x4e,2";

/// Functions that the kernel is not to call when it starts. The first makes the device of the PC speaker,
/// whose driver writes to ports 0x42, 0x43 and 0x61. The second reads port 0x87, to see whether there is
/// a DMA controller. The third reads why an AMD machine was reset last, from its chipset, and clears that.
/// A kernel that does not have them takes no notice.
const BLACKLISTED_INITCALLS: &str = "add_pcspkr,i8237A_init_ops,print_s5_reset_status_mmio";

/// As much of a console's name as the decompressor reads (`parse_console_uart8250()`).
const CONSOLE_LEN: usize = 64;

/// Writes the command line and its terminating zero into `out`. `limit` is the longest that the
/// kernel takes.
///
/// # Errors
///
/// [`Error::Conflict`] and [`Error::TooLong`]; what is in `out` is then of no use.
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
        // IPIs to all (reboot, panic, stop_machine) would otherwise be sent by shorthand.
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
    // VMX root operation blocks INIT, by which its CPUs are stopped; KVM of 6.12 and later would
    // enter it when it is loaded rather than when a virtual machine runs.
    line.own(
        "kvm.enable_virt_at_load",
        format_args!("0"),
        "its CPUs could not be stopped",
    )?;
    // Both add to what the person gives: neither can be undone.
    line.push(format_args!("reserve={RESERVED_PORTS}"))?;
    line.push(format_args!("initcall_blacklist={BLACKLISTED_INITCALLS}"))?;
    // Whatever CONFIG_PANIC_TIMEOUT is; see PANIC.
    line.push(format_args!("panic=0"))?;
    line.own(
        "8250.nr_uarts",
        format_args!("{}", u8::from(facts.console.is_some())),
        "the other serial ports are not its own",
    )?;
    if let Some(port) = facts.console {
        // By its port: as ttyS0 it would be the PC's first port until ACPI has told of this one
        // (univ8250_console_setup()). It becomes ttyS0 then.
        if !params(given).any(|param| param.is("console") && is_console_on_port(&param)) {
            line.push(format_args!("console=uart8250,io,{port:#x},115200"))?;
        }
    }
    if facts.efi {
        // By its type Mint tells the reset after a panic from others (mailbox.rs). That EFI is
        // named also keeps `efi_reboot_required()` from making all of them warm.
        line.own(
            "reboot",
            format_args!("efi,panic_warm"),
            "another way would reset the whole machine, or look like a panic",
        )?;
        // Where it is off by default (CONFIG_EFI_DISABLE_RUNTIME, real-time kernels).
        line.push(format_args!("efi=runtime"))?;
        match panic {
            Some(0) => {}
            timeout => line.push(format_args!("{PANIC}={}", timeout.unwrap_or(PANIC_AT_ONCE)))?,
        }
    }
    // All but the `panic=`, which were told by the sysctl.
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
    // process_sysctl_arg() (fs/proc/proc_sysctl.c) takes both separators, and several in a row.
    let sysctl = param.name.split(['.', '/']).filter(|part| !part.is_empty());
    param.is("panic") || sysctl.eq(["sysctl", "kernel", "panic"])
}

/// What the person wants to happen when the kernel panics: nothing if 0, else a restart.
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

/// What the kernel's decompressor would take for its parameters: it reads the line for itself, and
/// knows neither quotes nor `--` (`__cmdline_find_option()` in `arch/x86/boot/cmdline.c`).
fn decompressor_params(line: &str) -> impl Iterator<Item = Param<'_>> {
    line.split(|c| c <= ' ').filter_map(|text| {
        let (name, value) = text.split_once('=')?;
        let param = Param {
            name,
            value: Some(value),
            text,
        };
        // Of consoles it only knows those that are named by their address.
        let known =
            DECOMPRESSOR.contains(&name) && (name != "console" || is_console_on_port(&param));
        known.then_some(param)
    })
}

/// Refuses what is in [`REFUSED`], and a console on a port that is not `own`.
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
    // A number alone is that of a ttyS as well (console_setup()).
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

/// Whether `param` makes a serial port a console that is named by its address.
fn is_console_on_port(param: &Param<'_>) -> bool {
    param.is("earlycon")
        || (param.is("console") && param.value.is_some_and(|value| value.starts_with("uart")))
}

/// The command line as it grows in `out`, never beyond `max` bytes.
struct Line<'a, 'b> {
    given: &'a str,
    out: &'b mut [u8],
    len: usize,
    max: usize,
}

impl<'a> Line<'a, '_> {
    /// Adds what only a 32-bit kernel is told.
    fn own_of_32_bit(&mut self) -> Result<(), Error<'a>> {
        // IPIs go by APIC ID. By default they go by logical IDs, which count from each system's
        // own CPU 0, whatever the FADT says (`apic_default` in arch/x86/kernel/apic/probe_32.c).
        self.push(format_args!("apic=bigsmp"))?;
        // This driver sends none by shorthand, but has no other function for IPIs to all but
        // itself: as with `no_ipi_broadcast=1`, where some of its CPUs never come up it would call
        // a null pointer (`apic_send_IPI_allbutself()`).
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
        // ISA plug and play would write to ports of the first OS (`isapnp_isolate()`).
        self.push(format_args!("noisapnp"))
    }

    /// Adds what a kernel with PCI host bridges is told, so that it accesses the configuration space
    /// of its own devices only, by ECAM.
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
        // `early_pci_allowed()` (arch/x86/pci/early.c), and the BIOS that 32-bit kernels would call
        // (`pci_pcbios_init()` in arch/x86/pci/pcbios.c).
        self.push(match mode {
            Mode::Long => format_args!("pci=noearly"),
            Mode::Protected => format_args!("pci=noearly,nobios"),
        })?;
        // `pci_direct_probe()` (arch/x86/pci/direct.c) can't get them then. The first one to reserve
        // them does, and this comes first (`reserve_setup()` in kernel/resource.c).
        self.push(format_args!("reserve={PCI_PORTS}"))
    }

    /// Adds `name=value`, unless the person gave just that; `why` it must be so if they gave
    /// something else.
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

    /// Adds what the person gave, if it is more than spaces. Those at its end may be part of a
    /// quote that is not closed.
    fn push_given(&mut self, text: &str) -> Result<(), Error<'a>> {
        match text.trim_start_matches(' ') {
            "" => Ok(()),
            text => self.push(format_args!("{text}")),
        }
    }

    /// Adds `text`, behind a space where it is not the first.
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
