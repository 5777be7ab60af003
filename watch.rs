// SPDX-License-Identifier: GPL-2.0

//! Watches a running OS from outside: its requests to the firmware, and its kernel log.

use crate::{
    firmware::mailbox::{self, Call},
    image::layout::Layout,
    linux::phys_memory::{Mapping, Watched},
    postmortem::inspect::Inspector,
    state::Event,
};
use kernel::prelude::*;

/// The means to watch an OS.
pub(crate) struct Watch {
    mailbox: Watched,
    /// Reads its kernel's memory; also useful after the OS has ended.
    pub(crate) inspector: Inspector,
}

impl Watch {
    /// Prepares to watch the OS in `layout`. Call this before its CPUs are started.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if memory can't be mapped.
    ///
    /// # Safety
    ///
    /// The memory of the layout must belong to the OS for as long as this lives.
    pub(crate) unsafe fn new(layout: &Layout) -> Result<Self> {
        // SAFETY: The caller guarantees that the memory belongs to the OS. The mapping is only
        // watched: no reference to the memory is made.
        let mailbox = unsafe { Mapping::new(layout.mailbox) }?.watch();
        // SAFETY: The caller guarantees that the memory of the layout belongs to the OS.
        let inspector = unsafe { Inspector::new(layout) }?;
        Ok(Watch { mailbox, inspector })
    }

    /// Returns the event by which the OS has ended, if it has.
    ///
    /// The kernel's log shows an end for which the OS does not call its firmware: it has halted, or
    /// it has panicked and does not reset itself.
    pub(crate) fn look(&mut self) -> Option<Event> {
        self.called().or_else(|| self.inspector.look())
    }

    /// Returns the event for the OS's request to its firmware, if it made one.
    fn called(&self) -> Option<Event> {
        let sleep = self.mailbox.word(mailbox::SLEEP).ok()?;
        let reset = self.mailbox.word(mailbox::RESET).ok()?;
        // The register is the lowest byte of the word.
        mailbox::call(sleep as u8, reset).map(|call| match call {
            Call::PowerOff => Event::PoweredOff,
            Call::Reset => Event::Rebooted,
            Call::ResetAfterPanic => Event::Panicked,
        })
    }
}
