// SPDX-License-Identifier: GPL-2.0

//! The ACPI tables, as ACPICA reads them and as it would have made them.

#[path = "common/iasl.rs"]
mod iasl;

use mint_unit::firmware::acpi::{decoy, write, Machine};
use std::iter::once;

const AT: u64 = 0x1_4000_3000;
const SLEEP_REGISTER: u64 = 0x1_4000_2000;
const IOAPIC: u32 = 0x2_0800;

/// Tables in memory, from [`AT`] on.
struct Tables {
    memory: Vec<u8>,
    rsdp: u64,
}

impl Tables {
    fn new(cpus: &[u32], decoy: u32, console: Option<u16>) -> Self {
        // Old bytes that must not shine through.
        let mut memory = vec![0xa5; 0x1_0000];
        let machine = Machine {
            cpus: cpus.iter().copied(),
            decoy,
            ioapic: IOAPIC,
            sleep_register: SLEEP_REGISTER,
            console,
        };
        let rsdp = write(&mut memory, AT, &machine).unwrap();
        Tables { memory, rsdp }
    }

    fn bytes(&self, at: u64, len: usize) -> &[u8] {
        &self.memory[(at - AT) as usize..][..len]
    }

    fn rsdp(&self) -> &[u8] {
        self.bytes(self.rsdp, 36)
    }

    /// The table at `at`, which must be one called `signature`.
    fn table(&self, signature: &str, at: u64) -> &[u8] {
        let len = u32::from_le_bytes(self.bytes(at + 4, 4).try_into().unwrap());
        let table = self.bytes(at, len as usize);
        assert_eq!(&table[..4], signature.as_bytes());
        table
    }

    /// XSDT, FADT, MADT and DSDT, by way of the addresses in them.
    fn all(&self) -> [(&str, &[u8]); 4] {
        let xsdt = self.table("XSDT", address(self.rsdp(), 24));
        let fadt = self.table("FACP", address(xsdt, 36));
        let madt = self.table("APIC", address(xsdt, 44));
        let dsdt = self.table("DSDT", address(fadt, 140));
        [
            ("xsdt", xsdt),
            ("fadt", fadt),
            ("madt", madt),
            ("dsdt", dsdt),
        ]
    }

    fn named(&self, name: &str) -> &[u8] {
        self.all()
            .into_iter()
            .find(|table| table.0 == name)
            .unwrap()
            .1
    }
}

fn address(table: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(table[offset..offset + 8].try_into().unwrap())
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

/// The `(name, value)` of each line of a data table's source, behind the header.
fn fields(source: &str) -> Vec<(&str, &str)> {
    source
        .lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(" : ")?;
            let name = name.rsplit(']').next()?.trim();
            Some((name, value.split(['[', '"']).next()?.trim()))
        })
        .skip_while(|(name, _)| *name != "Asl Compiler Revision")
        .skip(1)
        .collect()
}

/// As many CPUs as need more than a byte for their numbers, in an order of no use to anyone.
fn many_cpus() -> Vec<u32> {
    let ids = [300, 0, 511]
        .into_iter()
        .chain((1..254).rev())
        .chain(255..300)
        .chain(301..511);
    // 255 is no CPU's ID where some have no more than 8 bits.
    ids.filter(|&id| id != 255).collect()
}

#[test]
fn rsdp_is_what_iasl_makes() {
    let tables = Tables::new(&[0], 254, None);
    assert_eq!((tables.rsdp, tables.rsdp % 16), (AT, 0));
    let source = format!(
        "[0008] Signature : \"RSD PTR \"\n[0001] Checksum : 00\n[0006] Oem ID : \"MINT  \"\n\
         [0001] Revision : 02\n[0004] RSDT Address : 00000000\n[0004] Length : 00000024\n\
         [0008] XSDT Address : {:016X}\n[0001] Extended Checksum : 00\n[0003] Reserved : 000000\n",
        address(tables.rsdp(), 24)
    );
    // Both checksums included.
    assert_eq!(iasl::compile("rsdp", &source), tables.rsdp());
    assert_eq!((sum(&tables.rsdp()[..20]), sum(tables.rsdp())), (0, 0));
}

#[test]
fn checksums_and_places() {
    for (cpus, console) in [
        (vec![0], None),
        (vec![4, 2], Some(0x2f8)),
        (many_cpus(), Some(0)),
    ] {
        let tables = Tables::new(&cpus, 254, console);
        let mut taken = vec![tables.rsdp().as_ptr_range()];
        for (name, table) in tables.all() {
            assert_eq!(sum(table), 0, "{name}");
            assert!(taken.iter().all(|other| {
                let own = table.as_ptr_range();
                own.end <= other.start || other.end <= own.start
            }));
            taken.push(table.as_ptr_range());
        }
        let xsdt = tables.named("xsdt");
        let entries = iasl::disassemble("xsdt", xsdt);
        assert_eq!(fields(&entries).len(), 2, "FADT and MADT, and nothing else");
    }
}

#[test]
fn fadt() {
    let tables = Tables::new(&[0], 254, None);
    let source = iasl::disassemble("fadt", tables.named("fadt"));
    assert!(source.contains("Revision : 06\n"));
    iasl::assert_same(&iasl::compile("fadt", &source), tables.named("fadt"));
    let dsdt = format!("{:016X}", address(tables.named("fadt"), 140));
    let sleep = format!("{SLEEP_REGISTER:016X}");
    let expected = [
        ("Boot Flags (decoded below)", "0024"),
        ("VGA Not Present (V4)", "1"),
        ("CMOS RTC Not Present (V5)", "1"),
        ("Flags (decoded below)", "00180031"),
        ("WBINVD instruction is operational (V1)", "1"),
        ("Control Method Power Button (V1)", "1"),
        ("Control Method Sleep Button (V1)", "1"),
        ("Use APIC Physical Destination Mode (V4)", "1"),
        ("Hardware Reduced (V5)", "1"),
        ("FADT Minor Revision", "03"),
        ("DSDT Address", &dsdt),
        // Control and status in the same byte of system memory.
        ("Bit Width", "08"),
        ("Encoded Access Width", "01"),
        ("Address", &sleep),
        ("Bit Width", "08"),
        ("Encoded Access Width", "01"),
        ("Address", &sleep),
    ];
    let all = fields(&source);
    let set = all
        .iter()
        .filter(|(_, value)| value.bytes().any(|digit| digit != b'0'));
    assert_eq!(set.copied().collect::<Vec<_>>(), expected);
    let registers = ["Sleep Control Register", "Sleep Status Register"];
    for register in registers {
        let at = all.iter().position(|(name, _)| *name == register).unwrap();
        assert_eq!(all[at + 1], ("Space ID", "00"));
        assert_eq!(all[at + 5], ("Address", &*sleep));
    }
}

/// The lines that iasl prints for a MADT that lists `decoy` and `cpus`.
fn madt_fields(cpus: &[u32], decoy: u32) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("Local Apic Address", "FEE00000".to_string()),
        ("Flags (decoded below)", "00000000".to_string()),
        ("PC-AT Compatibility", "0".to_string()),
    ];
    let listed = once((decoy, false)).chain(cpus.iter().map(|&id| (id, true)));
    for (id, enabled) in listed {
        let flags = [
            (
                "Flags (decoded below)",
                if enabled { "00000001" } else { "00000002" },
            ),
            ("Processor Enabled", if enabled { "1" } else { "0" }),
            ("Runtime Online Capable", if enabled { "0" } else { "1" }),
        ];
        let flags = flags.map(|(name, value)| (name, value.to_string()));
        if id < 255 {
            lines.push(("Subtable Type", "00".to_string()));
            lines.push(("Length", "08".to_string()));
            lines.push(("Processor ID", format!("{id:02X}")));
            lines.push(("Local Apic ID", format!("{id:02X}")));
            lines.extend(flags);
        } else {
            lines.push(("Subtable Type", "09".to_string()));
            lines.push(("Length", "10".to_string()));
            lines.push(("Reserved", "0000".to_string()));
            lines.push(("Processor x2Apic ID", format!("{id:08X}")));
            // iasl does not decode the second flag here.
            lines.extend(flags.into_iter().take(2));
            lines.push(("Processor UID", format!("{id:08X}")));
        }
    }
    for (name, value) in [
        ("Subtable Type", "01"),
        ("Length", "0C"),
        ("I/O Apic ID", "00"),
        ("Reserved", "00"),
        ("Address", "00020800"),
        ("Interrupt", "00000000"),
    ] {
        lines.push((name, value.to_string()));
    }
    lines
}

#[test]
fn madt() {
    for (test, cpus, decoy) in [
        ("madt-1", vec![0], 254),
        ("madt-2", vec![7, 3], 254),
        ("madt-border", vec![253, 256, 254, 255], 252),
        ("madt-x2apic", vec![0x1234_5678, 5], 0x400),
        ("madt-many", many_cpus(), 254),
    ] {
        let tables = Tables::new(&cpus, decoy, None);
        let source = iasl::disassemble(test, tables.named("madt"));
        // From 5 on "online capable" counts (ACPI specification 6.3).
        assert!(source.contains("Revision : 05\n"));
        let got: Vec<_> = fields(&source)
            .into_iter()
            .map(|(name, value)| (name, value.to_string()))
            .collect();
        assert_eq!(got, madt_fields(&cpus, decoy), "{test}");
    }
    assert!(many_cpus().len() > 500);
}

#[test]
fn dsdt() {
    for (test, console) in [
        ("dsdt-none", None),
        ("dsdt-com2", Some(0x2f8)),
        ("dsdt-e000", Some(0xe000)),
    ] {
        let tables = Tables::new(&[0], 254, console);
        let device = console.map_or(String::new(), |port| {
            format!(
                r#"Scope (\_SB) {{
                    Device (UAR0) {{
                        Name (_HID, EisaId ("PNP0501"))
                        Name (_UID, Zero)
                        Name (_CRS, ResourceTemplate () {{ IO (Decode16, {port}, {port}, 1, 8) }})
                    }}
                }}"#
            )
        });
        let source = format!(
            r#"DefinitionBlock ("", "DSDT", 2, "MINT  ", "MINTOS  ", 1) {{
                Name (\_S5, Package () {{ 5, 5, Zero, Zero }})
                {device}
            }}"#
        );
        iasl::assert_same(&iasl::compile(test, &source), tables.named("dsdt"));

        // And the other way round.
        let source = iasl::disassemble(test, tables.named("dsdt"));
        iasl::assert_same(&iasl::compile(test, &source), tables.named("dsdt"));
        let lines = |wanted: &str| source.lines().filter(|line| line.contains(wanted)).count();
        assert_eq!(lines(r"Name (\_S5, Package (0x04)"), 1);
        let there = usize::from(console.is_some());
        for wanted in [
            "EisaId (\"PNP0501\")",
            "IO (Decode16,",
            "0x01,               // Alignment",
        ] {
            assert_eq!(lines(wanted), there, "{wanted}");
        }
        if let Some(port) = console {
            assert_eq!(lines(&format!("0x{port:04X},             // Range M")), 2);
        }
        assert_eq!(lines("IRQ") + lines("Interrupt"), 0, "polled");
    }
}

#[test]
fn too_little_room() {
    let machine = Machine {
        cpus: [0, 1, 300].into_iter(),
        decoy: 254,
        ioapic: IOAPIC,
        sleep_register: SLEEP_REGISTER,
        console: Some(0x2f8),
    };
    let tables = Tables::new(&[0, 1, 300], 254, Some(0x2f8));
    // The XSDT comes last.
    let needed = (address(tables.rsdp(), 24) - AT) as usize + tables.named("xsdt").len();
    for len in 0..needed {
        assert_eq!(write(&mut vec![0; len], AT, &machine), None, "{len} bytes");
    }
    let mut exact = vec![0; needed];
    assert_eq!(write(&mut exact, AT, &machine), Some(AT));
    assert_eq!(exact, tables.memory[..needed]);
}

#[test]
fn the_decoy_is_no_cpu() {
    for (exists, expected) in [
        (&(|_| false) as &dyn Fn(u32) -> bool, 254),
        (&|id| id == 0, 254),
        (&|id| id == 254, 253),
        (&|id| id >= 100, 99),
        (&|id| id != 0, 0),
        // 255 means all CPUs to those that have 8 bits for the ID.
        (&|id| id < 255, 256),
        (&|id| id < 1000, 1000),
    ] {
        assert_eq!(decoy(exists), expected);
        assert!(!exists(expected));
    }
}
