// SPDX-License-Identifier: GPL-2.0

//! The page tables by which a CPU comes to long mode: without paging it can only load CR3 with what
//! lies below 4 GiB, and an OS's own page tables may lie higher. All OSes share them.

use crate::{
    image::{
        identity_map::{self, TABLE},
        layout::{PAGE, REAL_MODE_LEN},
    },
    linux::phys_memory::Mapping,
    mem_reserve::{Allocation, Pool},
    memory::memmap::Range,
};
use kernel::{prelude::*, str::CString};

/// One table of each level down to a 2 MiB page.
const LEN: u64 = 3 * TABLE as u64;

/// Page tables in low memory that map the first 2 MiB.
pub(crate) struct SteppingStone {
    memory: Allocation,
}

impl SteppingStone {
    /// Takes their memory from `pool`, and writes them.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is too little; the log says so.
    pub(crate) fn new(pool: &Pool) -> Result<Self> {
        let name = CString::try_from(c"Mint")?;
        let memory = pool.allocate_low(LEN, &name).inspect_err(|_| {
            pr_err!(
                "too little low memory: boot with memmap=128K$128K, {} KiB of which are for all OSes, and {} KiB for each\n",
                LEN >> 10,
                (REAL_MODE_LEN + PAGE) >> 10
            );
        })?;
        let stone = SteppingStone { memory };
        // SAFETY: No OS has it yet.
        unsafe { stone.write() }?;
        Ok(stone)
    }

    /// Writes them once more.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no room for a mapping.
    ///
    /// # Safety
    ///
    /// No OS may have CPUs: one might be on the tables.
    pub(crate) unsafe fn write(&self) -> Result {
        let first = Range::new(0, PAGE).ok_or(EINVAL)?;
        let range = self.memory.range();
        // SAFETY: The memory is ours, and by the caller's promise nobody uses it.
        let mut tables = unsafe { Mapping::new(range) }?;
        identity_map::build(tables.bytes(), range.start(), &[first]).ok_or(EINVAL)
    }

    /// Physical address of the top table.
    pub(crate) fn root(&self) -> u32 {
        // It is low memory.
        self.memory.range().start() as u32
    }
}
