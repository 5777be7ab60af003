// SPDX-License-Identifier: GPL-2.0

//! The command line of a successor.

use mint_unit::firmware::cmdline::{write, Error, Facts, Written};
use mint_unit::image::kernel_image::Mode;

const COM2: Option<u16> = Some(0x2f8);
/// What keeps it from hardware of the first OS, in [`FIRST`].
macro_rules! kept_off {
    () => {
        "reserve=0x2e,2,0x4e,2 \
         initcall_blacklist=add_pcspkr,i8237A_init_ops,print_s5_reset_status_mmio,sgx_init,\
         thermal_throttle_init_device,pkg_temp_thermal_init,\
         resctrl_late_init,resctrl_arch_late_init,intel_epb_init,itmt_legacy_init,\
         intel_rapl_msr_driver_init,intel_rapl_msr_init,intel_uncore_init,pmc_core_platform_init \
         intel_pstate=no_hwp"
    };
}
const KEPT_OFF: &str = kept_off!();
const FIRST: &str = concat!(
    "no_ipi_broadcast=1 tsc_early_khz=2100000 tsc=reliable pci=off kvm.enable_virt_at_load=0 ",
    kept_off!(),
    " panic=0"
);

/// What is added for a kernel that knows EFI, before what has to do with panics.
const EFI: &str = "8250.nr_uarts=0 reboot=efi,panic_warm efi=runtime";

/// The line, and whether a panic is followed by a restart.
fn written<'a>(given: &'a str, facts: &Facts) -> Result<(String, bool), Error<'a>> {
    let mut out = [0xa5; 2048];
    let Written {
        len,
        restarts_on_panic,
    } = write(given, facts, 2047, &mut out)?;
    assert_eq!(out[len], 0);
    assert!(out[len + 1..].iter().all(|&byte| byte == 0xa5));
    let line = String::from_utf8(out[..len].to_vec()).unwrap();
    Ok((line, restarts_on_panic))
}

/// The line of a kernel that knows no EFI.
fn line(given: &str, console: Option<u16>) -> Result<String, Error<'_>> {
    let facts = Facts {
        tsc_khz: 2_100_000,
        console,
        pci: false,
        efi: false,
        mode: Mode::Long,
    };
    written(given, &facts).map(|(line, restarts_on_panic)| {
        assert!(!restarts_on_panic, "it would reset the whole machine");
        line
    })
}

/// What follows [`FIRST`] in the line of a kernel that knows EFI; whether it is restarted when it
/// panics.
fn with_efi(given: &str) -> Result<(String, bool), Error<'_>> {
    let facts = Facts {
        tsc_khz: 2_100_000,
        console: None,
        pci: false,
        efi: true,
        mode: Mode::Long,
    };
    written(given, &facts).map(|(line, restarts_on_panic)| {
        let rest = line.strip_prefix(FIRST).unwrap().trim_start();
        (rest.to_string(), restarts_on_panic)
    })
}

#[test]
fn what_a_32_bit_kernel_gets() {
    let facts = Facts {
        tsc_khz: 2_100_000,
        console: None,
        pci: false,
        efi: true,
        mode: Mode::Protected,
    };
    let first = FIRST.replacen(
        "no_ipi_broadcast=1",
        "apic=bigsmp no_ipi_broadcast=0 noisapnp",
        1,
    );
    for (given, rest) in [("", ""), ("quiet", " quiet"), ("nr_cpus=2", " nr_cpus=2")] {
        assert_eq!(
            written(given, &facts).unwrap().0,
            format!("{first} {EFI} sysctl.kernel.panic=-1{rest}")
        );
    }
    for given in [
        "no_ipi_broadcast=1",
        "no_ipi_broadcast",
        "maxcpus=2",
        "apic=bigsmp",
        "apic=default",
    ] {
        assert!(
            matches!(written(given, &facts), Err(Error::Conflict { given: found, .. }) if found == given),
            "{given}"
        );
    }
    let long = Facts {
        mode: Mode::Long,
        ..facts
    };
    assert!(written("maxcpus=2", &long).is_ok());
}

#[test]
fn what_is_added() {
    const ONE: &str = "8250.nr_uarts=1 console=uart8250,io,0x2f8,115200";
    for (given, console, added) in [
        ("", None, "8250.nr_uarts=0"),
        ("", COM2, ONE),
        (
            "quiet root=/dev/vda1",
            None,
            "8250.nr_uarts=0 quiet root=/dev/vda1",
        ),
        // Ours comes first, and the last is /dev/console.
        (
            "quiet console=tty0",
            COM2,
            &format!("{ONE} quiet console=tty0"),
        ),
        (
            "-- console=ttyS0 x",
            COM2,
            &format!("{ONE} -- console=ttyS0 x"),
        ),
        // Its own port in their words is not added again, however the number is written.
        (
            "console=uart,io,760",
            COM2,
            "8250.nr_uarts=1 console=uart,io,760",
        ),
        (
            "console=uart8250,io,0x2f8,9600n8",
            COM2,
            "8250.nr_uarts=1 console=uart8250,io,0x2f8,9600n8",
        ),
        (
            "earlycon=uart8250,io,0x2f8",
            COM2,
            &format!("{ONE} earlycon=uart8250,io,0x2f8"),
        ),
        // What is init's, or part of another, is not looked at.
        (
            "-- memmap=1G$1G pci=nomsi noapic",
            None,
            "8250.nr_uarts=0 -- memmap=1G$1G pci=nomsi noapic",
        ),
        (
            "foo=\"memmap=1G$1G noapic\"",
            None,
            "8250.nr_uarts=0 foo=\"memmap=1G$1G noapic\"",
        ),
        // The kernel adds these to what it was given before.
        (
            "reserve=0x300,32 initcall_blacklist=foo",
            None,
            "8250.nr_uarts=0 reserve=0x300,32 initcall_blacklist=foo",
        ),
        (
            "intel_pstate=passive",
            None,
            "8250.nr_uarts=0 intel_pstate=passive",
        ),
        ("mem_encrypt=off", None, "8250.nr_uarts=0 mem_encrypt=off"),
        // Names that only begin like others.
        (
            "acpi_osi=Linux hpetx apicpmtimer",
            None,
            "8250.nr_uarts=0 acpi_osi=Linux hpetx apicpmtimer",
        ),
    ] {
        assert_eq!(
            line(given, console),
            Ok(format!("{FIRST} {added}")),
            "{given:?}"
        );
    }
}

#[test]
fn what_they_give_is_not_added_again() {
    let ours = format!("kvm.enable_virt_at_load=0 {KEPT_OFF} panic=0");
    for (given, kept) in [
        (
            "no_ipi_broadcast=1",
            format!("tsc_early_khz=2100000 tsc=reliable pci=off {ours} 8250.nr_uarts=0"),
        ),
        (
            "no-ipi-broadcast=1",
            format!("tsc_early_khz=2100000 tsc=reliable pci=off {ours} 8250.nr_uarts=0"),
        ),
        (
            "tsc_early_khz=2100000",
            format!("no_ipi_broadcast=1 tsc=reliable pci=off {ours} 8250.nr_uarts=0"),
        ),
        (
            "tsc=\"reliable\"",
            format!("no_ipi_broadcast=1 tsc_early_khz=2100000 pci=off {ours} 8250.nr_uarts=0"),
        ),
        (
            "pci=off quiet pci=off",
            format!("no_ipi_broadcast=1 tsc_early_khz=2100000 tsc=reliable {ours} 8250.nr_uarts=0"),
        ),
        ("8250.nr_uarts=0", FIRST.to_string()),
        (
            "quiet 8250.nr_uarts=0 pci=off tsc=reliable tsc_early_khz=2100000 no_ipi_broadcast=1",
            ours.clone(),
        ),
    ] {
        let expected = format!("{kept} {given}");
        assert_eq!(line(given, None), Ok(expected.trim_start().to_string()));
    }
}

/// Given lines, and the parameter in each that can't be.
#[test]
fn conflicts() {
    for (given, conflict) in [
        ("no_ipi_broadcast=0", "no_ipi_broadcast=0"),
        ("no_ipi_broadcast", "no_ipi_broadcast"),
        ("tsc_early_khz=1", "tsc_early_khz=1"),
        ("tsc=unstable", "tsc=unstable"),
        ("pci=noearly", "pci=noearly"),
        ("pci=off,nomsi", "pci=off,nomsi"),
        ("quiet pci=off pci=nomsi pci=off", "pci=nomsi"),
        ("pci=\"off \"", "pci=\"off \""),
        ("8250.nr_uarts=4", "8250.nr_uarts=4"),
        ("8250.nr-uarts=4", "8250.nr-uarts=4"),
        ("kvm.enable_virt_at_load=1", "kvm.enable_virt_at_load=1"),
        ("i8042.nopnp", "i8042.nopnp"),
        ("kgdboc=ttyS0", "kgdboc=ttyS0"),
        ("bootconfig", "bootconfig"),
        ("8250_core.nr_uarts=1", "8250_core.nr_uarts=1"),
        ("memmap=1G$1G", "memmap=1G$1G"),
        ("acpi=off", "acpi=off"),
        ("acpi_rsdp=0x1000", "acpi_rsdp=0x1000"),
        ("quiet noapic", "noapic"),
        ("nolapic", "nolapic"),
        ("disableapic", "disableapic"),
        ("apic=bigsmp", "apic=bigsmp"),
        ("noefi", "noefi"),
        ("efi=noruntime", "efi=noruntime"),
        ("efi=debug,noruntime", "efi=debug,noruntime"),
        ("efi=debug efi=\"noruntime\"", "efi=\"noruntime\""),
        ("mem_encrypt=on", "mem_encrypt=on"),
        ("mem_encrypt=off mem_encrypt=on", "mem_encrypt=on"),
        ("mem_encrypt=\"on\"", "mem_encrypt=\"on\""),
        ("mem_encrypt", "mem_encrypt"),
        ("hpet=force", "hpet=force"),
        ("earlyprintk=serial", "earlyprintk=serial"),
        ("earlyprintk", "earlyprintk"),
        ("\"memmap=1G$1G\"", "\"memmap=1G$1G\""),
        // Two parameters to the kernel, which takes the byte 0xa0 for a space.
        ("quiet\u{a0}noapic", "noapic"),
        // Ports that are not the successor's.
        ("earlycon", "earlycon"),
        ("earlycon=uart8250,io,0x3f8", "earlycon=uart8250,io,0x3f8"),
        ("earlycon=uart8250,io,0x2f80", "earlycon=uart8250,io,0x2f80"),
        ("earlycon=uart8250,io,", "earlycon=uart8250,io,"),
        (
            "earlycon=uart8250,mmio,0x2f8",
            "earlycon=uart8250,mmio,0x2f8",
        ),
        ("console=uart8250,io,0x3f8", "console=uart8250,io,0x3f8"),
        ("console=uart,io,0x3f8", "console=uart,io,0x3f8"),
        // The first OS's until the successor's own is found.
        ("console=ttyS0", "console=ttyS0"),
        ("console=tty0 console=ttyS1,9600", "console=ttyS1,9600"),
        ("console=0", "console=0"),
        // The decompressor does not know that these are init's, or part of another.
        ("-- earlyprintk=serial", "earlyprintk=serial"),
        ("foo=\"a earlyprintk=ttyS0 b\"", "earlyprintk=ttyS0"),
        (
            "-- console=uart8250,io,0x3f8,9600",
            "console=uart8250,io,0x3f8,9600",
        ),
        ("-- acpi_rsdp=0x1000", "acpi_rsdp=0x1000"),
        ("-- mem_encrypt=on", "mem_encrypt=on"),
        ("foo=\"a mem_encrypt=on b\"", "mem_encrypt=on"),
    ] {
        let result = line(given, COM2);
        let Err(Error::Conflict { given: told, why }) = result else {
            panic!("{given:?}: {result:?}");
        };
        assert_eq!(told, conflict);
        assert!(!why.is_empty());
    }
    // Without a port of its own, none is.
    for given in [
        "earlycon=uart8250,io,0x2f8",
        "console=uart8250,io,0x2f8",
        "console=ttyS0",
    ] {
        assert!(
            matches!(line(given, None), Err(Error::Conflict { .. })),
            "{given}"
        );
    }
}

/// A kernel with PCI host bridges.
#[test]
fn pci() {
    const LONG: &str = "pci=noearly reserve=0xcf8,8";
    const PROTECTED: &str = "pci=noearly,nobios reserve=0xcf8,8";
    for (mode, own) in [(Mode::Long, LONG), (Mode::Protected, PROTECTED)] {
        let facts = Facts {
            tsc_khz: 2_100_000,
            console: None,
            pci: true,
            efi: false,
            mode,
        };
        for given in [
            "",
            "quiet",
            "pci=norom",
            "pci=earlydump,noaer pci=nobar",
            "pci=\"noats,noari\"",
            "pci=noearly",
            "pci=nobios,noearly",
            // Behind ours, which has the ports then.
            "reserve=0xcf8,8",
            "reserve=0x2f8,8,0xcf0,32",
            "-- pci=conf1",
            "foo=\"pci=conf1\"",
        ] {
            let (line, _) = written(given, &facts).unwrap();
            let (before, behind) = line.split_once(" pci=").unwrap();
            assert!(before.ends_with(" tsc=reliable"), "{line}");
            let expected = format!(
                "{} kvm.enable_virt_at_load=0 {KEPT_OFF} panic=0 8250.nr_uarts=0 {given}",
                own.strip_prefix("pci=").unwrap()
            );
            assert_eq!(behind, expected.trim_end());
        }
        for (given, conflict) in [
            ("pci=off", "pci=off"),
            ("pci", "pci"),
            ("pci=", "pci="),
            ("pci=noearly,", "pci=noearly,"),
            ("pci=conf1", "pci=conf1"),
            ("pci=conf2", "pci=conf2"),
            ("pci=bios", "pci=bios"),
            ("quiet pci=noearly,bios", "pci=noearly,bios"),
            ("pci=norom pci=nomsi pci=norom", "pci=nomsi"),
            ("pci=nommconf", "pci=nommconf"),
            ("pci=nodomains", "pci=nodomains"),
            ("pci=noacpi", "pci=noacpi"),
            ("pci=nocrs", "pci=nocrs"),
            ("pci=assign-busses", "pci=assign-busses"),
            ("pci=lastbus=255", "pci=lastbus=255"),
            ("pci=big_root_window", "pci=big_root_window"),
            ("pci=check_enable_amd_mmconf", "pci=check_enable_amd_mmconf"),
            ("\"pci=norom nocrs\"", "\"pci=norom nocrs\""),
        ] {
            let result = written(given, &facts);
            let Err(Error::Conflict { given: told, why }) = result else {
                panic!("{given:?}: {result:?}");
            };
            assert_eq!(told, conflict);
            assert!(!why.is_empty());
        }
    }
}

/// What a kernel that knows EFI is told of resets and panics, and what becomes of what the person
/// wants to happen then.
#[test]
fn panics_and_resets() {
    for (given, told, restarts) in [
        // Without a word it asks at once, and Mint keeps it as it is.
        ("", "sysctl.kernel.panic=-1", false),
        ("quiet", "sysctl.kernel.panic=-1 quiet", false),
        // To stay as it is, it must not ask.
        ("panic=0", "", false),
        ("quiet panic=0", "quiet", false),
        ("panic=5", "sysctl.kernel.panic=5", true),
        ("panic=-1", "sysctl.kernel.panic=-1", true),
        ("quiet panic=5 ro", "sysctl.kernel.panic=5 quiet ro", true),
        ("sysctl.kernel.panic=7", "sysctl.kernel.panic=7", true),
        ("sysctl/kernel/panic=7", "sysctl.kernel.panic=7", true),
        ("sysctl.kernel//panic=7", "sysctl.kernel.panic=7", true),
        ("panic=\"5\" ro", "sysctl.kernel.panic=5 ro", true),
        ("ro \"panic=5\"", "sysctl.kernel.panic=5 ro", true),
        // The last one counts, and none is left.
        ("panic=5 ro panic=0", "ro", false),
        ("panic=0 ro panic=5", "sysctl.kernel.panic=5 ro", true),
        (
            "a sysctl.kernel.panic=7 b panic=5  c",
            "sysctl.kernel.panic=5 a b c",
            true,
        ),
        // Whatever is a space to the kernel.
        ("a\tpanic=5\nb", "sysctl.kernel.panic=5 a\t \nb", true),
        (
            "a\u{a0}panic=5\u{a0}b",
            "sysctl.kernel.panic=5 a\u{a0} \u{a0}b",
            true,
        ),
        // What is init's, or part of another, stays where it is.
        ("-- panic=5", "sysctl.kernel.panic=-1 -- panic=5", false),
        (
            "panic=5 -- panic=0",
            "sysctl.kernel.panic=5 -- panic=0",
            true,
        ),
        (
            "foo=\"a panic=5 b\" panic_on_oops=1 bpanic=5",
            "sysctl.kernel.panic=-1 foo=\"a panic=5 b\" panic_on_oops=1 bpanic=5",
            false,
        ),
        (
            "efi=debug efi=runtime -- efi=noruntime noefi",
            "sysctl.kernel.panic=-1 efi=debug efi=runtime -- efi=noruntime noefi",
            false,
        ),
    ] {
        let expected = format!("{EFI} {told}").trim_end().to_string();
        assert_eq!(with_efi(given), Ok((expected, restarts)), "{given:?}");
    }
    // As they gave it.
    let given = "reboot=efi,panic_warm";
    let told = "8250.nr_uarts=0 efi=runtime sysctl.kernel.panic=-1 reboot=efi,panic_warm";
    assert_eq!(with_efi(given), Ok((told.to_string(), false)));
}

#[test]
fn panics_and_resets_that_can_not_be() {
    for (given, conflict) in [
        ("reboot=pci", "reboot=pci"),
        ("reboot=efi", "reboot=efi"),
        ("reboot=efi,panic_warm,force", "reboot=efi,panic_warm,force"),
        ("reboot=efi,panic_warm reboot=warm", "reboot=warm"),
        ("panic", "panic"),
        ("panic=", "panic="),
        ("panic=soon", "panic=soon"),
        ("panic=5s", "panic=5s"),
        ("panic=2147483648", "panic=2147483648"),
        ("panic=5 sysctl.kernel.panic", "sysctl.kernel.panic"),
        // Not closed, so that it takes all that follows.
        ("panic=\"5 quiet", "panic=\"5 quiet"),
    ] {
        let result = with_efi(given);
        let Err(Error::Conflict { given: told, why }) = result else {
            panic!("{given:?}: {result:?}");
        };
        assert_eq!(told, conflict);
        assert!(!why.is_empty());
    }
}

/// The kernel would do as it does without Mint, and reset the whole machine.
#[test]
fn no_restart_without_efi() {
    for given in [
        "panic=5",
        "panic=-1",
        "quiet sysctl.kernel.panic=1",
        "sysctl/kernel/panic=1",
    ] {
        let result = line(given, None);
        let Err(Error::Conflict { given: told, .. }) = result else {
            panic!("{given:?}: {result:?}");
        };
        assert!(given.ends_with(told));
    }
    let told = line("quiet", None).unwrap();
    for name in ["reboot", "efi", "sysctl"] {
        assert!(!told.contains(name), "{told}");
    }
}

#[test]
fn the_length_is_limited_by_the_kernel_and_by_the_room() {
    let facts = Facts {
        tsc_khz: 1,
        console: COM2,
        pci: false,
        efi: true,
        mode: Mode::Long,
    };
    let given = "quiet panic=-5 pci=off -- foo";
    let whole = format!(
        "no_ipi_broadcast=1 tsc_early_khz=1 tsc=reliable kvm.enable_virt_at_load=0 {KEPT_OFF} \
         panic=0 8250.nr_uarts=1 console=uart8250,io,0x2f8,115200 \
         reboot=efi,panic_warm efi=runtime sysctl.kernel.panic=-5 quiet pci=off -- foo"
    );
    for max in 0..whole.len() + 3 {
        let mut out = [0xa5; 1000];
        // By what the kernel takes, or by the room with that for the zero: whichever is less.
        for (limit, room) in [(max, 1000), (max, max + 1), (1000, max + 1)] {
            let expected = if max < whole.len() {
                Err(Error::TooLong(max))
            } else {
                Ok(Written {
                    len: whole.len(),
                    restarts_on_panic: true,
                })
            };
            assert_eq!(
                write(given, &facts, limit, &mut out[..room]),
                expected,
                "{max}"
            );
            if expected.is_ok() {
                assert_eq!(out[..whole.len()], *whole.as_bytes());
                assert_eq!(out[whole.len()], 0);
            }
            assert!(out[max + 1..].iter().all(|&byte| byte == 0xa5));
        }
    }
    assert_eq!(write("", &facts, 2047, &mut []), Err(Error::TooLong(0)));
}

#[test]
fn errors_say_what_to_do() {
    assert_eq!(
        line("noapic", None).unwrap_err().to_string(),
        "cmdline: 'noapic' can't be used: it has no other interrupt controller; remove it"
    );
    assert_eq!(
        Error::TooLong(255).to_string(),
        "cmdline: with the parameters added to it, it is longer than 255 bytes; shorten it"
    );
}
