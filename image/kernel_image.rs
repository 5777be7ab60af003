// SPDX-License-Identifier: GPL-2.0

//! A kernel image, whatever its format: what of it goes where, and what the kernel needs there.

use crate::image::setup_header::SetupHeader;

/// The most segments that an image may have.
pub const SEGMENTS_MAX: usize = 8;

/// A piece of the file, and where in memory it goes.
///
/// # Invariants
///
/// `start <= end`, and `end` is not behind the end of the file that was parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Where it goes, from the load address on.
    pub offset: u64,
    /// Where it starts in the file.
    pub start: usize,
    /// Where it ends in the file.
    pub end: usize,
    /// Bytes that it has in memory, not fewer than in the file; the others are zeros.
    pub memory_len: u64,
}

impl Segment {
    /// Its bytes in `file`, which is the one that was parsed.
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
    /// `segments`; [`None`] if they are more than there may be.
    pub fn new(segments: impl IntoIterator<Item = Segment>) -> Option<Self> {
        let mut all = [Segment::default(); SEGMENTS_MAX];
        let mut len = 0;
        for segment in segments {
            *all.get_mut(len)? = segment;
            len += 1;
        }
        Some(Segments { all, len })
    }
}

impl core::ops::Deref for Segments {
    type Target = [Segment];

    fn deref(&self) -> &[Segment] {
        &self.all[..self.len]
    }
}

/// The mode of the CPU in which a kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Protected mode without paging: a 32-bit kernel.
    Protected,
    /// Long mode: a 64-bit kernel.
    Long,
}

/// An image that has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelImage {
    /// What is copied to memory: all ends within `init_size`, and no two have memory in common.
    pub segments: Segments,
    /// What `boot_params` starts from.
    pub setup_header: SetupHeader,
    /// How it is entered.
    pub mode: Mode,
    /// Its entry in that mode, from the load address on; within a segment.
    pub entry: u64,
    /// Alignment of the load address in bytes, a power of two of at least 4096.
    pub alignment: u64,
    /// Address at which the kernel would like to be.
    pub pref_address: u64,
    /// Bytes from the load address on that must be free for the kernel.
    pub init_size: u64,
    /// Whether kernel, command line and initrd may lie above 4 GiB.
    pub above_4g: bool,
    /// Whether it knows EFI firmware.
    pub efi: bool,
    /// Longest command line in bytes, without the terminating zero.
    pub cmdline_size: usize,
    /// Highest address of the initrd's last byte, where `above_4g` does not hold.
    pub initrd_addr_max: u64,
}

/// The first two numbers of the kernel's version that `text` starts with, if it does.
pub fn version(text: &[u8]) -> Option<(u32, u32)> {
    let mut numbers = text.split(|byte| !byte.is_ascii_digit()).map(|digits| {
        let digits = core::str::from_utf8(digits).ok()?;
        digits.parse().ok()
    });
    Some((numbers.next()??, numbers.next()??))
}
