// SPDX-License-Identifier: GPL-2.0

//! Access to physical memory that the first OS itself does not use.

use crate::memory::memmap::Range;
use core::arch::asm;
use kernel::{bindings, prelude::*};

/// The maximum length of a part of a range that is mapped at once, in bytes.
const WINDOW: u64 = 64 << 20;

/// A range of physical memory, mapped write-back.
///
/// # Invariants
///
/// `address` is the result of `memremap()` for `len` bytes, and nobody else accesses these bytes
/// while a reference to them lives.
pub(crate) struct Mapping {
    address: *mut u8,
    len: usize,
}

// SAFETY: A kernel mapping is valid in all threads.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `range`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the memory can't be mapped.
    ///
    /// # Safety
    ///
    /// `range` must be memory that the first OS does not use. While the mapping lives, nobody else
    /// may access the memory: no other mapping, and no CPU of a successor.
    pub(crate) unsafe fn new(range: Range) -> Result<Self> {
        let len = usize::try_from(range.len())?;
        // SAFETY: The caller guarantees that the range is memory which nobody else uses.
        let address =
            unsafe { bindings::memremap(range.start(), len, bindings::MEMREMAP_WB as usize) };
        if address.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: `memremap()` succeeded, and the caller guarantees that nobody else accesses
        // the memory.
        Ok(Mapping {
            address: address.cast(),
            len,
        })
    }

    /// Returns the memory.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: By the type invariants the bytes are mapped, and accessed through `self` alone.
        // Memory is always initialised.
        unsafe { core::slice::from_raw_parts_mut(self.address, self.len) }
    }

    /// Gives up exclusive access: from now on a CPU of a successor may write to the memory.
    pub(crate) fn watch(self) -> Watched {
        // INVARIANT: This consumes the mapping, so nobody can make a reference through it any more.
        Watched(self)
    }
}

/// Mapped memory that a CPU of a successor may write at any time.
///
/// # Invariants
///
/// Only [`Watched::bytes`] makes references to the mapped memory.
pub(crate) struct Watched(Mapping);

// SAFETY: Through a shared reference, the memory is only accessed by volatile reads and writes of
// the mapping, as others do at the same time anyway.
unsafe impl Sync for Watched {}

impl Watched {
    /// Returns the memory, for a time in which nobody else accesses it.
    ///
    /// # Safety
    ///
    /// Nobody else may access it while the reference lives.
    pub(crate) unsafe fn bytes(&mut self) -> &mut [u8] {
        self.0.bytes()
    }

    /// Reads the word at `offset`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the word is not in the mapping, or not aligned.
    pub(crate) fn word(&self, offset: usize) -> Result<u32> {
        if offset % align_of::<u32>() != 0 {
            return Err(EINVAL);
        }
        let word = self.part(offset, size_of::<u32>())?.cast::<u32>();
        // SAFETY: `part()` has checked that the word is mapped, and it is aligned, since mappings
        // start at a page. The read is volatile, as the word may change at any time.
        Ok(unsafe { word.read_volatile() })
    }

    /// Writes the word at `offset`.
    ///
    /// # Errors
    ///
    /// Those of [`Watched::word`].
    pub(crate) fn set_word(&self, offset: usize, value: u32) -> Result {
        if offset % align_of::<u32>() != 0 {
            return Err(EINVAL);
        }
        let word = self.part(offset, size_of::<u32>())?.cast::<u32>();
        // SAFETY: As in `word()`; and the mapping is writable.
        unsafe { word.cast_mut().write_volatile(value) };
        Ok(())
    }

    /// Copies the bytes at `offset` to `out`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if not all of the bytes are in the mapping.
    pub(crate) fn read(&self, offset: usize, out: &mut [u8]) -> Result {
        let from = self.part(offset, out.len())?;
        // SAFETY: `part()` has checked that these bytes are mapped, and `out` has as many.
        unsafe { copy(out.as_mut_ptr(), from, out.len()) };
        Ok(())
    }

    /// Copies `bytes` to the memory at `offset`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if not all of the bytes are in the mapping.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> Result {
        let to = self.part(offset, bytes.len())?.cast_mut();
        // SAFETY: `part()` has checked that these bytes are mapped, and `bytes` has as many.
        unsafe { copy(to, bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// Writes what the caches hold of the memory back, and removes it from the caches of all CPUs.
    /// After that, an access that bypasses the caches sees what was written by this mapping.
    pub(crate) fn write_back(&self) {
        for offset in (0..self.0.len).step_by(WINDOW as usize) {
            let len = (self.0.len - offset).min(WINDOW as usize);
            let part = self.0.address.wrapping_add(offset);
            // SAFETY: By the type invariants these bytes are mapped. A CPU of a successor that
            // accesses them meanwhile sees the same as before.
            unsafe { bindings::clflush_cache_range(part.cast(), len as c_uint) };
        }
    }

    /// Returns the address at which the `len` bytes at `offset` are mapped.
    ///
    /// # Errors
    ///
    /// `EINVAL` if not all of the bytes are in the mapping.
    pub(super) fn part(&self, offset: usize, len: usize) -> Result<*const u8> {
        let end = offset.checked_add(len).ok_or(EINVAL)?;
        if end > self.0.len {
            return Err(EINVAL);
        }
        Ok(self.0.address.wrapping_add(offset))
    }
}

/// Physical memory that is mapped uncached, as a CPU of a successor maps it at the same time.
///
/// # Invariants
///
/// `address` is the result of `ioremap()` for `len` bytes.
pub(crate) struct Uncached {
    address: *mut u8,
    len: usize,
}

// SAFETY: A kernel mapping is valid in all threads.
unsafe impl Send for Uncached {}
// SAFETY: The memory is only accessed by volatile reads and writes of words.
unsafe impl Sync for Uncached {}

impl Uncached {
    /// Maps `range`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the memory can't be mapped.
    ///
    /// # Safety
    ///
    /// `range` must be memory that the first OS does not use. While the mapping lives, nobody may map
    /// the memory with another memory type.
    pub(crate) unsafe fn new(range: Range) -> Result<Self> {
        let len = usize::try_from(range.len())?;
        // SAFETY: The caller guarantees that this is memory which the first OS does not use.
        let address = unsafe { bindings::ioremap(range.start(), len) };
        if address.is_null() {
            return Err(ENOMEM);
        }
        // What an earlier mapping has left in the caches goes to memory. The memory type of the mapping
        // that names the lines does not matter (Intel SDM volume 2, CLFLUSH).
        // SAFETY: These bytes are mapped.
        unsafe { bindings::clflush_cache_range(address, c_uint::try_from(len)?) };
        // INVARIANT: `ioremap()` succeeded.
        Ok(Uncached {
            address: address.cast(),
            len,
        })
    }

    /// Returns the word at `offset`, or [`None`] if the word is not in the mapping, or not aligned.
    pub(crate) fn word(&self, offset: usize) -> Option<u32> {
        let word = self.address_of(offset)?;
        // SAFETY: `address_of()` has checked that the word is mapped and aligned.
        Some(unsafe { word.read_volatile() })
    }

    /// Writes the word at `offset`. Does nothing if the word is not in the mapping, or not aligned.
    pub(crate) fn set_word(&self, offset: usize, value: u32) {
        if let Some(word) = self.address_of(offset) {
            // SAFETY: `address_of()` has checked that the word is mapped and aligned.
            unsafe { word.write_volatile(value) };
        }
    }

    fn address_of(&self, offset: usize) -> Option<*mut u32> {
        let end = offset.checked_add(size_of::<u32>())?;
        let is_there = end <= self.len && offset % align_of::<u32>() == 0;
        is_there.then(|| self.address.wrapping_add(offset).cast())
    }
}

impl Drop for Uncached {
    fn drop(&mut self) {
        // SAFETY: By the type invariants `ioremap()` returned the address, which is not used any
        // more.
        unsafe { bindings::iounmap(self.address.cast()) };
    }
}

/// Copies `len` bytes of which others may read or write some at the same time. Each byte is accessed once.
///
/// The compiler does not see what this does, so that it can't take the bytes from where they came from
/// once more.
///
/// # Safety
///
/// Both must be valid for `len` bytes, and must not overlap.
unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: The caller guarantees that both have this many bytes. The direction flag is clear, as the
    // ABI demands.
    unsafe {
        asm!(
            "rep movsq",
            "mov rcx, {rest}",
            "rep movsb",
            rest = in(reg) len % 8,
            inout("rcx") len / 8 => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: By the type invariants `memremap()` returned the address, which is not used any
        // more.
        unsafe { bindings::memunmap(self.address.cast()) };
    }
}

/// Maps the parts of `range` one after the other, and calls `visit` with the offset in `range` and
/// the memory of each.
///
/// # Errors
///
/// `ENOMEM` if a part can't be mapped.
///
/// # Safety
///
/// Those of [`Mapping::new`], until this returns.
pub(crate) unsafe fn for_each_window(
    range: Range,
    mut visit: impl FnMut(u64, &mut [u8]),
) -> Result {
    let mut start = range.start();
    while let Some(window) = Range::from_to(start, range.end().min(start + WINDOW)) {
        // SAFETY: The safety requirements hold for `range`, and so for each part.
        let mut mapping = unsafe { Mapping::new(window) }?;
        visit(start - range.start(), mapping.bytes());
        start = window.end();
    }
    Ok(())
}

/// Writes `data` to the start of `range`, and zeros to the rest.
///
/// # Errors
///
/// `ENOMEM` if the memory can't be mapped; `EINVAL` if `data` is longer than `range`.
///
/// # Safety
///
/// Those of [`Mapping::new`], until this returns.
pub(crate) unsafe fn write(range: Range, data: &[u8]) -> Result {
    if data.len() as u64 > range.len() {
        return Err(EINVAL);
    }
    // SAFETY: This function has the same safety requirements.
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
/// `ENOMEM` if the memory can't be mapped.
///
/// # Safety
///
/// Those of [`Mapping::new`], until this returns.
pub(crate) unsafe fn scrub(range: Range) -> Result {
    // SAFETY: This function has the same safety requirements.
    unsafe { for_each_window(range, |_, window| window.fill(0)) }
}
