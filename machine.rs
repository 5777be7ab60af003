// SPDX-License-Identifier: GPL-2.0

//! The parts of the machine that all OSes share: the memory pool, the kernel images, the local APIC
//! and the page tables for waking CPUs. Also the preconditions for the first OS.
//!
//! Runs in the kernel only. Uses `linux`, and the pure folders.

pub(crate) mod assembled;
pub(crate) mod exclusive;
pub(crate) mod first_os_events;
pub(crate) mod local_apic;
pub(crate) mod preconditions;
pub(crate) mod stepping_stone;
pub(crate) mod wakeup;

use crate::{mem_reserve::Pool, mint_kexec::Images};
use kernel::{prelude::*, sync::Arc};
use local_apic::LocalApic;
use stepping_stone::SteppingStone;

/// The resources that all OSes share.
pub(crate) struct Machine {
    /// This module. An OS that has CPUs holds a reference to it.
    pub(crate) module: &'static ThisModule,
    /// The memory pool for OSes.
    pub(crate) pool: Pool,
    /// The page tables by which CPUs switch to long mode.
    pub(crate) stepping_stone: SteppingStone,
    /// The local APIC, which starts and stops CPUs.
    pub(crate) apic: Arc<LocalApic>,
    /// The kernels and initrds that OSes boot.
    pub(crate) images: Arc<Images>,
}

impl Machine {
    /// Checks that no OS has memory of the pool.
    ///
    /// # Errors
    ///
    /// `EBUSY` if an OS has memory; the log says so.
    pub(crate) fn check_nothing_loaded(&self) -> Result {
        if self.pool.free() == self.pool.total() {
            return Ok(());
        }
        pr_err!("no hibernation while an OS is loaded, whose memory would be lost: write 1 to each one's 'stop' first\n");
        Err(EBUSY)
    }
}
