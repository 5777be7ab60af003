// SPDX-License-Identifier: GPL-2.0

//! The search for the note of an OS's kernel: look by look, since a kernel has none at first, and
//! each with a limit, since the memory may hold anything.

use super::{vmcoreinfo, PhysicalMemory, PAGE};
use crate::memory::memmap::Range;

/// How many pages are searched in a look while an OS runs: 256 MiB of its memory, which takes some
/// milliseconds.
const PAGES_AT_A_TIME: u64 = 1 << 16;
/// After so many looks through all the memory in vain, half as many pages are searched.
const ROUNDS: u32 = 128;
/// As often at most, which leaves 4 MiB at a time.
const HALVINGS: u32 = 6;
/// How many notes are tried in a look while an OS runs. There are few but the kernel's own, and
/// each may take as long as a log does.
const NOTES_AT_A_TIME: u32 = 16;
/// How many notes are tried when all the memory is searched.
const NOTES_MAX: u32 = 1024;

/// How much is looked at in one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Pages that are searched.
    pub pages: u64,
    /// What looks like a note and is tried.
    pub notes: u32,
}

/// How far a search has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoteSearch {
    /// The address from where to look on.
    from: u64,
    /// How many times all the memory was looked through in vain.
    rounds: u32,
}

impl NoteSearch {
    /// Nothing has been looked at yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has the next look start where the memory does.
    pub fn rewind(&mut self) {
        self.from = 0;
    }

    /// What the next look at a running OS may take: the less, the longer it was in vain.
    pub fn limit(&self) -> Limit {
        Limit {
            pages: PAGES_AT_A_TIME >> (self.rounds / ROUNDS).min(HALVINGS),
            notes: NOTES_AT_A_TIME,
        }
    }

    /// Looks on in `range`, and starts over at its end, until `open` takes the note at an address.
    ///
    /// # Errors
    ///
    /// What `open` said of the last note, or [`None`] if there was none.
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

    /// Looks for it in all of `range`, as [`look`](Self::look) does.
    ///
    /// # Errors
    ///
    /// As above.
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
