// SPDX-License-Identifier: GPL-2.0

//! Counters of a card, for the driver and for the first OS.

/// What has been done since the card was made. Counters saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// From the successor.
    pub transmit: Traffic,
    /// To the successor.
    pub receive: Traffic,
    /// Resets by the driver.
    pub resets: u64,
    /// How often the card has stopped because of what the driver has done.
    pub failures: u64,
}

/// Counters of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames that were passed on.
    pub frames: u64,
    /// Bytes in all of them.
    pub bytes: u64,
    /// Frames that were dropped without a fault of theirs: the link was down, or there was no room.
    pub drops: u64,
    /// Frames that could not be passed on for what they are.
    pub errors: u64,
}

impl Traffic {
    /// Counts a frame that was passed on.
    pub(super) fn add(&mut self, bytes: u32) {
        self.frames = self.frames.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes.into());
    }

    /// Counts a frame that was dropped.
    pub(super) fn drop_one(&mut self) {
        self.drops = self.drops.saturating_add(1);
    }

    /// Counts a frame that can't be passed on.
    pub(super) fn refuse_one(&mut self) {
        self.errors = self.errors.saturating_add(1);
    }
}
