// SPDX-License-Identifier: GPL-2.0

//! The ACPI tables, as ACPICA reads them and as it would have made them.

#[path = "common/iasl.rs"]
mod iasl;

#[path = "common/image.rs"]
mod image;

use mint_unit::firmware::acpi::{decoy, write, Machine};
use mint_unit::firmware::host_bridge::{HostBridge, MAX_BRIDGES};
use mint_unit::image::bzimage::parse;
use mint_unit::image::layout::{plan, Low};
use mint_unit::memory::memmap::Range;
use mint_unit::memory_device::bus::Bus;
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
        Self::with_bridges(cpus, decoy, console, &[])
    }

    fn with_bridges(
        cpus: &[u32],
        decoy: u32,
        console: Option<u16>,
        bridges: &[HostBridge],
    ) -> Self {
        // Old bytes that must not shine through.
        let mut memory = vec![0xa5; 0x1_0000];
        let machine = Machine {
            cpus: cpus.iter().copied(),
            decoy,
            ioapic: IOAPIC,
            sleep_register: SLEEP_REGISTER,
            console,
            bridges,
            power: None,
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

    /// XSDT, FADT, MADT, DSDT and, if there is one, MCFG, by way of the addresses in them.
    fn all(&self) -> Vec<(&str, &[u8])> {
        let xsdt = self.table("XSDT", address(self.rsdp(), 24));
        let fadt = self.table("FACP", address(xsdt, 36));
        let madt = self.table("APIC", address(xsdt, 44));
        let dsdt = self.table("DSDT", address(fadt, 140));
        let mut all = vec![
            ("xsdt", xsdt),
            ("fadt", fadt),
            ("madt", madt),
            ("dsdt", dsdt),
        ];
        if xsdt.len() > 52 {
            all.push(("mcfg", self.table("MCFG", address(xsdt, 52))));
        }
        all
    }

    fn named(&self, name: &str) -> &[u8] {
        self.find(name).unwrap()
    }

    fn find(&self, name: &str) -> Option<&[u8]> {
        let all = self.all();
        all.into_iter()
            .find(|table| table.0 == name)
            .map(|table| table.1)
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

/// What a disk behind a root port needs.
fn nvme() -> HostBridge {
    HostBridge {
        segment: 1,
        first_bus: 1,
        last_bus: 1,
        ecam: 0xb000_0000,
        io: None,
        memory: Range::new(0xfe80_0000, 0x20_0000),
        prefetchable: None,
    }
}

/// A bus made of memory, from `start` on.
fn memory_bus(start: u64) -> HostBridge {
    let area = Range::new(start, 2 << 20).unwrap();
    Bus::new(area).unwrap().host_bridge(2)
}

/// As many as there may be: with all windows and none, with one bus and all, low and high.
fn many_bridges() -> Vec<HostBridge> {
    let window = |is_there: bool, start: u64, len| Range::new(start, len).filter(|_| is_there);
    (0..MAX_BRIDGES as u64)
        .map(|i| HostBridge {
            segment: [1, 2, 0x1234, 0xffff][i as usize % 4] ^ ((i as u16 & 0x3c) << 4),
            first_bus: if i % 5 == 0 { 0 } else { 4 * i as u8 },
            last_bus: if i % 5 == 0 { 255 } else { 4 * i as u8 + 3 },
            // The last address that Linux takes for one below 4 GiB, and the first above it.
            ecam: [
                0xe000_0000 - (i << 20),
                0xffff_fffe,
                0xffff_ffff,
                (0x1_0000 + i) << 28,
            ][i as usize % 4],
            io: window(i & 1 != 0, 0x1000 + i * 0x200, 0x1000),
            memory: window(i & 2 != 0, 0xc000_0000 + (i << 20), 0x10_0000),
            prefetchable: window(i & 4 != 0, (i + 1) << 34, 1 << 34),
        })
        .collect()
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
    for (cpus, console, bridges) in [
        (vec![0], None, vec![]),
        (vec![4, 2], Some(0x2f8), vec![]),
        (vec![4, 2], None, vec![nvme()]),
        (many_cpus(), Some(0), many_bridges()),
    ] {
        let tables = Tables::with_bridges(&cpus, 254, console, &bridges);
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
        let others = usize::from(!bridges.is_empty());
        assert_eq!(
            fields(&entries).len(),
            2 + others,
            "FADT, MADT, MCFG, and nothing else"
        );
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

/// The DSDT of a machine with this console and these bridges, in ASL.
fn dsdt_source(console: Option<u16>, bridges: &[HostBridge]) -> String {
    let uart = console.map_or(String::new(), |port| {
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
    let pci = if bridges.is_empty() {
        String::new()
    } else {
        pci_source(bridges)
    };
    format!(
        r#"DefinitionBlock ("", "DSDT", 2, "MINT  ", "MINTOS  ", 1) {{
            Name (\_S5, Package () {{ 5, 5, Zero, Zero }})
            {uart}
            {pci}
        }}"#
    )
}

/// `number`, as iasl writes it.
fn asl_integer(number: u64) -> String {
    match number {
        0 => "Zero".to_string(),
        1 => "One".to_string(),
        _ => format!("0x{number:X}"),
    }
}

fn pci_source(bridges: &[HostBridge]) -> String {
    let fields = |start: u64, len: u64| format!("0, {start}, {}, 0, {len}", start + len - 1);
    let fixed = "PosDecode, MinFixed, MaxFixed";
    let ecam = bridges.iter().map(|bridge| {
        let buses = u64::from(bridge.last_bus) - u64::from(bridge.first_bus) + 1;
        let start = bridge.ecam + u64::from(bridge.first_bus) * 0x10_0000;
        let fields = fields(start, buses * 0x10_0000);
        format!("QWordMemory (ResourceConsumer, {fixed}, NonCacheable, ReadWrite, {fields})\n")
    });
    let routing = (0..32).flat_map(|device: u64| {
        (0..4).map(move |pin| {
            let (address, pin) = (asl_integer((device << 16) | 0xffff), asl_integer(pin));
            format!("Package () {{ {address}, {pin}, Zero, Zero }}")
        })
    });
    let devices = bridges.iter().enumerate().map(|(index, bridge)| {
        let (first, last) = (u64::from(bridge.first_bus), u64::from(bridge.last_bus));
        let windows = [
            (
                "QWordIO",
                "MinFixed, MaxFixed, PosDecode, EntireRange",
                bridge.io,
            ),
            (
                "QWordMemory",
                "PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite",
                bridge.memory,
            ),
            (
                "QWordMemory",
                "PosDecode, MinFixed, MaxFixed, Prefetchable, ReadWrite",
                bridge.prefetchable,
            ),
        ];
        let windows = windows.iter().filter_map(|(kind, flags, window)| {
            let fields = fields(window.as_ref()?.start(), window.as_ref()?.len());
            Some(format!("{kind} (ResourceProducer, {flags}, {fields})\n"))
        });
        let windows = windows.collect::<String>();
        let cba = if bridge.ecam < 0xffff_ffff {
            String::new()
        } else {
            format!("Name (_CBA, {})", asl_integer(bridge.ecam))
        };
        let (uid, segment) = (
            asl_integer(index as u64),
            asl_integer(bridge.segment.into()),
        );
        let (bbn, buses) = (asl_integer(first), fields(first, last - first + 1));
        format!(
            r#"Device (PC{index:02X}) {{
                Name (_HID, EisaId ("PNP0A08"))
                Name (_CID, EisaId ("PNP0A03"))
                Name (_UID, {uid})
                Name (_SEG, {segment})
                Name (_BBN, {bbn})
                {cba}
                Name (_CRS, ResourceTemplate () {{
                    WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, {buses})
                    {windows}
                }})
                Method (_OSC, 4, Serialized) {{
                    CreateDWordField (Arg3, Zero, STAT)
                    If (Arg0 == ToUUID ("33DB4D5B-1FF7-401C-9657-7441C03DD766")) {{
                        CreateDWordField (Arg3, 8, CTRL)
                        Local0 = CTRL & 0x10
                        If (Local0 != CTRL) {{ STAT |= 0x10 }}
                        CTRL = Local0
                    }} Else {{
                        STAT |= 4
                    }}
                    Return (Arg3)
                }}
                Method (_PRT, 0, Serialized) {{ Return (INTX) }}
            }}"#
        )
    });
    format!(
        r#"Scope (\_SB) {{
            Device (MBRD) {{
                Name (_HID, EisaId ("PNP0C02"))
                Name (_CRS, ResourceTemplate () {{ {} }})
            }}
            Name (INTX, Package () {{ {} }})
            {}
        }}"#,
        ecam.collect::<String>(),
        routing.collect::<Vec<_>>().join(", "),
        devices.collect::<Vec<_>>().join("\n"),
    )
}

#[test]
fn dsdt() {
    let all = many_bridges();
    let one = [nvme()];
    // What Linux reads as memory that is not prefetchable may lie above 4 GiB here.
    let beside = [nvme(), memory_bus(0x12_0010_0000)];
    for (test, console, bridges) in [
        ("dsdt-none", None, &[][..]),
        ("dsdt-com2", Some(0x2f8), &[]),
        ("dsdt-e000", Some(0xe000), &[]),
        ("dsdt-nvme", None, &one),
        ("dsdt-memory-bus", None, &[memory_bus(0x3010_0000)]),
        ("dsdt-memory-bus-beside", None, &beside),
        ("dsdt-none-of-windows", None, &all[..1]),
        ("dsdt-all-windows", Some(0x2f8), &all[7..8]),
        ("dsdt-17", None, &all[..17]),
        ("dsdt-all", Some(0x2f8), &all),
    ] {
        let tables = Tables::with_bridges(&[0], 254, console, bridges);
        let source = dsdt_source(console, bridges);
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
        assert_eq!(lines("IRQ") + lines("Interrupt ("), 0, "polled");

        let there = usize::from(!bridges.is_empty());
        assert_eq!(lines("\"PNP0C02\""), there);
        assert_eq!(
            lines("QWordMemory (ResourceConsumer, PosDecode"),
            bridges.len()
        );
        let count =
            |has: fn(&HostBridge) -> bool| bridges.iter().filter(|bridge| has(bridge)).count();
        for (wanted, expected) in [
            ("\"PNP0A08\"", bridges.len()),
            ("\"PNP0A03\"", bridges.len()),
            ("\"33db4d5b-1ff7-401c-9657-7441c03dd766\"", bridges.len()),
            ("WordBusNumber (", bridges.len()),
            ("QWordIO (", count(|bridge| bridge.io.is_some())),
            (
                "MaxFixed, Prefetchable, ReadWrite",
                count(|bridge| bridge.prefetchable.is_some()),
            ),
            ("_CBA", count(|bridge| bridge.ecam >= 0xffff_ffff)),
        ] {
            assert_eq!(lines(wanted), expected, "{wanted}");
        }
    }
}

#[test]
fn mcfg() {
    let all = many_bridges();
    let (high, one) = (&all[3..4], [nvme()]);
    for (test, bridges) in [
        ("mcfg-1", &one[..]),
        ("mcfg-17", &all[..17]),
        ("mcfg-all", &all),
    ] {
        let tables = Tables::with_bridges(&[0], 254, None, bridges);
        let source = iasl::disassemble(test, tables.named("mcfg"));
        assert!(source.contains("Revision : 01\n"));
        iasl::assert_same(&iasl::compile(test, &source), tables.named("mcfg"));
        let expected = bridges
            .iter()
            .filter(|bridge| bridge.ecam < 0xffff_ffff)
            .flat_map(|bridge| {
                [
                    ("Base Address", format!("{:016X}", bridge.ecam)),
                    ("Segment Group Number", format!("{:04X}", bridge.segment)),
                    ("Start Bus Number", format!("{:02X}", bridge.first_bus)),
                    ("End Bus Number", format!("{:02X}", bridge.last_bus)),
                    ("Reserved", "00000000".to_string()),
                ]
            });
        let expected: Vec<_> = once(("Reserved", "0000000000000000".to_string()))
            .chain(expected)
            .collect();
        let got: Vec<_> = fields(&source)
            .into_iter()
            .map(|(name, value)| (name, value.to_string()))
            .collect();
        assert_eq!(got, expected, "{test}");
    }
    for bridges in [&[][..], high] {
        let tables = Tables::with_bridges(&[0], 254, None, bridges);
        assert_eq!(tables.find("mcfg"), None);
    }
}

const OSC_UUID: [u8; 16] = [
    0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40, 0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66,
];

/// Status, support and control that `_OSC` of the last of `bridges` returns for each of `asked`.
fn osc(bridges: &[HostBridge], uuid: &[u8; 16], asked: &[[u32; 3]]) -> Vec<[u32; 3]> {
    let tables = Tables::with_bridges(&[0], 254, None, bridges);
    let hex = |bytes: &[u8]| {
        let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        digits.join(" ")
    };
    let calls = asked.iter().map(|words| {
        let words = words.map(u32::to_le_bytes).concat();
        let name = format!("\\_SB.PC{:02X}._OSC", bridges.len() - 1);
        format!("evaluate {name} ({}) 1 3 ({})", hex(uuid), hex(&words))
    });
    iasl::interpret("osc", tables.named("dsdt"), &calls.collect::<Vec<_>>())
        .lines()
        .filter_map(|line| line.trim().strip_prefix("[Buffer] Length 0C =     0000: "))
        .map(|line| {
            let bytes = line.split_ascii_whitespace().take(12);
            let bytes: Vec<_> = bytes
                .map(|byte| u8::from_str_radix(byte, 16).unwrap())
                .collect();
            [0, 4, 8].map(|at| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()))
        })
        .collect()
}

/// drivers/acpi/pci_root.c, `acpi_pci_osc_control_set()`: what is asked for is queried until it is
/// what is granted, and then requested.
#[test]
fn what_a_successor_may_control() {
    const QUERY: u32 = 1;
    const UNRECOGNIZED_UUID: u32 = 1 << 2;
    const MASKED: u32 = 1 << 4;
    const CAPABILITY: u32 = 1 << 4;
    for bridges in [&[nvme()][..], &many_bridges()] {
        let dialogue = [
            // As stock kernels ask, see calculate_support() and calculate_control().
            ([QUERY, 0x11f, 0xbf], [QUERY | MASKED, 0x11f, CAPABILITY]),
            ([QUERY, 0x11f, CAPABILITY], [QUERY, 0x11f, CAPABILITY]),
            ([0, 0x11f, CAPABILITY], [0, 0x11f, CAPABILITY]),
            // With "pcie_ports=compat", or without MSI.
            ([QUERY, 0x108, 0], [QUERY, 0x108, 0]),
            ([0, 0, u32::MAX], [MASKED, 0, CAPABILITY]),
        ];
        let (asked, answers): (Vec<_>, Vec<_>) = dialogue.into_iter().unzip();
        assert_eq!(osc(bridges, &OSC_UUID, &asked), answers);
    }
    // Of another interface nothing is said but that it is not known.
    let mut other = OSC_UUID;
    other[15] ^= 1;
    assert_eq!(
        osc(&[nvme()], &other, &[[QUERY, 0x11f, 0xbf]]),
        [[QUERY | UNRECOGNIZED_UUID, 0x11f, 0xbf]]
    );
}

/// The resources and the interrupt routing of devices, as a kernel gets them from ACPICA.
#[test]
fn resources() {
    let bridges = many_bridges();
    let tables = Tables::with_bridges(&[0], 254, None, &bridges);
    let interpret = |command| iasl::interpret("resources", tables.named("dsdt"), &[command]);
    for index in [0, 7, 63] {
        let HostBridge {
            first_bus,
            last_bus,
            ..
        } = bridges[index];
        let text = interpret(format!("resources \\_SB.PC{index:02X}"));
        let values = |name: &str| {
            let line = |line: &str| {
                let (found, value) = line.split_once(" : ")?;
                (found.trim() == name).then(|| value.trim().to_string())
            };
            text.lines().filter_map(line).collect::<Vec<_>>()
        };
        let numbers = |name| {
            let number = |text: &String| u64::from_str_radix(text, 16).unwrap();
            values(name).iter().map(number).collect::<Vec<_>>()
        };
        let bridge = &bridges[index];
        let windows = [bridge.io, bridge.memory, bridge.prefetchable];
        let buses = Range::from_to(first_bus.into(), u64::from(last_bus) + 1).unwrap();
        let told: Vec<_> = once(buses).chain(windows.into_iter().flatten()).collect();
        let told = |what: fn(&Range) -> u64| told.iter().map(what).collect::<Vec<_>>();
        assert_eq!(numbers("Address Minimum"), told(Range::start));
        assert_eq!(numbers("Address Maximum"), told(|range| range.end() - 1));
        assert_eq!(numbers("Address Length"), told(Range::len));
        let passed_on = values("Consumer/Producer");
        assert!(passed_on.iter().all(|value| value == "ResourceProducer"));

        let devices = (0..32).flat_map(|device| [(device << 16) | 0xffff; 4]);
        assert_eq!(numbers("Address"), devices.collect::<Vec<_>>());
        assert_eq!(numbers("Pin"), [0, 1, 2, 3].repeat(32));
        assert_eq!(numbers("Source Index"), [0; 128]);
        assert!(values("Source")
            .iter()
            .all(|source| source == "[NULL NAMESTRING]"));
    }
    // drivers/acpi/pci_root.c, acpi_pci_root_add()
    for (index, name, value) in [
        (1, "_SEG", 2),
        (1, "_BBN", 4),
        (7, "_CBA", 0x1_0007_u64 << 28),
    ] {
        let answer = interpret(format!("evaluate \\_SB.PC{index:02X}.{name}"));
        assert!(
            answer.contains(&format!("[Integer] = {value:016X}")),
            "{answer}"
        );
    }
    let text = interpret("resources \\_SB.MBRD".to_string());
    let consumed = text.matches("ResourceConsumer").count();
    assert_eq!(
        (consumed, text.matches("ResourceProducer").count()),
        (MAX_BRIDGES, 0)
    );
}

/// Whatever a successor has, there is room for its tables.
#[test]
fn the_layout_has_room_for_all() {
    // As many as Linux has room for (CONFIG_NR_CPUS), with numbers that take the most.
    let cpus: Vec<_> = (1000..1000 + 8192).collect();
    let windows = Range::new(0x1234_5678_9000, 0x1_2345_6789);
    let bridges = [HostBridge {
        segment: 0xffff,
        first_bus: 255,
        last_bus: 255,
        ecam: 0x1234_5678_9abc,
        io: windows,
        memory: windows,
        prefetchable: windows,
    }; MAX_BRIDGES];
    let range = |start, len| Range::new(start, len).unwrap();
    let low = Low::new(range(0x3_0000, 0x1000), range(0x5_0000, 0x8000)).unwrap();
    let image = parse(&image::minimal()).unwrap();
    let layout = plan(range(1 << 30, 64 << 20), low, &image, 0, false).unwrap();
    let mut out = vec![0xa5; layout.acpi.len() as usize];
    let machine = Machine {
        cpus: cpus.iter().copied(),
        decoy: 254,
        ioapic: IOAPIC,
        sleep_register: SLEEP_REGISTER,
        console: Some(0xffff),
        bridges: &bridges,
        power: None,
    };
    assert!(write(&mut out, layout.acpi.start(), &machine).is_some());
    let used = out.iter().rposition(|&byte| byte != 0).unwrap();
    assert!(used < out.len() / 4, "{used:#x} bytes");
}

#[test]
fn bridges_that_can_not_be() {
    let is_written = |bridges: &[HostBridge]| {
        let machine = Machine {
            cpus: once(0),
            decoy: 254,
            ioapic: IOAPIC,
            sleep_register: SLEEP_REGISTER,
            console: None,
            bridges,
            power: None,
        };
        write(&mut vec![0; 0x1_0000], AT, &machine).is_some()
    };
    let good = nvme();
    assert!(is_written(&[good; MAX_BRIDGES]));
    assert!(!is_written(&[good; MAX_BRIDGES + 1]));
    for bad in [
        HostBridge { segment: 0, ..good },
        HostBridge {
            last_bus: 0,
            ..good
        },
        HostBridge {
            ecam: u64::MAX - 0x1f_ffff,
            ..good
        },
    ] {
        assert!(!is_written(&[good, bad]), "{bad:x?}");
    }
}

#[test]
fn too_little_room() {
    let bridges = [nvme(), many_bridges()[7]];
    let machine = Machine {
        cpus: [0, 1, 300].into_iter(),
        decoy: 254,
        ioapic: IOAPIC,
        sleep_register: SLEEP_REGISTER,
        console: Some(0x2f8),
        bridges: &bridges,
        power: None,
    };
    let tables = Tables::with_bridges(&[0, 1, 300], 254, Some(0x2f8), &bridges);
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
