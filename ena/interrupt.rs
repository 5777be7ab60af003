// SPDX-License-Identifier: GPL-2.0

//! When the interrupt of a queue pair is raised.
//!
//! The driver unmasks the interrupt once it finds nothing more in its rings, and does not look again
//! (`ena_io_poll()`). While it is masked, completions are pending; they are told when it is unmasked.
//! So the driver gets one interrupt for all that it finds at once, however fast frames come.
//!
//! Interrupt moderation (feature ENA_ADMIN_INTERRUPT_MODERATION), by which the driver asks for a delay,
//! is not offered: it would save interrupts only where frames come one by one, and there each delay is
//! latency. Where many come, the mask does the same, and so does a look, which raises once for all that
//! it has moved.

use crate::ena::registers;
use crate::memory_device::access::Registers;

/// The interrupt of a queue pair.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Interrupt {
    /// Whether completions were posted after the last time that it was raised.
    is_pending: bool,
}

impl Interrupt {
    /// A completion was posted.
    pub(super) fn post(&mut self) {
        self.is_pending = true;
    }

    /// Returns whether it is to be raised now, and takes it that it is. The completions must be
    /// seen before the interrupt. They need not be seen before the register is read: a driver that
    /// has not seen one and unmasks the interrupt gets it at the next look.
    pub(super) fn raise(&mut self, registers: &impl Registers, vector: u16) -> bool {
        if !self.is_pending || !registers::is_unmasked(registers, vector) {
            return false;
        }
        registers::mask(registers, vector);
        self.is_pending = false;
        true
    }

    /// Returns whether the driver has passed on to its network stack all that was ever completed.
    pub(super) fn is_quiet(&self, registers: &impl Registers, vector: u16) -> bool {
        !self.is_pending && registers::is_unmasked(registers, vector)
    }
}
