// SPDX-License-Identifier: GPL-2.0

//! Parses VMCOREINFO, in which a Linux kernel describes itself to readers of its memory.
//!
//! Reference: `kernel/vmcore_info.c`, `include/linux/vmcore_info.h` and
//! Documentation/admin-guide/kdump/vmcoreinfo.rst. VMCOREINFO consists of lines of text in an ELF
//! note. The note is at the start of a page (`alloc_pages_exact()`), and exists from
//! `subsys_initcall` on.

use super::{number, PhysicalMemory, PAGE};
use crate::memory::memmap::Range;
use core::fmt;

/// Length of `n_namesz`, `n_descsz`, `n_type` (`struct elf_note`), and the name, padded to 4 bytes.
pub const NOTE_HEADER_LEN: usize = 12 + 12;
/// `VMCOREINFO_BYTES`: the maximum length of the text.
pub const TEXT_LEN_MAX: usize = PAGE as usize;
/// The maximum length of the note, without the empty note that ends the list (`final_note()`).
pub const NOTE_LEN_MAX: usize = NOTE_HEADER_LEN + TEXT_LEN_MAX;

/// `VMCOREINFO_NOTE_NAME`, with its padding.
const NAME: &[u8; 12] = b"VMCOREINFO\0\0";
/// The name's length with its terminating zero.
const NAME_LEN: u64 = 11;

/// The kind of a line, written before the name in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The virtual address of a variable.
    Symbol,
    /// The length of a structure in bytes.
    Size,
    /// The offset of a member in its structure.
    Offset,
    /// A number.
    Number,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Symbol => "SYMBOL",
            Kind::Size => "SIZE",
            Kind::Offset => "OFFSET",
            Kind::Number => "NUMBER",
        }
    }
}

/// What is wrong with a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is not an ELF note with the name VMCOREINFO.
    NotANote,
    /// The text, of this length, is longer than VMCOREINFO can be.
    TooLong(u64),
    /// The note is truncated.
    Truncated {
        /// The length according to the header.
        needed: usize,
        /// The number of bytes present.
        len: usize,
    },
    /// There is no line of this kind and name.
    Missing(Kind, &'static str),
    /// The value is not a number, or out of range.
    Value(Kind, &'static str),
    /// The symbols are neither those of x86-64 nor those of i386.
    Architecture,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::NotANote => f.write_str("not a VMCOREINFO note"),
            Error::TooLong(len) => write!(f, "VMCOREINFO of {len} bytes is impossible"),
            Error::Truncated { needed, len } => {
                write!(
                    f,
                    "VMCOREINFO is cut short: {len} bytes where {needed} are announced"
                )
            }
            Error::Missing(kind, name) => {
                write!(f, "VMCOREINFO has no {}({name})", kind.name())
            }
            Error::Value(kind, name) => {
                write!(f, "VMCOREINFO's {}({name}) is impossible", kind.name())
            }
            Error::Architecture => f.write_str("VMCOREINFO is neither x86-64's nor i386's"),
        }
    }
}

/// The architecture that a kernel was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 64 bits.
    X86_64,
    /// 32 bits. With PAE, page table entries have 64 bits.
    I386 {
        /// CONFIG_X86_PAE.
        pae: bool,
    },
}

impl Architecture {
    /// Returns the size of a pointer, and of a `long`, in bytes.
    pub fn word_len(self) -> usize {
        match self {
            Architecture::X86_64 => 8,
            Architecture::I386 { .. } => 4,
        }
    }
}

/// Returns whether a VMCOREINFO note starts at `page`, the first bytes of a page.
pub fn is_note(page: &[u8]) -> bool {
    text_len(page).is_ok()
}

/// Returns the length of the text of the note that starts with `header`.
fn text_len(header: &[u8]) -> Result<usize, Error> {
    let header: &[u8; NOTE_HEADER_LEN] = header.first_chunk().ok_or(Error::NotANote)?;
    let is_ours = number(&header[0..4]) == NAME_LEN
        && number(&header[8..12]) == 0
        && header[12..] == NAME[..];
    if !is_ours {
        return Err(Error::NotANote);
    }
    let len = number(&header[4..8]);
    match usize::try_from(len) {
        Ok(len) if len <= TEXT_LEN_MAX => Ok(len),
        _ => Err(Error::TooLong(len)),
    }
}

/// Searches at most `max_pages` pages of `range`, from address `from` on, for a note.
///
/// Returns the address of the note, if there is one, and the address at which to continue the
/// search. The search is complete if the latter is not below the end of `range`. A note may belong
/// to another kernel, in a file that the OS has read: if it is not usable, continue.
pub fn find(
    mem: &mut dyn PhysicalMemory,
    range: &Range,
    from: u64,
    max_pages: u64,
) -> (Option<u64>, u64) {
    let mut header = [0; NOTE_HEADER_LEN];
    let Some(mut page) = from.max(range.start()).checked_next_multiple_of(PAGE) else {
        return (None, from.max(range.end()));
    };
    for _ in 0..max_pages {
        if page >= range.end() {
            break;
        }
        let next = page.saturating_add(PAGE);
        if mem.read(page, &mut header).is_some() && is_note(&header) {
            return (Some(page), next);
        }
        page = next;
    }
    (None, page)
}

/// The text of a note whose header was checked.
#[derive(Clone, Copy, Debug)]
pub struct VmcoreInfo<'a> {
    text: &'a [u8],
}

impl<'a> VmcoreInfo<'a> {
    /// Checks the note at the start of `note`, which may have other data after it.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn parse(note: &'a [u8]) -> Result<Self, Error> {
        let needed = NOTE_HEADER_LEN + text_len(note)?;
        let text = note.get(NOTE_HEADER_LEN..needed).ok_or(Error::Truncated {
            needed,
            len: note.len(),
        })?;
        Ok(VmcoreInfo { text })
    }

    /// Returns the length of the note in bytes, padded to 4.
    pub fn note_len(&self) -> usize {
        NOTE_HEADER_LEN + self.text.len().next_multiple_of(4)
    }

    /// Returns the kernel's release, as `uname -r` prints it.
    pub fn osrelease(&self) -> Option<&'a str> {
        self.word(b"OSRELEASE=")
    }

    /// Returns the build ID of the kernel's ELF image, in hexadecimal.
    pub fn build_id(&self) -> Option<&'a str> {
        self.word(b"BUILD-ID=")
    }

    /// Returns the virtual address of the variable `name`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] or [`Error::Value`].
    pub fn symbol(&self, name: &'static str) -> Result<u64, Error> {
        let value = self.value(Kind::Symbol, name)?;
        u64::from_str_radix(value, 16).map_err(|_| Error::Value(Kind::Symbol, name))
    }

    /// Returns the length of the structure `name` in bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] or [`Error::Value`].
    pub fn size(&self, name: &'static str) -> Result<u64, Error> {
        self.unsigned(Kind::Size, name)
    }

    /// Returns the offset of a member in its structure; `name` is both names with a dot between
    /// them.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] or [`Error::Value`].
    pub fn offset(&self, name: &'static str) -> Result<u64, Error> {
        self.unsigned(Kind::Offset, name)
    }

    /// Returns the number `name`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] or [`Error::Value`].
    pub fn number(&self, name: &'static str) -> Result<i64, Error> {
        let value = self.value(Kind::Number, name)?;
        match value.strip_prefix("0x") {
            // A hexadecimal number, such as an address, has 64 bits and no sign.
            Some(hex) => u64::from_str_radix(hex, 16).map(|bits| bits as i64),
            None => value.parse(),
        }
        .map_err(|_| Error::Value(Kind::Number, name))
    }

    /// Returns whether the kernel was built with an option such as `CONFIG_X86_PAE`, according to
    /// VMCOREINFO.
    pub fn config(&self, option: &str) -> bool {
        self.after(option.as_bytes()) == Some(b"=y")
    }

    /// Returns the architecture of the kernel.
    ///
    /// # Errors
    ///
    /// [`Error::Architecture`] if it is neither x86-64 nor i386.
    pub fn architecture(&self) -> Result<Architecture, Error> {
        // arch/x86/kernel/vmcore_info_64.c and vmcore_info_32.c.
        if self.symbol("init_top_pgt").is_ok() && self.number("phys_base").is_ok() {
            return Ok(Architecture::X86_64);
        }
        match self.symbol("swapper_pg_dir") {
            Ok(address) if u32::try_from(address).is_ok() => Ok(Architecture::I386 {
                pae: self.config("CONFIG_X86_PAE"),
            }),
            _ => Err(Error::Architecture),
        }
    }

    fn unsigned(&self, kind: Kind, name: &'static str) -> Result<u64, Error> {
        let value = self.value(kind, name)?;
        value.parse().map_err(|_| Error::Value(kind, name))
    }

    /// Returns the text after `KIND(name)=`.
    fn value(&self, kind: Kind, name: &'static str) -> Result<&'a str, Error> {
        let value = self
            .text
            .split(|&byte| byte == b'\n')
            .find_map(|line| {
                line.strip_prefix(kind.name().as_bytes())?
                    .strip_prefix(b"(")?
                    .strip_prefix(name.as_bytes())?
                    .strip_prefix(b")=")
            })
            .ok_or(Error::Missing(kind, name))?;
        core::str::from_utf8(value).map_err(|_| Error::Value(kind, name))
    }

    /// Returns the rest of the first line that starts with `start`.
    fn after(&self, start: &[u8]) -> Option<&'a [u8]> {
        self.text
            .split(|&byte| byte == b'\n')
            .find_map(|line| line.strip_prefix(start))
    }

    /// Returns the same as [`after`](Self::after), if it is a single printable word.
    fn word(&self, start: &[u8]) -> Option<&'a str> {
        let word = self.after(start)?;
        let printable = !word.is_empty() && word.iter().all(u8::is_ascii_graphic);
        core::str::from_utf8(word).ok().filter(|_| printable)
    }
}
