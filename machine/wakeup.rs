// SPDX-License-Identifier: GPL-2.0

//! The page in which a successor's CPU wakes up: `trampoline.S`, and what it is told.

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

// What the trampoline is told, by offset in the page; the names are those of `trampoline.S`.
/// Written by it: how far it came, see [`Stage`]. 32 bits.
const STAGE: usize = 0x700;
/// What it is to do: [`PARK`] or one of the two after that. 32 bits.
const PURPOSE: usize = 0x704;
/// Physical address of the top table of those that lead to long mode. 32 bits.
const STEPPING_STONE: usize = 0x708;
/// Physical address of the kernel's entry. 64 bits.
const ENTRY: usize = 0x710;
/// Physical address of `boot_params`. 64 bits.
const BOOT_PARAMS: usize = 0x718;
/// Physical address of the top table of those that the kernel is entered with. 64 bits.
const ROOT: usize = 0x720;

// What a CPU is to do.
const PARK: u32 = 0;
const ENTER_PROTECTED: u32 = 1;
const ENTER_LONG: u32 = 2;

/// How long a CPU may take from the startup IPI to its answer. It takes microseconds on a
/// machine and milliseconds in an emulator; a CPU that needs longer is not coming.
pub(crate) const ANSWER_LIMIT: Delta = Delta::from_secs(5);
/// How long it may take before the startup IPI is sent again, as the protocol has it.
pub(crate) const FIRST_LIMIT: Delta = Delta::from_millis(200);
/// How often it is looked at.
const POLL: Delta = Delta::from_micros(50);

/// How far a CPU came; the numbers are those of `trampoline.S`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stage(u32);

impl Stage {
    /// It was not seen at all.
    pub(crate) const NONE: Stage = Stage(0);
    /// It rests in the trampoline, interrupts off.
    const PARKED: Stage = Stage(1);
    /// It is at the kernel's entry.
    pub(crate) const ENTERED: Stage = Stage(5);
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "it never answered the startup IPI",
            1 => "it is parked",
            2 => "it came as far as real mode",
            3 => "it came as far as protected mode",
            4 => "it came as far as long mode",
            5 => "it entered the kernel",
            _ => "it wrote nonsense",
        })
    }
}

/// What a CPU is to do when it wakes up.
pub(crate) enum Purpose {
    /// Rest.
    Park,
    /// Enter a kernel.
    Start {
        /// In this mode.
        mode: EntryMode,
        /// Physical address of its entry.
        entry: u64,
        /// Physical address of `boot_params`.
        boot_params: u64,
    },
}

/// The mode of the CPU in which a kernel is entered.
pub(crate) enum EntryMode {
    /// Protected mode without paging.
    Protected,
    /// Long mode.
    Long {
        /// Physical address of the top table of an identity map of the first 2 MiB: without paging,
        /// a CPU can only load what lies below 4 GiB.
        stepping_stone: u32,
        /// Physical address of the top table that the kernel is entered with, which maps them too.
        root: u64,
    },
}

/// A page for the trampoline, in which one CPU at a time wakes up. It stays mapped, so that nothing
/// is missing when a CPU is to be parked.
///
/// # Invariants
///
/// The page is ours, and no CPU runs in it but the one that [`Trampoline::prepare`] was last called
/// for.
pub(crate) struct Trampoline {
    goal: Stage,
    page: Watched,
}

impl Trampoline {
    /// Maps the page at physical address `page`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if it can't be mapped.
    ///
    /// # Safety
    ///
    /// The page must be ours for as long as this lives, and no CPU may run in it but those that it
    /// is prepared for.
    pub(crate) unsafe fn new(page: u64) -> Result<Self> {
        let range = Range::new(page, PAGE).ok_or(EINVAL)?;
        // SAFETY: The caller's promise; it is only referred to while it is prepared.
        let page = unsafe { Mapping::new(range) }?.watch();
        // INVARIANT: The caller's promise.
        Ok(Trampoline {
            goal: Stage::NONE,
            page,
        })
    }

    /// Makes the page ready for a CPU. It is written afresh each time, since its last user changed
    /// it.
    ///
    /// # Safety
    ///
    /// No CPU may run in the page, and none but the one that is woken there may until the next
    /// call.
    pub(crate) unsafe fn prepare(&mut self, purpose: &Purpose) {
        // SAFETY: The caller's promise; the CPU is only woken when this has returned.
        let bytes = unsafe { self.page.bytes() };
        bytes.fill(0);
        let code = code();
        bytes[..code.len()].copy_from_slice(code);
        bytes[IOAPIC as usize..][..ioapic::LEN].copy_from_slice(&ioapic::registers());
        self.goal = match *purpose {
            Purpose::Park => {
                bytes[PURPOSE..][..4].copy_from_slice(&PARK.to_le_bytes());
                Stage::PARKED
            }
            Purpose::Start {
                ref mode,
                entry,
                boot_params,
            } => {
                let (purpose, stepping_stone, root) = match *mode {
                    EntryMode::Protected => (ENTER_PROTECTED, 0, 0),
                    EntryMode::Long {
                        stepping_stone,
                        root,
                    } => (ENTER_LONG, stepping_stone, root),
                };
                bytes[PURPOSE..][..4].copy_from_slice(&purpose.to_le_bytes());
                bytes[STEPPING_STONE..][..4].copy_from_slice(&stepping_stone.to_le_bytes());
                bytes[ROOT..][..8].copy_from_slice(&root.to_le_bytes());
                bytes[ENTRY..][..8].copy_from_slice(&entry.to_le_bytes());
                bytes[BOOT_PARAMS..][..8].copy_from_slice(&boot_params.to_le_bytes());
                Stage::ENTERED
            }
        };
    }

    /// How far the CPU has come.
    pub(crate) fn stage(&self) -> Stage {
        // The word lies within the page.
        self.page.word(STAGE).map_or(Stage::NONE, Stage)
    }

    /// Waits until the CPU has done what it was to do, or `limit` is over.
    ///
    /// # Errors
    ///
    /// How far it came, if that took too long.
    pub(crate) fn wait(&self, limit: Delta) -> Result<(), Stage> {
        let started = Instant::<Monotonic>::now();
        loop {
            let stage = self.stage();
            if stage == self.goal {
                return Ok(());
            }
            if started.elapsed() > limit {
                return Err(stage);
            }
            fsleep(POLL);
        }
    }
}

/// The code, as assembled.
fn code() -> &'static [u8] {
    assembled!(mint_trampoline, mint_trampoline_end)
}
