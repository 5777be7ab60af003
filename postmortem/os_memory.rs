// SPDX-License-Identifier: GPL-2.0

//! The memory of an OS, as the readers in `postmortem/` want it.

use crate::{
    image::layout::{Layout, RANGE_ALIGN},
    linux::phys_memory::{Mapping, Watched},
    memory::memmap::Range,
    postmortem::PhysicalMemory,
};

/// How many parts of the memory are mapped at a time: the log's arrays and text each lie in one.
const WINDOWS: usize = 4;

/// The memory of an OS, mapped by parts as it is read.
///
/// # Invariants
///
/// The ranges are the OS's for as long as this lives.
pub(crate) struct OsMemory {
    ranges: [Range; 2],
    windows: [Option<Window>; WINDOWS],
    /// The window that is mapped anew next.
    next: usize,
}

struct Window {
    range: Range,
    memory: Watched,
}

impl OsMemory {
    /// The memory of the OS in `layout`.
    ///
    /// # Safety
    ///
    /// It must be the OS's for as long as this lives.
    pub(crate) unsafe fn new(layout: &Layout) -> Self {
        // INVARIANT: The caller's promise.
        OsMemory {
            ranges: [layout.low.ram(), layout.range()],
            windows: [const { None }; WINDOWS],
            next: 0,
        }
    }

    /// Its low memory, and its range.
    pub(crate) fn ranges(&self) -> [Range; 2] {
        self.ranges
    }

    /// The part that has `address`, and where in it that is.
    fn window(&mut self, address: u64) -> Option<(&Window, usize)> {
        let has = |window: &Option<Window>| {
            window
                .as_ref()
                .is_some_and(|window| window.range.has(address))
        };
        let index = match self.windows.iter().position(has) {
            Some(index) => index,
            None => {
                let range = self.part(address)?;
                // SAFETY: By the type invariants it is the OS's; it is only watched.
                let memory = unsafe { Mapping::new(range) }.ok()?.watch();
                let index = self.next;
                self.next = (index + 1) % WINDOWS;
                self.windows[index] = Some(Window { range, memory });
                index
            }
        };
        let window = self.windows[index].as_ref()?;
        Some((window, (address - window.range.start()) as usize))
    }

    /// What is mapped to reach `address`: a large page, as far as it is the OS's.
    fn part(&self, address: u64) -> Option<Range> {
        let range = self.ranges.iter().find(|range| range.has(address))?;
        let start = address - address % RANGE_ALIGN;
        Range::from_to(
            start.max(range.start()),
            range.end().min(start.checked_add(RANGE_ALIGN)?),
        )
    }
}

impl PhysicalMemory for OsMemory {
    fn read(&mut self, mut address: u64, mut out: &mut [u8]) -> Option<()> {
        while !out.is_empty() {
            let (window, offset) = self.window(address)?;
            let len = out.len().min(window.range.len() as usize - offset);
            let (part, rest) = out.split_at_mut(len);
            window.memory.read(offset, part).ok()?;
            address += len as u64;
            out = rest;
        }
        Some(())
    }
}
