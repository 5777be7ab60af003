// SPDX-License-Identifier: GPL-2.0

//! Doorbells: the registers, and shadow doorbells in ordinary memory.
//!
//! Base 5.7 and annex B.5. After Doorbell Buffer Config, the driver writes each doorbell's value
//! to the shadow doorbell buffer, and to the register only when the value passes the event index,
//! which the controller writes to the EventIdx buffer.
//!
//! Each look reads the shadows, so no doorbell is lost, whether the driver writes the register or
//! not: a look that comes too early for a doorbell is followed by another one. So the controller
//! needs no register to be written, and leaves all event indexes at 0. Linux then writes a register
//! once in each round of a queue, as the value goes from 0 upwards (`nvme_dbbuf_need_event()`,
//! drivers/nvme/host/pci.c), and saves the uncached accesses in between.
//!
//! A command is in its queue before the doorbell has its value: Linux has a `wmb()` before it
//! writes the shadow (`nvme_dbbuf_update_and_check_event()`), and `writel()` is ordered as well. On
//! this side, [`SystemMemory::barrier`] lies between a look at doorbells and reading commands.
//!
//! Whoever sleeps until the line of a shadow changes (MONITOR, MWAIT) must look once more after
//! MONITOR. The driver's `mb()` behind the shadow is not needed then: MONITOR sees the write
//! itself.

use crate::memory_device::access::{OutOfReach, Registers, SystemMemory};
use crate::nvme::registers;

/// The two buffers of Doorbell Buffer Config. Each starts a page, and has a doorbell at the offset
/// that the register has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shadows {
    /// The address of the shadow doorbell buffer.
    pub doorbells: u64,
    /// The address of the EventIdx buffer.
    pub event_indexes: u64,
}

/// A doorbell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doorbell {
    /// Offset of the register and of the shadow.
    at: u32,
    /// The value that was seen last.
    value: u32,
    /// Whether the driver uses the shadow. The register then has old values.
    is_shadowed: bool,
}

impl Doorbell {
    /// The doorbell of a queue that is being created. Register, shadow and event index become 0:
    /// the driver rings only after the queue is there, and Linux does not clear what the queue of
    /// that identifier had before (`nvme_init_queue()`).
    pub(super) fn new(
        queue: u16,
        completion: bool,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        shadows: Option<&Shadows>,
    ) -> Result<Self, OutOfReach> {
        let doorbell = Doorbell {
            at: registers::doorbell(queue, completion),
            value: 0,
            is_shadowed: false,
        };
        registers::write_doorbell(registers, doorbell.at, 0);
        if let Some(shadows) = shadows {
            memory.write(shadows.doorbells + u64::from(doorbell.at), &[0; 4])?;
            memory.write(shadows.event_indexes + u64::from(doorbell.at), &[0; 4])?;
        }
        Ok(doorbell)
    }

    /// Forgets the shadow that was there before: the driver has just set up another, which has
    /// zeros for each doorbell that it does not use.
    pub(super) fn change_shadow(&mut self) {
        self.is_shadowed = false;
    }

    /// Returns the doorbell's value. Looks at the register only if `thorough`.
    ///
    /// A driver that uses the shadow rarely writes the register, one that does not never writes the
    /// shadow. So the register counts while the shadow is 0, and never again after that. The
    /// register is read first: if a driver that uses the shadow has written the register, it has
    /// written the shadow before.
    pub(super) fn look(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        shadows: Option<&Shadows>,
        thorough: bool,
    ) -> Result<u32, OutOfReach> {
        if thorough && !self.is_shadowed {
            self.value = registers::read_doorbell(registers, self.at);
            memory.barrier();
        }
        if let Some(shadows) = shadows {
            let value = self.read_shadow(memory, shadows)?;
            self.is_shadowed |= value != 0;
            if self.is_shadowed {
                self.value = value;
            }
        }
        Ok(self.value)
    }

    fn read_shadow(
        &self,
        memory: &impl SystemMemory,
        shadows: &Shadows,
    ) -> Result<u32, OutOfReach> {
        let mut value = [0; 4];
        memory.read(shadows.doorbells + u64::from(self.at), &mut value)?;
        Ok(u32::from_le_bytes(value))
    }
}
