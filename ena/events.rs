// SPDX-License-Identifier: GPL-2.0

//! The asynchronous event notification queue (AENQ), which tells whether there is a link.

use crate::ena::fields::put;
use crate::ena::registers;
use crate::ena::ring::{Completions, Fatal};
use crate::memory_device::access::{Registers, SystemMemory};

/// Length of struct ena_admin_aenq_entry.
const ENTRY_LEN: usize = 64;
/// Offset of `flags` in struct ena_admin_aenq_common_desc, which has the phase.
const PHASE_BYTE: usize = 4;
/// Offset of `flags` in struct ena_admin_aenq_link_change_desc, and ENA_ADMIN_AENQ_LINK_CHANGE_DESC_
/// LINK_STATUS in it. The group before is 0: ENA_ADMIN_LINK_CHANGE.
const LINK_FLAGS: usize = 16;
const LINK_STATUS: u32 = 1;

/// After how many thorough looks the interrupt comes again if the driver has not taken an event: some
/// milliseconds to some tenths of a second.
const REPEAT: u8 = 8;

/// The event queue. The driver gets one event at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Events {
    /// The groups that the driver wants events of.
    groups: u32,
    /// The ring, once the driver is ready for events.
    ring: Option<Completions<ENTRY_LEN, PHASE_BYTE>>,
    /// What the driver was told last.
    told: Option<bool>,
    /// Thorough looks since the interrupt for an event that it has not taken.
    waits: Option<u8>,
}

impl Events {
    /// The groups that the driver wants events of.
    pub(super) fn groups(&self) -> u32 {
        self.groups
    }

    /// Sets the groups that the driver wants events of.
    pub(super) fn set_groups(&mut self, groups: u32) {
        self.groups = groups;
    }

    /// A thorough look. Tells the driver whether there is a link. Returns whether the management
    /// interrupt is to be raised.
    ///
    /// The driver does not look for events before its probe is over, and does not look by itself then
    /// (`ena_intr_msix_mgmnt()`). So the interrupt comes again and again until the event is taken.
    pub(super) fn look(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        has_link: bool,
    ) -> Result<bool, Fatal> {
        if self.groups == 0 || (self.told == Some(has_link) && self.waits.is_none()) {
            return Ok(false);
        }
        let head = registers::event_head(registers);
        if head == 0 && self.ring.is_none() {
            return Ok(false);
        }
        let mut ring = match self.ring {
            Some(ring) => ring,
            None => Completions::at(&registers::event_ring(registers)).ok_or(Fatal)?,
        };
        // The driver counts from the number of entries on, modulo 2^16.
        let head = u16::try_from(head).map_err(|_| Fatal)?;
        let is_taken = head.wrapping_sub(ring.depth()) == ring.tail();
        if !is_taken {
            return Ok(self.wait());
        }
        self.waits = None;
        let must_tell = self.told != Some(has_link);
        if must_tell {
            let mut entry = [0; ENTRY_LEN];
            let flags = if has_link { LINK_STATUS } else { 0 };
            put(&mut entry, LINK_FLAGS, &flags.to_le_bytes());
            ring.post(memory, entry)?;
            self.told = Some(has_link);
            self.waits = Some(0);
        }
        self.ring = Some(ring);
        Ok(must_tell)
    }

    /// Returns whether it is time for another interrupt.
    fn wait(&mut self) -> bool {
        let waits = self.waits.unwrap_or(0).saturating_add(1);
        let is_due = waits >= REPEAT;
        self.waits = Some(if is_due { 0 } else { waits });
        is_due
    }
}
