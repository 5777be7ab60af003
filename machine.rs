// SPDX-License-Identifier: GPL-2.0

//! The machine that all OSes share: its memory and its images, the local APICs of its CPUs, how a CPU
//! is woken, and what must hold of the first OS.
//!
//! Of the kernel's side. Uses `linux`, and the pure folders.

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

/// What all OSes share.
pub(crate) struct Machine {
    /// This module, which stays while an OS has CPUs.
    pub(crate) module: &'static ThisModule,
    /// The memory for them.
    pub(crate) pool: Pool,
    /// By what their CPUs come to long mode.
    pub(crate) stepping_stone: SteppingStone,
    /// What starts and stops their CPUs.
    pub(crate) apic: Arc<LocalApic>,
    /// The kernels and initrds that they boot.
    pub(crate) images: Arc<Images>,
}

impl Machine {
    /// Checks that no OS has memory.
    ///
    /// # Errors
    ///
    /// `EBUSY` if one has; the log says so.
    pub(crate) fn check_nothing_loaded(&self) -> Result {
        if self.pool.free() == self.pool.total() {
            return Ok(());
        }
        pr_err!("no hibernation while an OS is loaded, whose memory would be lost: write 1 to each one's 'stop' first\n");
        Err(EBUSY)
    }
}
