// SPDX-License-Identifier: GPL-2.0

//! Makes a core file of an OS's memory, in the format of /proc/vmcore.
//!
//! Reference: System V ABI, "Object Files"; `crash_prepare_elf64_headers()` (kernel/crash_core.c).
//! The file consists of an ELF header, a program header for the VMCOREINFO note and one for each
//! range of memory, the note as the kernel wrote it, and the memory.

use super::{vmcoreinfo::Architecture, PhysicalMemory, PAGE};
use crate::memory::memmap::Range;
use core::fmt;

const HEADER_LEN: u64 = 64;
const PROGRAM_HEADER_LEN: u64 = 56;

// "ELF Header".
const CLASS_64: u8 = 2;
const DATA_LITTLE_ENDIAN: u8 = 1;
const VERSION_CURRENT: u8 = 1;
const TYPE_CORE: u16 = 4;
const MACHINE_386: u16 = 3;
const MACHINE_X86_64: u16 = 62;
// "Program Header".
const SEGMENT_LOAD: u32 = 1;
const SEGMENT_NOTE: u32 = 4;
const READ_WRITE_EXECUTE: u32 = 7;
/// `p_align`, which is 0 in /proc/vmcore. By this value crash distinguishes a vmcore from a netdump
/// file. Only for a vmcore does crash read the KASLR offset from VMCOREINFO.
const NO_ALIGNMENT: u64 = 0;
/// `PN_XNUM`: from this number on, the ELF header can't hold the number of program headers.
const PROGRAM_HEADERS_END: usize = 0xffff;

/// Why the core file, or a part of it, can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// There are more ranges than an ELF header can describe.
    TooManyRanges(usize),
    /// The length of the file exceeds 64 bits.
    TooLarge,
    /// This physical address is not in the OS's memory.
    Outside(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::TooManyRanges(count) => {
                write!(f, "{count} ranges of memory are too many for a core file")
            }
            Error::TooLarge => f.write_str("too much memory for a core file"),
            Error::Outside(address) => {
                write!(f, "physical address {address:#x} is not the OS's memory")
            }
        }
    }
}

/// A core file.
///
/// # Invariants
///
/// The length of the file fits in a `u64`, and there are fewer `ranges` than
/// [`PROGRAM_HEADERS_END`].
#[derive(Clone, Copy, Debug)]
pub struct ElfCore<'a> {
    machine: u16,
    note: &'a [u8],
    ranges: &'a [Range],
    page_offset: Option<u64>,
    len: u64,
}

impl<'a> ElfCore<'a> {
    /// Describes the core file of an OS with the memory `ranges` and the VMCOREINFO note `note`.
    ///
    /// The class is ELFCLASS64 for i386 too: with PAE there may be memory above 4 GiB, and crash
    /// and makedumpfile read both classes. `page_offset` is the virtual address of the direct map
    /// of all memory.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyRanges`] or [`Error::TooLarge`].
    pub fn new(
        architecture: Architecture,
        note: &'a [u8],
        ranges: &'a [Range],
        page_offset: Option<u64>,
    ) -> Result<Self, Error> {
        if ranges.len() >= PROGRAM_HEADERS_END - 1 {
            return Err(Error::TooManyRanges(ranges.len()));
        }
        let mut core = ElfCore {
            machine: match architecture {
                Architecture::X86_64 => MACHINE_X86_64,
                Architecture::I386 { .. } => MACHINE_386,
            },
            note,
            ranges,
            page_offset,
            len: 0,
        };
        // INVARIANT: The number of ranges is checked above, and the additions here check the
        // length. `memory_at()` is small.
        core.len = ranges
            .iter()
            .try_fold(core.memory_at(), |at, range| {
                at.checked_add(segment_len(range)?)
            })
            .ok_or(Error::TooLarge)?;
        Ok(core)
    }

    /// Returns the length of the file in bytes.
    // The file always has a header.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Copies the bytes of the file from `offset` on to `out`. Returns the number of bytes, which
    /// is less than the length of `out` only at the end of the file.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`] if a range is not in the OS's memory.
    pub fn read(
        &self,
        mem: &mut dyn PhysicalMemory,
        offset: u64,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let len = self.len.saturating_sub(offset).min(out.len() as u64) as usize;
        let mut window = Window {
            offset,
            bytes: &mut out[..len],
        };
        // Zeros between the parts of the file.
        window.bytes.fill(0);
        window.put(0, &self.header());
        window.put(HEADER_LEN, &self.note_header());
        window.put(self.note_at(), self.note);

        let mut header_at = HEADER_LEN + PROGRAM_HEADER_LEN;
        let mut segment_at = self.memory_at();
        for range in self.ranges {
            window.put(header_at, &self.load_header(range, segment_at));
            let start = segment_at + range.start() % PAGE;
            if let Some((skipped, part)) = window.part(start, range.len()) {
                let address = range.start() + skipped;
                mem.read(address, part).ok_or(Error::Outside(address))?;
            }
            header_at += PROGRAM_HEADER_LEN;
            segment_at = segment_at.saturating_add(segment_len(range).unwrap_or(0));
        }
        Ok(len)
    }

    /// Returns the offset of the note in the file: directly after the headers, and a multiple of
    /// 4.
    fn note_at(&self) -> u64 {
        HEADER_LEN + PROGRAM_HEADER_LEN * (1 + self.ranges.len() as u64)
    }

    /// Returns the offset of the first range in the file.
    fn memory_at(&self) -> u64 {
        (self.note_at() + self.note.len() as u64).next_multiple_of(PAGE)
    }

    fn header(&self) -> [u8; HEADER_LEN as usize] {
        let mut header = [0; HEADER_LEN as usize];
        header[0..4].copy_from_slice(b"\x7fELF");
        header[4..7].copy_from_slice(&[CLASS_64, DATA_LITTLE_ENDIAN, VERSION_CURRENT]);
        header[16..18].copy_from_slice(&TYPE_CORE.to_le_bytes());
        header[18..20].copy_from_slice(&self.machine.to_le_bytes());
        header[20..24].copy_from_slice(&u32::from(VERSION_CURRENT).to_le_bytes());
        // e_phoff, e_ehsize, e_phentsize, e_phnum; there are no sections.
        header[32..40].copy_from_slice(&HEADER_LEN.to_le_bytes());
        header[52..54].copy_from_slice(&(HEADER_LEN as u16).to_le_bytes());
        header[54..56].copy_from_slice(&(PROGRAM_HEADER_LEN as u16).to_le_bytes());
        header[56..58].copy_from_slice(&(1 + self.ranges.len() as u16).to_le_bytes());
        header
    }

    fn note_header(&self) -> [u8; PROGRAM_HEADER_LEN as usize] {
        let len = self.note.len() as u64;
        program_header(
            SEGMENT_NOTE,
            0,
            [self.note_at(), 0, 0, len, len, NO_ALIGNMENT],
        )
    }

    fn load_header(&self, range: &Range, segment_at: u64) -> [u8; PROGRAM_HEADER_LEN as usize] {
        let start = range.start();
        let virtual_start = self.page_offset.map_or(0, |base| base.wrapping_add(start));
        program_header(
            SEGMENT_LOAD,
            READ_WRITE_EXECUTE,
            [
                segment_at + start % PAGE,
                virtual_start,
                start,
                range.len(),
                range.len(),
                NO_ALIGNMENT,
            ],
        )
    }
}

/// Makes a program header. `rest` is `p_offset`, `p_vaddr`, `p_paddr`, `p_filesz`, `p_memsz` and
/// `p_align`.
fn program_header(kind: u32, flags: u32, rest: [u64; 6]) -> [u8; PROGRAM_HEADER_LEN as usize] {
    let mut header = [0; PROGRAM_HEADER_LEN as usize];
    header[0..4].copy_from_slice(&kind.to_le_bytes());
    header[4..8].copy_from_slice(&flags.to_le_bytes());
    for (to, from) in header[8..].chunks_exact_mut(8).zip(rest) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    header
}

/// Returns the length of the part of the file for `range`. Each byte has the same offset within a
/// page in the file as in memory, so a page that is read from the file is a page of memory.
fn segment_len(range: &Range) -> Option<u64> {
    (range.start() % PAGE)
        .checked_add(range.len())?
        .checked_next_multiple_of(PAGE)
}

/// The requested part of the file.
struct Window<'a> {
    offset: u64,
    bytes: &'a mut [u8],
}

impl Window<'_> {
    /// Intersects the window with the part of the file of `len` bytes from `at` on. Returns the
    /// number of bytes of that part before the intersection, and the window's bytes in it.
    fn part(&mut self, at: u64, len: u64) -> Option<(u64, &mut [u8])> {
        let window_end = self.offset.saturating_add(self.bytes.len() as u64);
        let start = at.max(self.offset);
        let end = at.saturating_add(len).min(window_end);
        if start >= end {
            return None;
        }
        let from = (start - self.offset) as usize;
        let to = (end - self.offset) as usize;
        Some((start - at, &mut self.bytes[from..to]))
    }

    fn put(&mut self, at: u64, what: &[u8]) {
        if let Some((skipped, part)) = self.part(at, what.len() as u64) {
            let skipped = skipped as usize;
            part.copy_from_slice(&what[skipped..skipped + part.len()]);
        }
    }
}
