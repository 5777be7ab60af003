// SPDX-License-Identifier: GPL-2.0

//! Watching a running OS from outside: what it asks its firmware for, and what its log says.

use crate::{
    firmware::mailbox::{self, Call},
    image::layout::Layout,
    linux::phys_memory::{Mapping, Watched},
    postmortem::inspect::Inspector,
    state::Event,
};
use kernel::prelude::*;

/// What is looked at.
pub(crate) struct Watch {
    mailbox: Watched,
    /// Its kernel; also of use when the OS runs no more.
    pub(crate) inspector: Inspector,
}

impl Watch {
    /// Gets ready to watch the OS in `layout`, before its CPUs are started.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no room for a mapping.
    ///
    /// # Safety
    ///
    /// The memory of the layout must be the OS's for as long as this lives.
    pub(crate) unsafe fn new(layout: &Layout) -> Result<Self> {
        // SAFETY: The caller's promise; it is never referred to.
        let mailbox = unsafe { Mapping::new(layout.mailbox) }?.watch();
        // SAFETY: The caller's promise.
        let inspector = unsafe { Inspector::new(layout) }?;
        Ok(Watch { mailbox, inspector })
    }

    /// What the OS has done, if it is nothing that it could do more after.
    ///
    /// Its log tells of what it does not ask the firmware for: that it halted, or panicked and
    /// does not reset itself.
    pub(crate) fn look(&mut self) -> Option<Event> {
        self.called().or_else(|| self.inspector.look())
    }

    /// What it has asked its firmware for.
    fn called(&self) -> Option<Event> {
        let sleep = self.mailbox.word(mailbox::SLEEP).ok()?;
        let reset = self.mailbox.word(mailbox::RESET).ok()?;
        // The register is the lowest byte.
        mailbox::call(sleep as u8, reset).map(|call| match call {
            Call::PowerOff => Event::PoweredOff,
            Call::Reset => Event::Rebooted,
            Call::ResetAfterPanic => Event::Panicked,
        })
    }
}
