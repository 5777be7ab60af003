// SPDX-License-Identifier: GPL-2.0

//! The parts of the machine that all OSes share: the memory pool, the kernel images, the local APIC,
//! the page in which CPUs rest, the page tables for waking CPUs, and the poller of their functions made
//! of memory. Also the preconditions for the first OS.
//!
//! Runs in the kernel only. Uses `linux`, and the pure folders.

pub(crate) mod assembled;
pub(crate) mod cpu_state;
pub(crate) mod exclusive;
pub(crate) mod first_os_events;
pub(crate) mod local_apic;
pub(crate) mod preconditions;
pub(crate) mod resting;
pub(crate) mod stepping_stone;
pub(crate) mod wakeup;

use crate::{
    disk::holders::Holders,
    image::layout::{PAGE, REAL_MODE_LEN},
    mem_reserve::Pool,
    mint_kexec::Images,
    polling::poller::Poller,
};
use kernel::{prelude::*, sync::Arc};
use local_apic::LocalApic;
use resting::RestPage;
use stepping_stone::SteppingStone;

/// The resources that all OSes share.
pub(crate) struct Machine {
    /// This module. An OS that has CPUs holds a reference to it.
    pub(crate) module: &'static ThisModule,
    /// The memory pool for OSes.
    pub(crate) pool: Pool,
    /// The page tables by which CPUs switch to long mode.
    pub(crate) stepping_stone: SteppingStone,
    /// The page in which CPUs rest.
    pub(crate) rest_page: RestPage,
    /// The local APIC, which starts and stops CPUs.
    pub(crate) apic: Arc<LocalApic>,
    /// The kernels and initrds that OSes boot.
    pub(crate) images: Arc<Images>,
    /// The files that OSes have as disks.
    pub(crate) disk_holders: Arc<Holders>,
    /// The thread that looks at the functions made of memory of OSes.
    pub(crate) poller: Arc<Poller>,
}

impl Machine {
    /// Prepares what OSes share: `pool` has the memory for it, and `module` is this module.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is too little low memory, and the log says so; those of
    /// [`LocalApic::new`].
    pub(crate) fn new(module: &'static ThisModule, pool: Pool) -> Result<Self> {
        let shared = SteppingStone::new(&pool).and_then(|stone| Ok((stone, RestPage::new(&pool)?)));
        let (stepping_stone, rest_page) = shared.inspect_err(|_| {
            pr_err!(
                "too little low memory: boot with memmap=128K%128K-1+2, {} KiB of which are for all OSes, and {} KiB for each\n",
                (stepping_stone::LEN + resting::LEN) >> 10,
                (REAL_MODE_LEN + PAGE) >> 10
            );
        })?;
        Ok(Machine {
            module,
            pool,
            stepping_stone,
            rest_page,
            apic: Arc::pin_init(LocalApic::new(), GFP_KERNEL)?,
            images: Arc::pin_init(Images::new(), GFP_KERNEL)?,
            disk_holders: Arc::pin_init(Holders::new(), GFP_KERNEL)?,
            poller: Poller::new()?,
        })
    }

    /// Writes what lies in low memory for all OSes anew.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the memory can't be mapped.
    ///
    /// # Safety
    ///
    /// No OS may have CPUs.
    pub(crate) unsafe fn rewrite_low_memory(&self) -> Result {
        // SAFETY: This function has the same safety requirements.
        unsafe { self.stepping_stone.write() }?;
        // SAFETY: As above.
        unsafe { self.rest_page.write() }
    }

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
