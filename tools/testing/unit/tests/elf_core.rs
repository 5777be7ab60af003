// SPDX-License-Identifier: GPL-2.0

//! Core files, as binutils reads them.

#[path = "common/kernel.rs"]
mod kernel;

use kernel::{note, Memory};
use mint_unit::memory::memmap::Range;
use mint_unit::postmortem::elf_core::{ElfCore, Error};
use mint_unit::postmortem::vmcoreinfo::Architecture;
use mint_unit::postmortem::PhysicalMemory;
use std::{fs, path::PathBuf, process::Command};

const PAGE_OFFSET: u64 = 0xffff_8880_0000_0000;
const TEXT: &[u8] = b"OSRELEASE=1\nPAGESIZE=4096\nX=y\n";
const I386: Architecture = Architecture::I386 { pae: true };

fn range(start: u64, len: u64) -> Range {
    Range::new(start, len).unwrap()
}

/// Memory in several pieces, with other bytes in each.
struct Pieces(Vec<Memory>);

impl Pieces {
    fn new(ranges: &[Range]) -> Self {
        Pieces(
            ranges
                .iter()
                .enumerate()
                .map(|(number, range)| {
                    let mut memory = Memory::new(range.start(), range.len());
                    for (at, byte) in memory.bytes.iter_mut().enumerate() {
                        *byte = (at % 253 + number) as u8;
                    }
                    memory
                })
                .collect(),
        )
    }
}

impl PhysicalMemory for Pieces {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Option<()> {
        self.0.iter_mut().find_map(|piece| piece.read(address, out))
    }
}

fn whole(core: &ElfCore<'_>, mem: &mut dyn PhysicalMemory, step: usize) -> Vec<u8> {
    let mut file = Vec::new();
    loop {
        let mut part = vec![0x55; step];
        let len = core.read(mem, file.len() as u64, &mut part).unwrap();
        assert!(part[len..].iter().all(|&byte| byte == 0x55));
        file.extend_from_slice(&part[..len]);
        if len < step {
            assert_eq!(file.len() as u64, core.len());
            return file;
        }
    }
}

/// The lines that readelf prints, with one space between words; it may have nothing to complain
/// about.
fn readelf(name: &str, file: &[u8]) -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, file).unwrap();
    let output = Command::new("readelf")
        .args(["--wide", "--file-header", "--segments", "--notes"])
        .arg(&path)
        .output()
        .expect("readelf must be there: run by scripts/in-root");
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && complaints.is_empty(),
        "{complaints}"
    );
    fs::remove_file(&path).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn as_readelf_reads_it() {
    let note = note(TEXT);
    for (architecture, machine) in [(Architecture::X86_64, "X86-64"), (I386, "80386")] {
        for page_offset in [Some(PAGE_OFFSET), None] {
            let ranges = [range(0x3_0000, 0x1_0000), range(0x1_0020_0000, 0x20_0000)];
            let mut memory = Pieces::new(&ranges);
            let core = ElfCore::new(architecture, &note, &ranges, page_offset).unwrap();
            let file = whole(&core, &mut memory, 4096);
            let lines = readelf(&format!("core-{machine}-{}", page_offset.is_some()), &file);
            let line = |start: &str| lines.iter().find(|line| line.starts_with(start)).unwrap();
            assert_eq!(line("Class:"), "Class: ELF64");
            assert_eq!(line("Type:"), "Type: CORE (Core file)");
            assert!(line("Machine:").ends_with(machine));
            assert!(line("Data:").ends_with("little endian"));
            let len = format!("VMCOREINFO {:#010x}", TEXT.len());
            assert!(line("VMCOREINFO").starts_with(&len));

            let loads: Vec<Vec<&str>> = lines
                .iter()
                .filter(|line| line.starts_with("LOAD "))
                .map(|line| line.split(' ').collect())
                .collect();
            assert_eq!(loads.len(), 2);
            for (load, (range, memory)) in loads.iter().zip(ranges.iter().zip(&memory.0)) {
                let number = |at: usize| u64::from_str_radix(&load[at][2..], 16).unwrap();
                let [offset, address, physical, in_file, in_memory] = [1, 2, 3, 4, 5].map(number);
                assert_eq!(address, page_offset.map_or(0, |base| base + range.start()));
                assert_eq!(physical, range.start());
                assert_eq!((in_file, in_memory), (range.len(), range.len()));
                assert_eq!(load[load.len() - 1], "0");
                let part = &file[offset as usize..(offset + in_file) as usize];
                assert!(part == memory.bytes);
            }
        }
    }
}

#[test]
fn pieces_of_any_size() {
    let note = note(&[b'x'; 4093]);
    // Not whole pages, and one after the other in memory.
    let ranges = [
        range(0x1001, 1),
        range(0x1002, 0x2fff),
        range(0x8fff, 2),
        range(0x10000, 8192),
    ];
    let mut memory = Pieces::new(&ranges);
    let core = ElfCore::new(Architecture::X86_64, &note, &ranges, Some(PAGE_OFFSET)).unwrap();
    let file = whole(&core, &mut memory, 1 << 20);
    assert!(whole(&core, &mut memory, 4096) == file);
    for step in [1, 63, 4097, 8191] {
        assert!(whole(&core, &mut memory, step) == file, "{step}");
    }
    readelf("core-pieces", &file);
    // Each byte of memory has the same place in its page as in the file.
    for (number, range) in ranges.iter().enumerate() {
        let header = 64 + 56 * (1 + number);
        let at = |at: usize| u64::from_le_bytes(file[header + at..][..8].try_into().unwrap());
        let (offset, physical) = (at(8), at(24));
        assert_eq!(physical, range.start());
        assert_eq!(offset % 4096, physical % 4096);
        let part = &file[offset as usize..][..range.len() as usize];
        assert!(part == memory.0[number].bytes);
    }
    let notes = file[64 + 56 * 5..][..note.len()].to_vec();
    assert!(notes == note);

    for offset in [core.len(), core.len() + 1, u64::MAX] {
        let mut out = [0x55; 16];
        assert_eq!(core.read(&mut memory, offset, &mut out), Ok(0));
        assert_eq!(out, [0x55; 16]);
    }
    assert_eq!(core.read(&mut memory, 0, &mut []), Ok(0));
}

#[test]
fn memory_that_is_gone() {
    let ranges = [range(0x1000, 0x1000), range(0x8000, 0x1000)];
    let mut memory = Pieces::new(&ranges[..1]);
    let core = ElfCore::new(Architecture::X86_64, &[], &ranges, None).unwrap();
    let mut out = [0; 4096];
    assert_eq!(core.len(), 3 * 4096);
    assert_eq!(core.read(&mut memory, 0, &mut out), Ok(4096));
    assert_eq!(core.read(&mut memory, 4096, &mut out), Ok(4096));
    assert_eq!(
        core.read(&mut memory, 8000, &mut out),
        Err(Error::Outside(0x8000))
    );
}

#[test]
fn what_no_file_can_hold() {
    let new =
        |ranges: &[Range]| ElfCore::new(I386, &[], ranges, Some(u64::MAX)).map(|core| core.len());
    assert_eq!(new(&[]), Ok(4096));
    assert_eq!(new(&[range(0, u64::MAX)]), Err(Error::TooLarge));
    assert_eq!(new(&[range(4096, u64::MAX - 4096)]), Err(Error::TooLarge));
    assert_eq!(
        new(&[range(0, 1 << 63), range(0, (1 << 63) - 4096)]),
        Err(Error::TooLarge)
    );
    assert_eq!(
        new(&[range(0, 1 << 63), range(0, (1 << 63) - 8192)]),
        Ok(u64::MAX - 4095)
    );
    let many = vec![range(0, 1); 0xfffd];
    assert!(new(&many).is_ok());
    let many = vec![range(0, 1); 0xfffe];
    assert_eq!(new(&many), Err(Error::TooManyRanges(0xfffe)));
    // Offsets that are near the end of all numbers.
    let ranges = [range(0, 1 << 63), range(0, (1 << 63) - 8192)];
    let core = ElfCore::new(I386, &[], &ranges, Some(u64::MAX)).unwrap();
    let mut memory = Pieces::new(&[range(0, 4096)]);
    let mut out = [0; 4096];
    assert!(core.read(&mut memory, core.len() - 1, &mut out).is_err());
    assert_eq!(core.read(&mut memory, 4096, &mut out), Ok(4096));
}
