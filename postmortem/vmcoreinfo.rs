// SPDX-License-Identifier: GPL-2.0

//! VMCOREINFO: what a Linux kernel tells of itself to who reads its memory.
//!
//! Reference: `kernel/vmcore_info.c`, `include/linux/vmcore_info.h` and
//! Documentation/admin-guide/kdump/vmcoreinfo.rst. It is lines of text in an ELF note, which
//! starts a page (`alloc_pages_exact()`) and is there from `subsys_initcall` on.

use super::{number, PhysicalMemory, PAGE};
use crate::memory::memmap::Range;
use core::fmt;

/// `n_namesz`, `n_descsz`, `n_type` (`struct elf_note`), and the name, padded to 4 bytes.
pub const NOTE_HEADER_LEN: usize = 12 + 12;
/// `VMCOREINFO_BYTES`: the longest text.
pub const TEXT_LEN_MAX: usize = PAGE as usize;
/// The longest note, without the empty one that ends the list (`final_note()`).
pub const NOTE_LEN_MAX: usize = NOTE_HEADER_LEN + TEXT_LEN_MAX;

/// `VMCOREINFO_NOTE_NAME`, with its padding.
const NAME: &[u8; 12] = b"VMCOREINFO\0\0";
/// The name's length with its terminating zero.
const NAME_LEN: u64 = 11;

/// What a line gives of a thing, as it is written before the thing's name in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The virtual address of a variable.
    Symbol,
    /// The length of a structure in bytes.
    Size,
    /// Where a member lies in its structure.
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
    /// No ELF note with the name VMCOREINFO.
    NotANote,
    /// More text than VMCOREINFO may have.
    TooLong(u64),
    /// The note is cut short.
    Truncated {
        /// Bytes that there should be.
        needed: usize,
        /// Bytes that there are.
        len: usize,
    },
    /// There is no such line.
    Missing(Kind, &'static str),
    /// What the line says is no number, or one out of bounds.
    Value(Kind, &'static str),
    /// Neither x86-64's symbols nor i386's.
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

/// The processor that a kernel is for, as far as it can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 64 bits.
    X86_64,
    /// 32 bits; with PAE, page table entries have 64.
    I386 {
        /// CONFIG_X86_PAE.
        pae: bool,
    },
}

impl Architecture {
    /// Bytes of a pointer, and of a `long`.
    pub fn word_len(self) -> usize {
        match self {
            Architecture::X86_64 => 8,
            Architecture::I386 { .. } => 4,
        }
    }
}

/// Whether `page`, the first bytes of a page, starts a VMCOREINFO note.
pub fn is_note(page: &[u8]) -> bool {
    text_len(page).is_ok()
}

/// How much text the note announces that starts with `header`.
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

/// Looks for a note in at most `max_pages` pages of `range`, from address `from` on.
///
/// Returns the note's address, if there is one, and from where to look on; nothing is left where
/// that is not below the end of `range`. What looks like a note may be one of another kernel, in
/// a file that the OS has read: if it can't be used, look on.
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

/// The text of a note that has been checked.
#[derive(Clone, Copy, Debug)]
pub struct VmcoreInfo<'a> {
    text: &'a [u8],
}

impl<'a> VmcoreInfo<'a> {
    /// Checks the note at the start of `note`, which may be followed by anything.
    ///
    /// # Errors
    ///
    /// What is wrong with the note; see [`Error`].
    pub fn parse(note: &'a [u8]) -> Result<Self, Error> {
        let needed = NOTE_HEADER_LEN + text_len(note)?;
        let text = note.get(NOTE_HEADER_LEN..needed).ok_or(Error::Truncated {
            needed,
            len: note.len(),
        })?;
        Ok(VmcoreInfo { text })
    }

    /// The note's length in bytes, padded to 4.
    pub fn note_len(&self) -> usize {
        NOTE_HEADER_LEN + self.text.len().next_multiple_of(4)
    }

    /// The kernel's release, as `uname -r` prints it.
    pub fn osrelease(&self) -> Option<&'a str> {
        self.word(b"OSRELEASE=")
    }

    /// The build ID of the kernel's ELF image, in hexadecimal.
    pub fn build_id(&self) -> Option<&'a str> {
        self.word(b"BUILD-ID=")
    }

    /// The virtual address of variable `name`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] or [`Error::Value`].
    pub fn symbol(&self, name: &'static str) -> Result<u64, Error> {
        let value = self.value(Kind::Symbol, name)?;
        u64::from_str_radix(value, 16).map_err(|_| Error::Value(Kind::Symbol, name))
    }

    /// The length of structure `name` in bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] or [`Error::Value`].
    pub fn size(&self, name: &'static str) -> Result<u64, Error> {
        self.unsigned(Kind::Size, name)
    }

    /// Where a member lies in its structure; `name` is both names with a dot between them.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] or [`Error::Value`].
    pub fn offset(&self, name: &'static str) -> Result<u64, Error> {
        self.unsigned(Kind::Offset, name)
    }

    /// The number `name`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] or [`Error::Value`].
    pub fn number(&self, name: &'static str) -> Result<i64, Error> {
        let value = self.value(Kind::Number, name)?;
        match value.strip_prefix("0x") {
            // Such as an address: all of its bits, none of which is a sign.
            Some(hex) => u64::from_str_radix(hex, 16).map(|bits| bits as i64),
            None => value.parse(),
        }
        .map_err(|_| Error::Value(Kind::Number, name))
    }

    /// Whether the kernel says that it was built with an option such as `CONFIG_X86_PAE`.
    pub fn config(&self, option: &str) -> bool {
        self.after(option.as_bytes()) == Some(b"=y")
    }

    /// The processor that the kernel is for.
    ///
    /// # Errors
    ///
    /// [`Error::Architecture`] if it is none that is known here.
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

    /// What is behind `KIND(name)=`.
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

    /// The rest of the first line that starts with `start`.
    fn after(&self, start: &[u8]) -> Option<&'a [u8]> {
        self.text
            .split(|&byte| byte == b'\n')
            .find_map(|line| line.strip_prefix(start))
    }

    /// As [`after`](Self::after), if it is one word that can be printed.
    fn word(&self, start: &[u8]) -> Option<&'a str> {
        let word = self.after(start)?;
        let printable = !word.is_empty() && word.iter().all(u8::is_ascii_graphic);
        core::str::from_utf8(word).ok().filter(|_| printable)
    }
}
