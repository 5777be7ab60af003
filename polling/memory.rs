// SPDX-License-Identifier: GPL-2.0

//! The memory of a running OS: its RAM, and that of its bus.

use crate::{
    linux::phys_memory::{Uncached, Watched},
    memory::memmap::Range,
    memory_device::{
        access::{OutOfReach, Registers, SystemMemory},
        bus::Bus,
    },
};
use core::sync::atomic::{fence, Ordering};

/// The memory of a running OS, which it writes at any time.
pub(crate) struct Memory {
    /// The range that is mapped.
    pub(super) range: Range,
    /// The mapping.
    pub(super) mapping: Watched,
}

impl Memory {
    /// Returns the mapping of the memory.
    pub(crate) fn mapping(&self) -> &Watched {
        &self.mapping
    }

    /// Returns where the `len` bytes at `address` are in the mapping.
    ///
    /// # Errors
    ///
    /// [`OutOfReach`] if the OS does not own all of the bytes.
    pub(crate) fn offset(&self, address: u64, len: usize) -> Result<usize, OutOfReach> {
        let part = Range::new(address, len as u64).filter(|part| self.range.contains(part));
        let part = part.ok_or(OutOfReach)?;
        Ok((part.start() - self.range.start()) as usize)
    }
}

impl SystemMemory for Memory {
    fn read(&self, address: u64, out: &mut [u8]) -> Result<(), OutOfReach> {
        let offset = self.offset(address, out.len())?;
        self.mapping.read(offset, out).map_err(|_| OutOfReach)
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), OutOfReach> {
        let offset = self.offset(address, bytes.len())?;
        self.mapping.write(offset, bytes).map_err(|_| OutOfReach)
    }

    fn barrier(&self) {
        // MFENCE. The crate's smp_mb() takes an argument from 7.3 on.
        fence(Ordering::SeqCst);
    }
}

/// A part of the memory of a bus, as registers.
pub(crate) struct Part<'a> {
    area: &'a Uncached,
    offset: usize,
    len: u32,
}

impl Part<'_> {
    fn at(&self, offset: u32) -> Option<usize> {
        (offset < self.len).then(|| self.offset + offset as usize)
    }
}

impl Registers for Part<'_> {
    fn read(&self, offset: u32) -> u32 {
        let word = self.at(offset).and_then(|at| self.area.word(at));
        word.unwrap_or(u32::MAX)
    }

    fn write(&self, offset: u32, value: u32) {
        if let Some(at) = self.at(offset) {
            self.area.set_word(at, value);
        }
    }
}

/// The bus of a running OS.
pub(super) struct Mapped {
    /// Where its parts are.
    pub(super) bus: Bus,
    /// The memory.
    pub(super) area: Uncached,
}

impl Mapped {
    /// Takes the function in `slot` off the bus: its registers and its configuration space read as all
    /// ones, as those of a function that was pulled out.
    pub(super) fn remove(&self, slot: usize) -> Option<()> {
        for range in [self.bus.bar(slot)?, self.bus.config_page(slot)?] {
            let part = self.part(range);
            (0..part.len)
                .step_by(size_of::<u32>())
                .for_each(|offset| part.write(offset, u32::MAX));
        }
        Some(())
    }

    /// Returns the registers in `range`, a part of the bus.
    pub(super) fn part(&self, range: Range) -> Part<'_> {
        Part {
            area: &self.area,
            offset: (range.start() - self.bus.area().start()) as usize,
            len: range.len() as u32,
        }
    }
}
