// SPDX-License-Identifier: GPL-2.0

//! The page tables with which a CPU switches to long mode. Without paging, a CPU can only load an
//! address below 4 GiB into CR3, and an OS's own page tables may lie higher. All OSes share these
//! tables.

use crate::{
    image::{
        identity_map::{self, TABLE},
        layout::PAGE,
    },
    linux::phys_memory::Mapping,
    mem_reserve::{Allocation, Pool},
    memory::memmap::Range,
};
use kernel::{prelude::*, str::CString};

/// Length of the tables in bytes: one of each level, down to a 2 MiB page.
pub(super) const LEN: u64 = 3 * TABLE as u64;

/// Page tables in low memory that map the first 2 MiB.
pub(crate) struct SteppingStone {
    memory: Allocation,
}

impl SteppingStone {
    /// Allocates memory for the tables from `pool`, and writes them.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is too little low memory.
    pub(crate) fn new(pool: &Pool) -> Result<Self> {
        let memory = pool.allocate_low(LEN, &CString::try_from(c"Mint")?)?;
        let stone = SteppingStone { memory };
        // SAFETY: No OS knows the address of the tables yet.
        unsafe { stone.write() }?;
        Ok(stone)
    }

    /// Writes the tables.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the memory can't be mapped.
    ///
    /// # Safety
    ///
    /// No OS may have CPUs: one of them might be using the tables.
    pub(crate) unsafe fn write(&self) -> Result {
        let first = Range::new(0, PAGE).ok_or(EINVAL)?;
        let range = self.memory.range();
        // SAFETY: This owns the memory, and the caller guarantees that no CPU of an OS uses it.
        let mut tables = unsafe { Mapping::new(range) }?;
        identity_map::build(tables.bytes(), range.start(), &[first]).ok_or(EINVAL)
    }

    /// Returns the physical address of the top-level table.
    pub(crate) fn root(&self) -> u32 {
        // Low memory is below 640 KiB.
        self.memory.range().start() as u32
    }
}
