// SPDX-License-Identifier: GPL-2.0

//! Counters of a disk, for the SMART / Health Information log page and for the first OS.

/// What has been done since the controller was made. Counters saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Read commands.
    pub reads: Count,
    /// Write commands.
    pub writes: Count,
    /// Write Zeroes commands.
    pub zeroes: Count,
    /// Dataset Management commands that deallocate. Their blocks are not counted.
    pub discards: Count,
    /// Flush commands.
    pub flushes: u64,
    /// Requests that the storage failed.
    pub errors: u64,
    /// Starts of the successor.
    pub power_cycles: u64,
    /// Starts that no shutdown of the controller preceded.
    pub unsafe_shutdowns: u64,
}

/// Commands that succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub commands: u64,
    /// Logical blocks in all of them.
    pub blocks: u64,
}

impl Count {
    /// Counts a command.
    pub(super) fn add(&mut self, blocks: u32) {
        self.commands = self.commands.saturating_add(1);
        self.blocks = self.blocks.saturating_add(blocks.into());
    }
}
