// SPDX-License-Identifier: GPL-2.0

//! The memory of an OS, for the parsers in `postmortem/`.

use crate::{
    image::layout::{Layout, RANGE_ALIGN},
    linux::phys_memory::{Mapping, Watched},
    memory::memmap::Range,
    postmortem::PhysicalMemory,
};

/// The number of windows that are mapped at a time. Each array of the log, and its text, uses one.
const WINDOWS: usize = 4;

/// The memory of an OS, mapped window by window as it is read.
///
/// # Invariants
///
/// The ranges belong to the OS for as long as this lives.
pub(crate) struct OsMemory {
    ranges: [Range; 3],
    windows: [Option<Window>; WINDOWS],
    /// The index of the window to replace next.
    next: usize,
}

struct Window {
    range: Range,
    memory: Watched,
}

impl OsMemory {
    /// Returns the memory of the OS in `layout`.
    ///
    /// # Safety
    ///
    /// The memory must belong to the OS for as long as this lives.
    pub(crate) unsafe fn new(layout: &Layout) -> Self {
        // INVARIANT: The caller guarantees that the memory belongs to the OS.
        OsMemory {
            // Not the memory of its bus, which nobody may map while the OS runs.
            ranges: [layout.low.ram(), layout.firmware, layout.ram],
            windows: [const { None }; WINDOWS],
            next: 0,
        }
    }

    /// Returns the OS's low RAM, its firmware area, and its RAM.
    pub(crate) fn ranges(&self) -> [Range; 3] {
        self.ranges
    }

    /// Returns the window that contains `address`, mapping it if necessary, and the offset in the
    /// window.
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
                // SAFETY: By the type invariants the memory belongs to the OS. The mapping is only
                // watched: no reference to the memory is made.
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

    /// Returns the window to map for `address`: the large page around it, as far as it belongs to
    /// the OS.
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
