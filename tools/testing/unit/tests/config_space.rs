// SPDX-License-Identifier: GPL-2.0

//! The configuration space of a function made of memory, as lspci decodes it.

use mint_unit::memory::memmap::Range;
use mint_unit::memory_device::bus::Bus;
use mint_unit::memory_device::config_space::{write, Function};
use mint_unit::memory_device::msix::{self, Table};
use std::{fmt::Write, fs, path::Path, process::Command};

/// What lspci prints about `page`, but for the line that names the function.
fn lspci(test: &str, page: &[u8]) -> Vec<String> {
    let mut dump = "0001:00:00.0 a function\n".to_string();
    for (index, row) in page.chunks(16).enumerate() {
        write!(dump, "{:03x}:", 16 * index).unwrap();
        row.iter()
            .for_each(|byte| write!(dump, " {byte:02x}").unwrap());
        dump += "\n";
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lspci-{test}"));
    fs::write(&path, dump).unwrap();
    // Twice n: names and numbers. -F: from a file.
    let output = Command::new("lspci")
        .args(["-vvv", "-nn", "-F"])
        .arg(&path)
        .output()
        .expect("lspci must be there: run by scripts/in-root");
    // It looks for kernel modules of such a function, too, and there may be none at all.
    let complaints = String::from_utf8(output.stderr).unwrap();
    let complaints: Vec<_> = complaints
        .lines()
        .filter(|line| !line.contains("libkmod"))
        .collect();
    assert!(
        output.status.success() && complaints.is_empty(),
        "{complaints:?}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| line.trim().to_string())
        .filter(|line| !line.is_empty())
        .collect()
}

/// All that lspci has to say of `function`.
fn expected(function: &Function) -> Vec<String> {
    let Function {
        vendor,
        device,
        subsystem_vendor,
        subsystem,
        class,
        revision,
        bar,
        rom,
        msix,
    } = function;
    let entry = |index, what: &str, range: &Range| {
        [
            format!("Entry {index}: Enable+ Writable- EntrySize=3"),
            format!("BAR Equivalent Indicator: {what}"),
            "PrimaryProperties: memory space, non-prefetchable".into(),
            "SecondaryProperties: entry unavailable for use, PrimaryProperties should be used"
                .into(),
            format!(
                "Base: {:x}{:08x}",
                range.start() >> 32,
                range.start() as u32
            ),
            // lspci shows the number with its two lowest bits set.
            format!("MaxOffset: {:08x}", range.len() - 1),
        ]
    };
    let mut lines = vec![
        format!(
            "[{:04x}] [{vendor:04x}:{device:04x}] (rev {revision:02x}) (prog-if {:02x})",
            class >> 8,
            class & 0xff
        ),
        format!("Subsystem: [{subsystem_vendor:04x}:{subsystem:04x}]"),
        "Control: I/O- Mem- BusMaster- SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx-".into(),
        "Status: Cap+ 66MHz- UDF- FastB2B- ParErr- DEVSEL=fast >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx-".into(),
        "Capabilities: [40] Enhanced Allocation (EA): NumEntries=2".into(),
    ];
    lines.extend(entry(0, "BAR 0", bar));
    lines.extend(entry(1, "expansion ROM", rom));
    lines.extend([
        format!(
            "Capabilities: [70] MSI-X: Enable- Count={} Masked-",
            msix.vectors()
        ),
        format!("Vector table: BAR=0 offset={:08x}", msix.offset()),
        format!("PBA: BAR=0 offset={:08x}", msix.pba()),
    ]);
    lines
}

/// `line` without the names that lspci has for numbers; they differ between its versions. `head` tells
/// whether it is the line that names the function.
fn without_names(line: &str, is_head: bool) -> String {
    if is_head {
        // 00:00.0 NAME [CLASS]: NAME [VENDOR:DEVICE] (rev REVISION) (prog-if NUMBER [NAME])
        let bracketed = |text: &str| {
            text.split('[')
                .nth(1)
                .unwrap()
                .split(']')
                .next()
                .unwrap()
                .to_string()
        };
        let (class, rest) = line.split_once("]: ").unwrap();
        let in_parentheses = |word: &str| {
            let found = rest.split(word).nth(1).map(|text| &text[..2]);
            found.unwrap_or("00").to_string()
        };
        return format!(
            "[{}] [{}] (rev {}) (prog-if {})",
            bracketed(&format!("{class}]")),
            bracketed(rest),
            in_parentheses("(rev "),
            in_parentheses("(prog-if ")
        );
    }
    match line.strip_prefix("Subsystem: ") {
        Some(rest) => format!("Subsystem: {}", &rest[rest.find('[').unwrap()..]),
        None => line.to_string(),
    }
}

fn check(test: &str, function: &Function) {
    // Old bytes that must not shine through.
    let mut page = [0xff; 4096];
    write(&mut page, function);
    let got: Vec<_> = lspci(test, &page)
        .iter()
        .enumerate()
        .map(|(index, line)| without_names(line, index == 0))
        .collect();
    assert_eq!(got, expected(function));

    // What Linux puts back after it has written all ones (`__pci_size_bars()`): no address.
    assert_eq!(page[0x10..0x28], [0; 0x18], "BARs");
    assert_eq!(page[0x30..0x34], [0; 4], "expansion ROM");
    // Interrupt pin and line: none.
    assert_eq!(page[0x3c..0x40], [0; 4]);
    // Header type 0, one function; no self-test.
    assert_eq!(page[0x0c..0x10], [0; 4]);
    // lspci shows no more than the space of a conventional function, and Linux reads no more.
    assert!(page[0x70 + 12..].iter().all(|&byte| byte == 0));
    // Where interrupts are looked up.
    assert_eq!(page[msix::CAPABILITY as usize], 0x11);
}

#[test]
fn a_disk() {
    let bus = Bus::new(Range::new(0x12_3450_0000, 2 << 20).unwrap()).unwrap();
    let function = Function {
        vendor: 0x1d0f,
        device: 0x8061,
        subsystem_vendor: 0x1d0f,
        subsystem: 0x8061,
        class: 0x01_08_02,
        revision: 0,
        bar: bus.bar(0).unwrap(),
        rom: bus.rom(0).unwrap(),
        msix: Table::new(33, 0x2000, 0x3000).unwrap(),
    };
    check("disk", &function);
}

#[test]
fn all_fields_at_their_borders() {
    for (index, start) in [
        0x10_0000,
        0x7ff0_0000,
        0xffe0_0000,
        0xfff0_0000,
        1 << 32,
        1 << 51,
    ]
    .into_iter()
    .enumerate()
    {
        let bus = Bus::new(Range::new(start, 2 << 20).unwrap()).unwrap();
        let slot = [0, 1, 15, 31][index % 4];
        let function = Function {
            vendor: [0x0001, 0xfffe][index % 2],
            device: [0xffff, 0x8000][index % 2],
            subsystem_vendor: [0xfedc, 0x0123][index % 2],
            subsystem: [0x0123, 0xfedc][index % 2],
            class: [0xff_ff_ff, 0x02_00_00, 0x01_08_02][index % 3],
            revision: [0xff, 1, 0][index % 3],
            bar: bus.bar(slot).unwrap(),
            rom: bus.rom(slot).unwrap(),
            msix: [
                Table::new(1, 0x3fe0, 0x3ff0),
                Table::new(128, 0, 0x800),
                Table::new(128, 0x3800, 0x37f0),
            ][index % 3]
                .unwrap(),
        };
        check(&format!("borders-{index}"), &function);
    }
}
