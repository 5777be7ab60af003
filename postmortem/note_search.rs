// SPDX-License-Identifier: GPL-2.0

//! Searches an OS's memory for the VMCOREINFO note of its kernel. The search has many small steps:
//! a booting kernel has no note yet, and each step has a limit, since the memory may contain
//! anything.

use super::{vmcoreinfo, PhysicalMemory, PAGE};
use crate::memory::memmap::Range;

/// How many pages a step searches while an OS runs: 256 MiB of its memory, which takes some
/// milliseconds.
const PAGES_AT_A_TIME: u64 = 1 << 16;
/// The number of pages per step is halved after this many fruitless passes through all the memory.
const ROUNDS: u32 = 128;
/// The maximum number of halvings, which leaves 4 MiB per step.
const HALVINGS: u32 = 6;
/// How many notes a step tries while an OS runs. There are few notes besides the kernel's own, and
/// each may take as long as reading a log.
const NOTES_AT_A_TIME: u32 = 16;
/// How many notes are tried in a search of all the memory.
const NOTES_MAX: u32 = 1024;

/// The limit of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The maximum number of pages to search.
    pub pages: u64,
    /// The maximum number of possible notes to try.
    pub notes: u32,
}

/// The progress of a search.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoteSearch {
    /// The address at which the next step starts.
    from: u64,
    /// The number of fruitless passes through all the memory.
    rounds: u32,
}

impl NoteSearch {
    /// Makes a search that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the next step start at the beginning of the memory.
    pub fn rewind(&mut self) {
        self.from = 0;
    }

    /// Returns the limit for the next step in a running OS, which gets smaller after long fruitless
    /// searches.
    pub fn limit(&self) -> Limit {
        Limit {
            pages: PAGES_AT_A_TIME >> (self.rounds / ROUNDS).min(HALVINGS),
            notes: NOTES_AT_A_TIME,
        }
    }

    /// Continues the search in `range`, until `open` accepts the note at an address. Starts over at
    /// the end of `range`.
    ///
    /// # Errors
    ///
    /// The error of `open` for the last note, or [`None`] if there was no note.
    pub fn look<T, E>(
        &mut self,
        mem: &mut dyn PhysicalMemory,
        range: &Range,
        limit: Limit,
        mut open: impl FnMut(&mut dyn PhysicalMemory, u64) -> Result<T, E>,
    ) -> Result<T, Option<E>> {
        let mut pages = limit.pages;
        let mut error = None;
        for _ in 0..limit.notes {
            let before = self.from.max(range.start());
            let (note, next) = vmcoreinfo::find(mem, range, before, pages);
            pages = pages.saturating_sub((next - before) / PAGE);
            self.from = next;
            if next >= range.end() {
                self.from = 0;
                self.rounds = self.rounds.saturating_add(1);
            }
            let Some(note) = note else {
                break;
            };
            match open(mem, note) {
                Ok(found) => return Ok(found),
                Err(other) => error = Some(other),
            }
            if self.from == 0 || pages == 0 {
                break;
            }
        }
        Err(error)
    }

    /// Searches all of `range`, as [`look`](Self::look) does.
    ///
    /// # Errors
    ///
    /// Those of [`look`](Self::look).
    pub fn look_everywhere<T, E>(
        &mut self,
        mem: &mut dyn PhysicalMemory,
        range: &Range,
        open: impl FnMut(&mut dyn PhysicalMemory, u64) -> Result<T, E>,
    ) -> Result<T, Option<E>> {
        let all = Limit {
            pages: u64::MAX,
            notes: NOTES_MAX,
        };
        self.rewind();
        self.look(mem, range, all, open)
    }
}
