// SPDX-License-Identifier: GPL-2.0

//! What all OSes share of the low memory: the page tables by which a CPU comes to long mode, and
//! the RAM of those that have one CPU.

use crate::{
    identity_map::{self, TABLE},
    layout::{PAGE, REAL_MODE_LEN},
    mem_reserve::{Allocation, Pool},
    memmap::Range,
    phys_memory::Mapping,
};
use kernel::{prelude::*, str::CString};

/// Bytes of the page tables: one of each level down to a 2 MiB page.
const STEPPING_STONE_LEN: u64 = 3 * TABLE as u64;

/// Memory that is the module's own.
pub(crate) struct LowMemory {
    stepping_stone: Allocation,
    shared_ram: Allocation,
}

impl LowMemory {
    /// Takes it from `pool`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is too little; the log says so.
    pub(crate) fn claim(pool: &Pool) -> Result<Self> {
        let name = CString::try_from(c"Mint")?;
        let allocate = || -> Result<_> {
            let ram = pool.allocate_low_ram(REAL_MODE_LEN, &name)?;
            Ok((pool.allocate_low(STEPPING_STONE_LEN, &name)?, ram))
        };
        let (stepping_stone, shared_ram) = allocate().inspect_err(|_| {
            pr_err!(
                "too little low memory above 64 KiB: boot with memmap=128K$128K, {} KiB of which are for all OSes, {} KiB for each with several CPUs and {} KiB for others\n",
                (STEPPING_STONE_LEN + REAL_MODE_LEN) >> 10,
                (REAL_MODE_LEN + PAGE) >> 10,
                PAGE >> 10
            );
        })?;
        // SAFETY: It was allocated just now, and no CPU runs there yet.
        let mut tables = unsafe { Mapping::new(stepping_stone.range()) }?;
        let at = stepping_stone.range().start();
        let first = Range::new(0, PAGE).ok_or(EINVAL)?;
        identity_map::build(tables.bytes(), at, &[first]).ok_or(EINVAL)?;
        Ok(LowMemory {
            stepping_stone,
            shared_ram,
        })
    }

    /// The root of page tables that map the first 2 MiB, below 4 GiB.
    pub(crate) fn stepping_stone(&self) -> u32 {
        // It is low memory.
        self.stepping_stone.range().start() as u32
    }

    /// RAM that kernels with one CPU reserve and write to, but never use.
    pub(crate) fn shared_ram(&self) -> Range {
        self.shared_ram.range()
    }
}
