// SPDX-License-Identifier: GPL-2.0

//! Data structures that are mostly zeros, written to a command's data.

use crate::memory_device::access::{OutOfReach, SystemMemory};
use crate::nvme::prp::Data;

/// A data structure of which a part is the data of a command.
pub(super) struct Answer<'a, M> {
    memory: &'a M,
    data: &'a Data,
    /// The offset in the structure of the part that is asked for.
    offset: u64,
}

impl<'a, M: SystemMemory> Answer<'a, M> {
    /// Fills the data with zeros. It is the part of the structure from `offset` on.
    pub(super) fn new(memory: &'a M, data: &'a Data, offset: u64) -> Result<Self, OutOfReach> {
        const ZEROS: [u8; 256] = [0; 256];
        for (address, len) in data.segments() {
            for at in (0..len).step_by(ZEROS.len()) {
                let zeros = ZEROS.get(..(len - at) as usize).unwrap_or(&ZEROS);
                memory.write(address.wrapping_add(at.into()), zeros)?;
            }
        }
        Ok(Answer {
            memory,
            data,
            offset,
        })
    }

    /// Sets the field at `at` in the structure, or as much of it as was asked for.
    pub(super) fn put(&self, at: u64, field: &[u8]) -> Result<(), OutOfReach> {
        let skipped = self.offset.saturating_sub(at);
        let field = usize::try_from(skipped).ok().and_then(|at| field.get(at..));
        let to = u32::try_from(at.saturating_sub(self.offset));
        match (field, to) {
            (Some(field), Ok(to)) => self.data.scatter_at(self.memory, to, field),
            _ => Ok(()),
        }
    }
}
