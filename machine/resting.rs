// SPDX-License-Identifier: GPL-2.0

//! The page in which parked CPUs of all OSes rest, with the code of `rest.S`, and the slots after it.
//!
//! A CPU is parked before its OS is started, until the OS starts the CPU; and from when the OS has
//! ended. A CPU that answers from here executes nothing of an OS: only a CPU
//! that was reset takes a startup IPI.

use crate::{
    cpu_offline::OwnedCpu,
    image::layout::PAGE,
    linux::phys_memory::{Mapping, Watched},
    machine::{
        assembled::assembled,
        cpu_state::CpuState,
        local_apic::LocalApic,
        wakeup::{ANSWER_LIMIT, FIRST_LIMIT, POLL},
    },
    mem_reserve::{Allocation, Pool},
};
use kernel::{
    prelude::*,
    str::CString,
    time::{delay::fsleep, Delta, Instant, Monotonic}, //
};

/// Length of the page with the code and of that with the slots, in bytes.
pub(super) const LEN: u64 = 2 * PAGE;

/// The slots, one for each APIC ID. A CPU finds its own by its initial APIC ID (CPUID leaf 1), which
/// has 8 bits; an OS has no CPU with a higher ID (`cpu_offline::check()`).
const SLOTS: usize = 0x1000;
const SLOT_LEN: usize = 16;
// Offsets in a slot, and the flags; the names are those in `rest.S`.
const FLAGS: usize = 0;
const REQUEST_MSR: usize = 4;
const REQUEST: usize = 8;
const BANKS: usize = 12;
const HAS_REQUEST: u32 = 1 << 0;
const HAS_BIAS: u32 = 1 << 1;
const HAS_CMCI: u32 = 1 << 2;
const RESTS: u32 = 1 << 4;
const BIAS_SHIFT: u32 = 8;

/// The page and the slots, in low memory.
pub(crate) struct RestPage {
    memory: Allocation,
    mapping: Watched,
}

/// Calls a function with the APIC ID of each of some CPUs, the same ones each time.
pub(crate) trait EachCpu: Fn(&mut dyn FnMut(u32)) {}

impl<T: Fn(&mut dyn FnMut(u32))> EachCpu for T {}

impl RestPage {
    /// Allocates memory from `pool`, and writes the code.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is too little low memory, or the memory can't be mapped.
    pub(super) fn new(pool: &Pool) -> Result<Self> {
        let memory = pool.allocate_low(LEN, &CString::try_from(c"Mint")?)?;
        // SAFETY: This owns the memory. It is watched from here on; only `write()` makes a
        // reference, while no CPU runs in the memory.
        let mapping = unsafe { Mapping::new(memory.range()) }?.watch();
        let page = RestPage { memory, mapping };
        // SAFETY: No OS has CPUs yet.
        unsafe { page.write() }?;
        Ok(page)
    }

    /// Writes the code.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the code does not fit.
    ///
    /// # Safety
    ///
    /// No OS may have CPUs: one of them might be resting.
    pub(crate) unsafe fn write(&self) -> Result {
        for (index, word) in code().chunks_exact(4).enumerate() {
            let word = u32::from_le_bytes(word.try_into().map_err(|_| EINVAL)?);
            self.mapping.set_word(index * 4, word)?;
        }
        // A CPU whose MTRRs are off, as INIT may leave them, does not use the caches.
        self.mapping.write_back();
        Ok(())
    }

    /// Tells what the first OS has left in the MSRs of the CPU with this APIC ID, which is just
    /// taken. A CPU that comes to rest restores it.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the APIC ID is too high.
    pub(crate) fn introduce(&self, apic_id: u32, left: &CpuState) -> Result {
        let mut flags = 0;
        if left.has_cmci {
            flags |= HAS_CMCI;
        }
        if let Some(bias) = left.bias {
            flags |= HAS_BIAS | u32::from(bias) << BIAS_SHIFT;
        }
        let slot = slot(apic_id);
        if let Some((msr, request)) = left.request {
            flags |= HAS_REQUEST;
            self.mapping.set_word(slot + REQUEST_MSR, msr)?;
            self.mapping.set_word(slot + REQUEST, request)?;
        }
        self.mapping.set_word(slot + BANKS, 0)?;
        self.mapping.set_word(slot + FLAGS, flags)
    }

    /// Parks CPUs of `os`: resets them by `apic`, and has them rest here.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if a CPU does not answer, and the log says which; `EIO` if an IPI was not
    /// delivered; `ESHUTDOWN` if the first OS is going down. This needs no memory.
    pub(crate) fn park(&self, apic: &LocalApic, cpus: &[OwnedCpu], os: &CString) -> Result {
        apic.init(cpus)?;
        let each = |visit: &mut dyn FnMut(u32)| cpus.iter().for_each(|cpu| visit(cpu.apic_id()));
        // SAFETY: An `OwnedCpu` is an OS's.
        let startup = |apic_id, page| unsafe { apic.startup(apic_id, page) };
        // SAFETY: An `OwnedCpu` is an OS's, and the INIT above has reset the CPUs.
        unsafe { self.gather(each, startup) }.inspect_err(|_| {
            for cpu in cpus.iter().filter(|cpu| !self.has_answered(cpu.apic_id())) {
                pr_err!(
                    "{}: CPU {} (APIC ID {}) can't be proved parked: the memory and the CPUs are kept\n",
                    &**os,
                    cpu.number(),
                    cpu.apic_id()
                );
            }
        })
    }

    /// Has CPUs rest, by startup IPIs from `startup`, which is given an APIC ID and the address of
    /// the page. Waits until all have answered.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if a CPU does not answer; `has_answered()` says which. Those of `startup`.
    ///
    /// This needs no memory.
    ///
    /// # Safety
    ///
    /// The CPUs must be OSes' and have been reset by INIT.
    pub(crate) unsafe fn gather(
        &self,
        cpus: impl EachCpu,
        startup: impl Fn(u32, u64) -> Result,
    ) -> Result {
        let mut result = Ok(());
        cpus(&mut |apic_id| {
            let flags = slot(apic_id) + FLAGS;
            result = result
                .and_then(|()| self.mapping.word(flags))
                .and_then(|value| self.mapping.set_word(flags, value & !RESTS));
        });
        result?;
        // See `write()`.
        self.mapping.write_back();
        // The INIT-SIPI-SIPI protocol has a second startup IPI; a CPU that took the first ignores it.
        for limit in [FIRST_LIMIT, ANSWER_LIMIT] {
            let mut result = Ok(());
            cpus(&mut |apic_id| {
                if result.is_ok() && !self.has_answered(apic_id) {
                    result = startup(apic_id, self.memory.range().start());
                }
            });
            result?;
            if self.wait(&cpus, limit) {
                return Ok(());
            }
        }
        Err(ETIMEDOUT)
    }

    /// Returns whether the CPU with this APIC ID has come to rest since [`RestPage::gather`] was
    /// called for it.
    pub(crate) fn has_answered(&self, apic_id: u32) -> bool {
        self.mapping
            .word(slot(apic_id) + FLAGS)
            .is_ok_and(|flags| flags & RESTS != 0)
    }

    /// Returns whether all CPUs have answered within `limit`.
    fn wait(&self, cpus: &impl EachCpu, limit: Delta) -> bool {
        let started = Instant::<Monotonic>::now();
        loop {
            // Before the look at the answers, after which there may be a long pause.
            let is_late = started.elapsed() > limit;
            // See `write()`: such a CPU has answered in memory alone.
            self.mapping.write_back();
            let mut all = true;
            cpus(&mut |apic_id| all &= self.has_answered(apic_id));
            if all || is_late {
                return all;
            }
            fsleep(POLL);
        }
    }
}

/// Returns the offset of a CPU's slot.
fn slot(apic_id: u32) -> usize {
    SLOTS + apic_id as usize * SLOT_LEN
}

/// Returns the assembled code, whole words.
fn code() -> &'static [u8] {
    // SAFETY: The start and the end of one object in `.rodata` (rest.S).
    unsafe { assembled!(mint_rest, mint_rest_end) }
}
