// SPDX-License-Identifier: GPL-2.0

//! Asynchronous events, Base 5.2: an attribute of the namespace has changed, or the controller is gone.

/// AERL, Base 5.15.2.2, 0's based: the controller holds four Asynchronous Event Requests.
pub const LIMIT: u8 = HELD as u8 - 1;
const HELD: usize = 4;

/// OAES, Base 5.15.2.2, and Asynchronous Event Configuration, Base 5.21.1.11: Namespace
/// Attribute Notices.
pub const NAMESPACE_NOTICES: u32 = 1 << 8;

/// Base 5.2.1: dword 0 of the completion. The type is Notice (2h), the information
/// Namespace Attribute Changed (00h), and the log page that clears the event is 04h.
pub const NAMESPACE_CHANGED: u32 = 0x0004_0002;

/// Base 5.2.1: dword 0 of the completion. The type is Error (0h), the information Persistent Internal
/// Error (03h), and the log page 01h. Linux resets the controller at once
/// (`nvme_handle_aer_persistent_error()`, drivers/nvme/host/core.c; 6.1 does not).
pub const PERSISTENT_ERROR: u32 = 0x0001_0300;

/// Requests that wait for an event, and what is to be told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Events {
    held: [u16; HELD],
    count: usize,
    /// The change was not told yet.
    is_pending: bool,
    /// The change was told, and the driver has not read the log page. No further one is told till
    /// then.
    is_masked: bool,
    /// The Changed Namespace List has the namespace.
    is_listed: bool,
}

impl Events {
    /// Holds the request `command`. Returns whether there was room.
    pub(super) fn hold(&mut self, command: u16) -> bool {
        let place = self.held.get_mut(self.count);
        let has_room = place.is_some();
        if let Some(place) = place {
            *place = command;
            self.count += 1;
        }
        has_room
    }

    /// The namespace has changed.
    pub(super) fn change_namespace(&mut self) {
        self.is_pending = true;
        self.is_listed = true;
    }

    /// Returns a request that the change is to be told by.
    pub(super) fn take_notice(&mut self) -> Option<u16> {
        if !self.is_pending || self.is_masked {
            return None;
        }
        let command = self.take()?;
        self.is_pending = false;
        self.is_masked = true;
        Some(command)
    }

    /// Returns a request that something is to be told by.
    pub(super) fn take(&mut self) -> Option<u16> {
        let last = self.count.checked_sub(1)?;
        let command = *self.held.get(last)?;
        self.count = last;
        Some(command)
    }

    /// Returns whether the Changed Namespace List has the namespace.
    pub(super) fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// The driver has read the Changed Namespace List.
    pub(super) fn clear_list(&mut self) {
        self.is_pending = false;
        self.is_masked = false;
        self.is_listed = false;
    }
}
