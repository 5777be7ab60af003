// SPDX-License-Identifier: GPL-2.0

//! Access to physical memory that the first OS does not use itself.

use crate::memory::memmap::Range;
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

// SAFETY: A mapping is the same for all threads.
unsafe impl Send for Mapping {}

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

    /// Turns the mapping into one that a CPU of a successor may write to from now on.
    pub(crate) fn watch(self) -> Watched {
        // INVARIANT: The mapping is given up, and with it the way to make references.
        Watched(self)
    }
}

/// Memory that somebody else may write.
///
/// # Invariants
///
/// No reference to the mapped memory is made through it, but by [`Watched::bytes`].
pub(crate) struct Watched(Mapping);

impl Watched {
    /// The memory, for a time in which nobody else writes it.
    ///
    /// # Safety
    ///
    /// Nobody else may access it while the reference lives.
    pub(crate) unsafe fn bytes(&mut self) -> &mut [u8] {
        self.0.bytes()
    }

    /// The word at `offset` as it is now.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such word or it is not aligned.
    pub(crate) fn word(&self, offset: usize) -> Result<u32> {
        if offset % align_of::<u32>() != 0 {
            return Err(EINVAL);
        }
        let word = self.part(offset, size_of::<u32>())?.cast::<u32>();
        // SAFETY: It is mapped, and aligned as the page is; volatile, since it may change.
        Ok(unsafe { word.read_volatile() })
    }

    /// Copies what is at `offset` to `out`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is not all mapped.
    pub(crate) fn read(&self, offset: usize, out: &mut [u8]) -> Result {
        let mut from = self.part(offset, out.len())?;
        let (words, rest) = out.split_at_mut(out.len() & !7);
        for word in words.chunks_exact_mut(8) {
            // SAFETY: Within the part, and unaligned by its type; volatile, since it may change.
            let value = unsafe { from.cast::<Unaligned>().read_volatile() };
            word.copy_from_slice(&value.0.to_ne_bytes());
            from = from.wrapping_add(8);
        }
        for byte in rest {
            // SAFETY: As above.
            *byte = unsafe { from.read_volatile() };
            from = from.wrapping_add(1);
        }
        Ok(())
    }

    /// Where the `len` bytes at `offset` are mapped, if they are.
    fn part(&self, offset: usize, len: usize) -> Result<*const u8> {
        let end = offset.checked_add(len).ok_or(EINVAL)?;
        if end > self.0.len {
            return Err(EINVAL);
        }
        Ok(self.0.address.wrapping_add(offset))
    }
}

/// A word that need not be aligned.
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Unaligned(u64);

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this is what `memremap()` returned.
        unsafe { bindings::memunmap(self.address.cast()) };
    }
}

/// Calls `visit` with each part of `range` in turn, mapped, and its offset in `range`.
///
/// # Errors
///
/// `ENOMEM` if there is no room for a mapping.
///
/// # Safety
///
/// As for [`Mapping::new`], until this returns.
pub(crate) unsafe fn for_each_window(
    range: Range,
    mut visit: impl FnMut(u64, &mut [u8]),
) -> Result {
    let mut start = range.start();
    while let Some(window) = Range::from_to(start, range.end().min(start + WINDOW)) {
        // SAFETY: The caller's promise holds for each part.
        let mut mapping = unsafe { Mapping::new(window) }?;
        visit(start - range.start(), mapping.bytes());
        start = window.end();
    }
    Ok(())
}

/// Fills `range` with `data`, and with zeros behind that.
///
/// # Errors
///
/// `ENOMEM` if there is no room for a mapping; `EINVAL` if `data` is longer than `range`.
///
/// # Safety
///
/// As for [`Mapping::new`], until this returns.
pub(crate) unsafe fn write(range: Range, data: &[u8]) -> Result {
    if data.len() as u64 > range.len() {
        return Err(EINVAL);
    }
    // SAFETY: The caller's promise.
    unsafe {
        for_each_window(range, |offset, window| {
            let rest = data.get(offset as usize..).unwrap_or_default();
            let (here, behind) = window.split_at_mut(rest.len().min(window.len()));
            here.copy_from_slice(&rest[..here.len()]);
            behind.fill(0);
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
