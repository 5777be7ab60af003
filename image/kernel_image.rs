// SPDX-License-Identifier: GPL-2.0

//! A kernel image, independent of its file format: which parts of the file are loaded where, and
//! what the kernel needs at its load address.

use crate::image::setup_header::SetupHeader;

/// The maximum number of segments of an image.
pub const SEGMENTS_MAX: usize = 8;

/// A part of the file, and its place in memory.
///
/// # Invariants
///
/// `start <= end`, and `end` is at most the length of the file that was parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Offset in memory from the load address.
    pub offset: u64,
    /// Offset of the first byte in the file.
    pub start: usize,
    /// Offset in the file after the last byte.
    pub end: usize,
    /// Length in memory, at least the length in the file; the bytes after that are zeros.
    pub memory_len: u64,
}

impl Segment {
    /// Returns the bytes of this segment. `file` must be the file that was parsed.
    pub fn data<'a>(&self, file: &'a [u8]) -> &'a [u8] {
        &file[self.start..self.end]
    }
}

/// The segments of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    all: [Segment; SEGMENTS_MAX],
    len: usize,
}

impl Segments {
    /// Collects `segments`; returns [`None`] if there are more than [`SEGMENTS_MAX`].
    pub fn new(segments: impl IntoIterator<Item = Segment>) -> Option<Self> {
        let mut all = [Segment::default(); SEGMENTS_MAX];
        let mut len = 0;
        for segment in segments {
            *all.get_mut(len)? = segment;
            len += 1;
        }
        Some(Segments { all, len })
    }

    /// Makes these the segments of a file in which the parsed file starts at offset `by`.
    pub fn move_by(&mut self, by: usize) {
        for segment in &mut self.all[..self.len] {
            segment.start += by;
            segment.end += by;
        }
    }
}

impl core::ops::Deref for Segments {
    type Target = [Segment];

    fn deref(&self) -> &[Segment] {
        &self.all[..self.len]
    }
}

/// The CPU mode in which a kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Protected mode without paging: a 32-bit kernel.
    Protected,
    /// Long mode: a 64-bit kernel.
    Long,
}

/// A kernel image that a parser has checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelImage {
    /// The segments to copy to memory. Each ends within `init_size`, and no two overlap in memory.
    pub segments: Segments,
    /// The setup header that is copied to `boot_params`.
    pub setup_header: SetupHeader,
    /// The CPU mode in which the kernel is entered.
    pub mode: Mode,
    /// Offset of the entry point for `mode` from the load address; within a segment.
    pub entry: u64,
    /// Alignment of the load address in bytes, a power of two of at least 4096.
    pub alignment: u64,
    /// The kernel's preferred load address.
    pub pref_address: u64,
    /// Length in bytes of the memory from the load address on that the kernel needs.
    pub init_size: u64,
    /// Whether kernel, command line and initrd may lie above 4 GiB.
    pub above_4g: bool,
    /// Whether the kernel supports EFI.
    pub efi: bool,
    /// The maximum length of the command line in bytes, without the terminating zero.
    pub cmdline_size: usize,
    /// The highest address that the initrd's last byte may have if `above_4g` is false.
    pub initrd_addr_max: u64,
}

/// Parses the first two numbers of the kernel version at the start of `text`.
pub fn version(text: &[u8]) -> Option<(u32, u32)> {
    let mut numbers = text.split(|byte| !byte.is_ascii_digit()).map(|digits| {
        let digits = core::str::from_utf8(digits).ok()?;
        digits.parse().ok()
    });
    Some((numbers.next()??, numbers.next()??))
}
