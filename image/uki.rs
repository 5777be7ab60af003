// SPDX-License-Identifier: GPL-2.0

//! Parser for a unified kernel image (UKI): an EFI executable with a kernel, and mostly an initrd
//! and a command line, in sections of their own.
//!
//! Reference: UAPI.5 "Unified Kernel Image" of the UAPI group; Microsoft's "PE Format". All fields
//! are little-endian.
//!
//! A bzImage with CONFIG_EFI_STUB is an EFI executable too. It has no section `.linux`.

use crate::image::bytes::{bytes, check_len, Truncated};
use core::fmt;

/// MS-DOS signature, with which an EFI executable starts.
const MZ: [u8; 2] = *b"MZ";
/// Offset of the field that holds the offset of the PE signature.
const PE_OFFSET: u64 = 0x3c;
const PE_SIGNATURE: [u8; 4] = *b"PE\0\0";

// "COFF File Header", from the PE signature on.
const SECTION_COUNT: u64 = 4 + 2;
const OPTIONAL_HEADER_LEN: u64 = 4 + 16;
const OPTIONAL_HEADER: u64 = 4 + 20;

// "Section Table".
const SECTION_HEADER_LEN: u64 = 40;
const VIRTUAL_SIZE: u64 = 8;
const RAW_LEN: u64 = 16;
const RAW_OFFSET: u64 = 20;

type Name = [u8; 8];
/// Separates profiles. Sections before the first one belong to all profiles.
const PROFILE: Name = *b".profile";
/// The sections that are read, in the order of the fields of [`Uki`].
const NAMES: [Name; 3] = [*b".linux\0\0", *b".initrd\0", *b".cmdline"];

/// Why a unified kernel image can't be used. Each is about the section of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The section lies beyond the end of the file.
    Truncated(Name, Truncated),
    /// The section overlaps the headers, or another section that is read.
    Overlap(Name),
    /// The section is there twice in one profile.
    Twice(Name),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, why): (_, &dyn fmt::Display) = match self {
            Error::Truncated(name, truncated) => (name, truncated),
            Error::Overlap(name) => (name, &"it overlaps the headers or another section"),
            Error::Twice(name) => (name, &"there are two"),
        };
        let name = core::str::from_utf8(name).unwrap_or("?");
        write!(f, "section {}: {why}", name.trim_end_matches('\0'))
    }
}

/// A part of the file.
///
/// # Invariants
///
/// `start <= end`, and `end` is at most the length of the file that was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// Offset of the first byte in the file.
    pub start: usize,
    /// Offset in the file after the last byte.
    pub end: usize,
}

impl Section {
    /// Returns the contents. `file` must be the file that was parsed.
    pub fn data<'a>(&self, file: &'a [u8]) -> &'a [u8] {
        &file[self.start..self.end]
    }
}

/// The sections of a unified kernel image that a successor gets. No two overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uki {
    /// The kernel.
    pub linux: Section,
    /// The initrd, if there is one.
    pub initrd: Option<Section>,
    /// The command line, if there is one, as [`command_line`] reads it.
    pub cmdline: Option<Section>,
}

/// Parses `file`. Returns [`None`] if it is no unified kernel image.
///
/// Of an image with several profiles this takes the first, which is the default.
///
/// # Errors
///
/// Returns the first defect that the parser finds; see [`Error`].
pub fn parse(file: &[u8]) -> Result<Option<Uki>, Error> {
    // Headers that are cut short have no section `.linux`.
    let headers = || -> Result<_, Truncated> {
        if bytes(file, 0)? != MZ {
            return Ok(None);
        }
        let pe = u64::from(u32::from_le_bytes(bytes(file, PE_OFFSET)?));
        if bytes(file, pe)? != PE_SIGNATURE {
            return Ok(None);
        }
        let u16_at = |offset| bytes(file, pe + offset).map(u16::from_le_bytes);
        let count = u64::from(u16_at(SECTION_COUNT)?);
        let table = pe + OPTIONAL_HEADER + u64::from(u16_at(OPTIONAL_HEADER_LEN)?);
        let table_end = table + count * SECTION_HEADER_LEN;
        check_len(file, table_end)?;
        // Both are at most the file's length, which is a `usize`.
        Ok(Some(&file[..table_end as usize]).map(|headers| (headers, table as usize)))
    };
    let Ok(Some((headers, table))) = headers() else {
        return Ok(None);
    };

    // Each section, and the profile that it belongs to: 0 is all of them.
    let mut found = [None; NAMES.len()];
    let mut profile = 0;
    for header in headers[table..].chunks_exact(SECTION_HEADER_LEN as usize) {
        if header.starts_with(&PROFILE) {
            profile += 1;
            if profile > 1 {
                break;
            }
        }
        let Some(index) = NAMES.iter().position(|name| header.starts_with(name)) else {
            continue;
        };
        if matches!(found[index], Some((_, other)) if other == profile) {
            return Err(Error::Twice(NAMES[index]));
        }
        found[index] = Some((header, profile));
    }

    let mut sections = [None; NAMES.len()];
    for (index, (name, header)) in NAMES.into_iter().zip(found).enumerate() {
        let Some((header, _)) = header else {
            continue;
        };
        let truncated = |truncated| Error::Truncated(name, truncated);
        let field = |offset| {
            let value = bytes(header, offset).map(u32::from_le_bytes);
            value.map(u64::from).map_err(truncated)
        };
        // The raw data is padded; the virtual size is the length without padding, unless room for
        // the kernel to run in place is added to it.
        let len = field(RAW_LEN)?.min(field(VIRTUAL_SIZE)?);
        let start = field(RAW_OFFSET)?;
        let end = start + len;
        check_len(file, end).map_err(truncated)?;
        // INVARIANT: Both are at most the file's length, which is a `usize`.
        let section = Section {
            start: start as usize,
            end: end as usize,
        };
        if len == 0 {
            continue;
        }
        let overlaps = |other: &Section| section.start < other.end && other.start < section.end;
        let mut others = sections.iter().flatten();
        if section.start < headers.len() || others.any(overlaps) {
            return Err(Error::Overlap(name));
        }
        sections[index] = Some(section);
    }
    let [Some(linux), initrd, cmdline] = sections else {
        return Ok(None);
    };
    Ok(Some(Uki {
        linux,
        initrd,
        cmdline,
    }))
}

/// Returns the command line in the contents of the section `.cmdline`, without the zeros and white
/// space around it. Returns [`None`] if that is not one line of printable ASCII text and tabs.
pub fn command_line(contents: &[u8]) -> Option<&str> {
    let is_printable = |c: &u8| c.is_ascii_graphic() || *c == b' ' || *c == b'\t';
    let end = contents
        .iter()
        .rposition(|&c| c > b' ')
        .map_or(0, |last| last + 1);
    let line = contents[..end].trim_ascii_start();
    line.iter().all(is_printable).then_some(())?;
    core::str::from_utf8(line).ok()
}
