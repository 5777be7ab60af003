// SPDX-License-Identifier: GPL-2.0

//! The page in which a successor's CPU wakes up: the code of `trampoline.S`, and its arguments.

use crate::{
    firmware::ioapic,
    image::layout::{IOAPIC, PAGE},
    linux::phys_memory::{Mapping, Watched},
    machine::assembled::assembled,
    memory::memmap::Range,
};
use core::fmt;
use kernel::{
    prelude::*,
    time::{delay::fsleep, Delta, Instant, Monotonic}, //
};

// Offsets of the trampoline's arguments in the page; the names are those in `trampoline.S`.
/// Written by the trampoline: how far the CPU has come, see [`Stage`]. 32 bits.
const STAGE: usize = 0x700;
/// In which mode the CPU must enter the kernel: [`ENTER_PROTECTED`] or [`ENTER_LONG`]. 32 bits.
const MODE: usize = 0x704;
/// Physical address of the top-level table of the [stepping stone](super::stepping_stone). 32 bits.
const STEPPING_STONE: usize = 0x708;
/// Physical address of the kernel's entry point. 64 bits.
const ENTRY: usize = 0x710;
/// Physical address of `boot_params`. 64 bits.
const BOOT_PARAMS: usize = 0x718;
/// Physical address of the top-level page table that the kernel is entered with. 64 bits.
const ROOT: usize = 0x720;

// Values of MODE.
const ENTER_PROTECTED: u32 = 1;
const ENTER_LONG: u32 = 2;

/// How long a CPU may take from the startup IPI to its answer. That takes microseconds on hardware
/// and milliseconds in an emulator; a CPU that takes longer will not answer.
pub(crate) const ANSWER_LIMIT: Delta = Delta::from_secs(5);
/// How long to wait before the second startup IPI of the protocol is sent.
pub(crate) const FIRST_LIMIT: Delta = Delta::from_millis(200);
/// How often to poll for the answer.
pub(crate) const POLL: Delta = Delta::from_micros(50);

/// How far a CPU has come; the numbers are those in `trampoline.S`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stage(u32);

impl Stage {
    /// The CPU has not reached the trampoline.
    pub(crate) const NONE: Stage = Stage(0);
    /// The CPU is about to jump to the kernel's entry point.
    const ENTERED: Stage = Stage(4);
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "it never answered the startup IPI",
            1 => "it came as far as real mode",
            2 => "it came as far as protected mode",
            3 => "it came as far as long mode",
            4 => "it entered the kernel",
            _ => "it wrote nonsense",
        })
    }
}

/// Where a CPU enters a kernel.
pub(crate) struct Entry {
    /// The mode to enter it in.
    pub(crate) mode: EntryMode,
    /// Physical address of its entry point.
    pub(crate) address: u64,
    /// Physical address of `boot_params`.
    pub(crate) boot_params: u64,
}

/// The CPU mode in which a kernel is entered.
pub(crate) enum EntryMode {
    /// Protected mode without paging.
    Protected,
    /// Long mode.
    Long {
        /// Physical address of the top-level table of an identity map of the first 2 MiB. The CPU
        /// loads it while paging is off, when it can only load an address below 4 GiB.
        stepping_stone: u32,
        /// Physical address of the top-level table that the kernel is entered with. That one must
        /// map the first 2 MiB as well.
        root: u64,
    },
}

/// A page with the trampoline, in which one CPU at a time wakes up. The page stays mapped, so that
/// parking a CPU needs no memory.
///
/// # Invariants
///
/// This owns the page, and no CPU runs in it except the one that [`Trampoline::prepare`] was last
/// called for.
pub(crate) struct Trampoline {
    page: Watched,
}

impl Trampoline {
    /// Maps the page at physical address `page`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the page can't be mapped.
    ///
    /// # Safety
    ///
    /// The caller must own the page for as long as this lives. No CPU may run in it except the one
    /// that [`Trampoline::prepare`] was last called for.
    pub(crate) unsafe fn new(page: u64) -> Result<Self> {
        let range = Range::new(page, PAGE).ok_or(EINVAL)?;
        // SAFETY: The caller owns the page. It is watched from here on; only `prepare()` makes a
        // reference, while no CPU runs in the page.
        let page = unsafe { Mapping::new(range) }?.watch();
        // INVARIANT: The caller owns the page and lets no other CPU run in it.
        Ok(Trampoline { page })
    }

    /// Prepares the page for a CPU. Writes all of it each time, since the last CPU has changed it.
    ///
    /// # Safety
    ///
    /// No CPU may run in the page now. Until the next call, only one CPU may, which must not be
    /// woken before this returns.
    pub(crate) unsafe fn prepare(&mut self, entry: &Entry) {
        // SAFETY: The caller guarantees that no CPU runs in the page before this returns.
        let bytes = unsafe { self.page.bytes() };
        bytes.fill(0);
        let code = code();
        bytes[..code.len()].copy_from_slice(code);
        bytes[IOAPIC as usize..][..ioapic::LEN].copy_from_slice(&ioapic::registers());
        let (mode, stepping_stone, root) = match entry.mode {
            EntryMode::Protected => (ENTER_PROTECTED, 0, 0),
            EntryMode::Long {
                stepping_stone,
                root,
            } => (ENTER_LONG, stepping_stone, root),
        };
        bytes[MODE..][..4].copy_from_slice(&mode.to_le_bytes());
        bytes[STEPPING_STONE..][..4].copy_from_slice(&stepping_stone.to_le_bytes());
        bytes[ROOT..][..8].copy_from_slice(&root.to_le_bytes());
        bytes[ENTRY..][..8].copy_from_slice(&entry.address.to_le_bytes());
        bytes[BOOT_PARAMS..][..8].copy_from_slice(&entry.boot_params.to_le_bytes());
        // The kernel maps the I/O APIC uncached; and a CPU whose MTRRs are off, as INIT may leave
        // them, does not read the code from the caches.
        self.page.write_back();
    }

    /// Returns how far the CPU has come.
    pub(crate) fn stage(&self) -> Stage {
        // See `prepare()`: a CPU whose MTRRs are off has written it to memory alone.
        self.page.write_back();
        // Can't fail: the word lies within the page.
        self.page.word(STAGE).map_or(Stage::NONE, Stage)
    }

    /// Waits until the CPU is about to enter the kernel, for at most `limit`.
    ///
    /// # Errors
    ///
    /// Returns how far the CPU has come, if it took longer.
    pub(crate) fn wait(&self, limit: Delta) -> Result<(), Stage> {
        let started = Instant::<Monotonic>::now();
        loop {
            let stage = self.stage();
            if stage == Stage::ENTERED {
                return Ok(());
            }
            if started.elapsed() > limit {
                return Err(stage);
            }
            fsleep(POLL);
        }
    }
}

/// Returns the assembled code.
fn code() -> &'static [u8] {
    // SAFETY: The start and the end of one object in `.rodata` (trampoline.S).
    unsafe { assembled!(mint_trampoline, mint_trampoline_end) }
}
