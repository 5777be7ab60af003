// SPDX-License-Identifier: GPL-2.0

//! Access to physical memory that the first OS does not use itself.

use crate::memmap::Range;
use kernel::{bindings, prelude::*};

/// The largest part of a range that is mapped at once, in bytes.
const WINDOW: u64 = 64 << 20;

/// A range of physical memory, mapped write-back.
///
/// # Invariants
///
/// `address` is where `memremap()` mapped `len` bytes, and nobody else accesses them while a
/// reference to them lives.
pub(crate) struct Mapping {
    address: *mut u8,
    len: usize,
}

impl Mapping {
    /// Maps `range`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no room for the mapping.
    ///
    /// # Safety
    ///
    /// `range` must be memory that the first OS does not use, and nobody else, no other mapping
    /// and no CPU of a successor, may access it while the mapping lives.
    pub(crate) unsafe fn new(range: Range) -> Result<Self> {
        let len = usize::try_from(range.len())?;
        // SAFETY: The caller promises that the memory is there and nobody's.
        let address =
            unsafe { bindings::memremap(range.start(), len, bindings::MEMREMAP_WB as usize) };
        if address.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: `memremap()` succeeded, the rest is the caller's promise.
        Ok(Mapping {
            address: address.cast(),
            len,
        })
    }

    /// The memory.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: By the type invariants the bytes are mapped, initialised as all memory is, and
        // accessed through `self` alone.
        unsafe { core::slice::from_raw_parts_mut(self.address, self.len) }
    }

    /// Turns the mapping into one of a single word at `offset`, which a CPU of a successor may
    /// write from now on.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such word or it is not aligned.
    pub(crate) fn watch(self, offset: usize) -> Result<WatchedWord> {
        if offset % align_of::<u32>() != 0 || offset + size_of::<u32>() > self.len {
            return Err(EINVAL);
        }
        // INVARIANT: Checked above; a page-aligned mapping keeps the alignment.
        Ok(WatchedWord {
            offset,
            mapping: self,
        })
    }
}

/// A word of physical memory that somebody else writes.
///
/// # Invariants
///
/// The word lies within the mapping and is aligned. No reference to the mapped memory is made.
pub(crate) struct WatchedWord {
    mapping: Mapping,
    offset: usize,
}

impl WatchedWord {
    /// What is there now.
    pub(crate) fn read(&self) -> u32 {
        let word = self.mapping.address.wrapping_add(self.offset).cast::<u32>();
        // SAFETY: By the type invariants it is mapped and aligned; volatile, since it changes.
        unsafe { word.read_volatile() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this is what `memremap()` returned.
        unsafe { bindings::memunmap(self.address.cast()) };
    }
}

/// Calls `visit` with each part of `range` in turn, mapped.
///
/// # Safety
///
/// As for [`Mapping::new`], until this returns.
unsafe fn for_each_window(range: Range, mut visit: impl FnMut(u64, &mut [u8])) -> Result {
    let mut start = range.start();
    while let Some(window) = Range::from_to(start, range.end().min(start + WINDOW)) {
        // SAFETY: The caller's promise holds for each part.
        let mut mapping = unsafe { Mapping::new(window) }?;
        visit(start - range.start(), mapping.bytes());
        start = window.end();
    }
    Ok(())
}

/// Copies `data` to the start of `range`.
///
/// # Errors
///
/// `ENOMEM` if there is no room for a mapping; `EINVAL` if `data` is empty or longer than `range`.
///
/// # Safety
///
/// As for [`Mapping::new`], until this returns.
pub(crate) unsafe fn copy(range: Range, data: &[u8]) -> Result {
    let to = Range::new(range.start(), data.len() as u64)
        .filter(|to| range.contains(to))
        .ok_or(EINVAL)?;
    // SAFETY: The caller's promise.
    unsafe {
        for_each_window(to, |offset, window| {
            window.copy_from_slice(&data[offset as usize..][..window.len()]);
        })
    }
}

/// Fills `range` with zeros.
///
/// # Errors
///
/// `ENOMEM` if there is no room for a mapping.
///
/// # Safety
///
/// As for [`Mapping::new`], until this returns.
pub(crate) unsafe fn scrub(range: Range) -> Result {
    // SAFETY: The caller's promise.
    unsafe { for_each_window(range, |_, window| window.fill(0)) }
}
