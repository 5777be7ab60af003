// SPDX-License-Identifier: GPL-2.0

//! The command line of a successor: what the kernel and its decompressor make of it must keep to
//! what the successor owns, whatever the person gave.
//!
//! The input is a limit (16 bits), a port (16 bits; 0: no console), whether the kernel knows EFI, is
//! a 32-bit one, and has PCI host bridges (bits 0 to 2 of 8), and a text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mint_fuzz::boot_code;
use mint_fuzz::input::{text, Input};
use mint_fuzz::kernel_code::{parse_args, same_name, simple_strtoull, Param};
use mint_unit::firmware::cmdline::{write, Error, Facts};
use mint_unit::image::kernel_image::Mode;

/// What the module's own buffer has room for (COMMAND_LINE_SIZE).
const ROOM: usize = 2048;
const UNTOUCHED: u8 = 0xa5;
const TSC_KHZ: u32 = 2_100_000;

/// Documentation/start.rst: what is refused whatever its value.
const REFUSED: &[&[u8]] = &[
    b"memmap",
    b"acpi",
    b"acpi_rsdp",
    b"noapic",
    b"nolapic",
    b"disableapic",
    b"apic",
    b"noefi",
    b"hpet",
    b"i8042.nopnp",
    b"kgdboc",
    b"bootconfig",
    b"8250_core.nr_uarts",
    b"earlyprintk",
];

/// What keeps it off shared hardware; it must come before what is given of its name.
const KEPT_OFF: [(&[u8], &[u8]); 3] = [
    (b"reserve", b"0x2e,2,0x4e,2"),
    (
        b"initcall_blacklist",
        b"add_pcspkr,i8237A_init_ops,print_s5_reset_status_mmio,sgx_init,\
          thermal_throttle_init_device,pkg_temp_thermal_init,\
          resctrl_late_init,resctrl_arch_late_init,intel_epb_init,itmt_legacy_init,\
          intel_rapl_msr_driver_init,intel_rapl_msr_init,intel_uncore_init,\
          pmc_core_platform_init",
    ),
    (b"intel_pstate", b"no_hwp"),
];

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let limit = usize::from(input.u16());
    let port = input.u16() & !7;
    let flags = input.u8();
    let facts = Facts {
        tsc_khz: TSC_KHZ,
        console: (port != 0).then_some(port),
        pci: flags & 4 != 0,
        efi: flags & 1 != 0,
        mode: if flags & 2 != 0 {
            Mode::Protected
        } else {
            Mode::Long
        },
    };
    let given = text(input.0);

    let mut out = [UNTOUCHED; ROOM];
    match write(given, &facts, limit, &mut out) {
        Ok(written) => {
            assert!(written.len <= limit && written.len < ROOM);
            assert_eq!(out[written.len], 0);
            assert!(out[written.len + 1..].iter().all(|&byte| byte == UNTOUCHED));
            // The file takes nothing else.
            if given
                .bytes()
                .all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
            {
                check(given.as_bytes(), &out[..written.len], &facts);
            }
        }
        Err(Error::Conflict { given: text, why }) => {
            assert!(given.contains(text) && !text.is_empty() && !why.is_empty());
        }
        Err(Error::TooLong(max)) => assert_eq!(max, limit.min(ROOM - 1)),
    }
});

/// What must hold of `line`, made from `given`.
fn check(given: &[u8], line: &[u8], facts: &Facts) {
    let own = own(facts);
    let (params, behind) = parse_args(line);
    let all_of = |name: &'static [u8]| {
        params
            .iter()
            .filter(move |param| same_name(&param.0, name))
            .map(|param| param.1.as_deref().unwrap_or(b""))
    };

    // What they gave is there, in its order, behind what was added.
    let (mut kept, given_behind) = parse_args(given);
    kept.retain(|param| !is_panic(param));
    assert_eq!(behind.trim_ascii_end(), given_behind.trim_ascii_end());
    assert!(params.ends_with(&kept), "{kept:?}");
    for added in &params[..params.len() - kept.len()] {
        let known = own.iter().any(|(name, _)| added.0 == *name);
        let other: &[&[u8]] = &[
            b"console",
            b"efi",
            b"sysctl.kernel.panic",
            b"noisapnp",
            b"pci",
        ];
        let other = [other, &KEPT_OFF.map(|(name, _)| name)].concat();
        assert!(known || other.contains(&&*added.0), "{added:?}");
    }

    // What keeps the systems apart is there, and nothing that undoes it.
    for (name, value) in &own {
        assert!(all_of(name).next().is_some());
        assert!(all_of(name).all(|found| found == value.as_bytes()));
    }
    // The kernel adds up what these are given.
    for (name, value) in KEPT_OFF {
        // Before it there may be the ports of PCI.
        assert!(all_of(name).take(2).any(|given| given == value));
    }
    let refused = REFUSED
        .iter()
        .filter(|name| own.iter().all(|(own, _)| own != *name));
    for &name in refused {
        assert_eq!(all_of(name).next(), None);
    }
    if facts.mode == Mode::Protected {
        assert!(all_of(b"noisapnp").next().is_some());
        assert_eq!(all_of(b"maxcpus").next(), None);
    }
    let values = |name| all_of(name).flat_map(|value| value.split(|&byte| byte == b','));
    assert!(!facts.efi || values(b"efi").any(|option| option == b"runtime"));
    assert!(values(b"efi").all(|option| option != b"noruntime"));
    assert!(all_of(b"mem_encrypt").all(|value| value == b"off"));
    if facts.pci {
        check_pci(&params, facts);
    }
    assert_eq!(all_of(b"panic").count(), 1);
    let sysctls = params.iter().filter(|param| is_panic_sysctl(&param.0));
    assert!(sysctls.count() <= usize::from(facts.efi));

    // Only its own port is a console.
    let port = facts.console.map(u64::from);
    let kernel_ports = all_of(b"console")
        .filter(|value| value.starts_with(b"uart"))
        .chain(all_of(b"earlycon"))
        .map(kernel_port);
    let mut consoles = 0;
    for found in kernel_ports {
        assert!(found.is_some() && found == port);
        consoles += 1;
    }
    assert!(consoles > 0 || port.is_none());
    let by_number =
        |value: &[u8]| value.starts_with(b"ttyS") || value.first().is_some_and(u8::is_ascii_digit);
    assert!(!all_of(b"console").any(by_number));

    // The same for what the decompressor finds.
    assert_eq!(boot_code::find_option(line, b"earlyprintk", 32), None);
    assert_eq!(boot_code::find_option(line, b"acpi_rsdp", 19), None);
    let encryption = boot_code::find_option(line, b"mem_encrypt", 16);
    assert!(encryption.is_none_or(|value| value == b"off"));
    let boot_port = boot_code::console_port(line);
    assert!(boot_port.is_none() || boot_port == port);
}

/// What `pci_setup()` (drivers/pci/pci.c) and `pcibios_setup()` (arch/x86/pci/common.c) make of all
/// `pci=`, and `reserve_setup()` (kernel/resource.c) of the first `reserve=`.
fn check_pci(params: &[Param], facts: &Facts) {
    const BIOS: u32 = 1 << 0;
    const CONF1: u32 = 1 << 1;
    const MMCONF: u32 = 1 << 3;
    const NOEARLY: u32 = 1 << 4;
    let mut probe = 0xf;
    for (name, value) in params {
        if !same_name(name, b"pci") {
            continue;
        }
        for option in value.as_deref().unwrap_or(b"").split(|&byte| byte == b',') {
            match option {
                b"noearly" => probe |= NOEARLY,
                b"nobios" => probe &= !BIOS,
                b"earlydump" | b"noaer" | b"noari" | b"noats" | b"nobar" | b"norom" => {}
                other => panic!("{}", String::from_utf8_lossy(other)),
            }
        }
    }
    // early_pci_allowed()
    assert_ne!(probe & (CONF1 | NOEARLY), CONF1);
    assert_ne!(probe & MMCONF, 0);
    assert!(probe & BIOS == 0 || facts.mode == Mode::Long);
    let mut reserved = params.iter().filter(|param| param.0 == b"reserve");
    assert_eq!(reserved.next().unwrap().1.as_deref(), Some(&b"0xcf8,8"[..]));
}

/// Parameters of which there is one value that is right.
fn own(facts: &Facts) -> Vec<(&'static [u8], String)> {
    let mut own: Vec<(&[u8], _)> = vec![
        (b"tsc_early_khz", TSC_KHZ.to_string()),
        (b"tsc", "reliable".to_string()),
        (b"kvm.enable_virt_at_load", "0".to_string()),
        (b"panic", "0".to_string()),
        (
            b"8250.nr_uarts",
            u8::from(facts.console.is_some()).to_string(),
        ),
    ];
    if !facts.pci {
        own.push((b"pci", "off".to_string()));
    }
    match facts.mode {
        Mode::Long => own.push((b"no_ipi_broadcast", "1".to_string())),
        Mode::Protected => {
            own.push((b"no_ipi_broadcast", "0".to_string()));
            own.push((b"apic", "bigsmp".to_string()));
        }
    }
    if facts.efi {
        own.push((b"reboot", "efi,panic_warm".to_string()));
    }
    own
}

/// Those that are told to the kernel in another way.
fn is_panic((name, _): &Param) -> bool {
    same_name(name, b"panic") || is_panic_sysctl(name)
}

/// `process_sysctl_arg()` (fs/proc/proc_sysctl.c) takes the rest of the name for a path, in which
/// dots are slashes.
fn is_panic_sysctl(name: &[u8]) -> bool {
    let parts = name.split(|byte| b"./".contains(byte));
    let parts = parts.filter(|part| !part.is_empty());
    parts.eq([&b"sysctl"[..], b"kernel", b"panic"])
}

/// `uart_parse_earlycon()` (drivers/tty/serial/serial_core.c): the I/O port behind the name.
fn kernel_port(value: &[u8]) -> Option<u64> {
    let port = value
        .strip_prefix(b"uart8250,io,")
        .or(value.strip_prefix(b"uart,io,"))?;
    Some(simple_strtoull(port).value)
}
