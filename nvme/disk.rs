// SPDX-License-Identifier: GPL-2.0

//! What a disk is: the controller's only namespace, and its names.

/// A disk.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// Its size in logical blocks.
    pub blocks: u64,
    /// The logarithm of the size of a logical block to base 2: 9 or 12.
    pub block_shift: u8,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether the storage can free blocks: [`crate::nvme::storage::Operation::Deallocate`].
    pub can_discard: bool,
    /// Whether freed blocks read as zeros, always.
    pub discard_zeroes: bool,
    /// PCI vendor ID of the function.
    pub vendor: u16,
    /// PCI subsystem vendor ID of the function.
    pub subsystem_vendor: u16,
    /// Serial number, in ASCII, filled up with spaces.
    pub serial: [u8; 20],
    /// Model, in ASCII, filled up with spaces.
    pub model: [u8; 40],
    /// Firmware revision, in ASCII, filled up with spaces.
    pub firmware: [u8; 8],
    /// The disk's UUID, which no other disk has (RFC 4122, first byte first).
    pub uuid: [u8; 16],
}

/// The ID of the namespace.
pub const NAMESPACE: u32 = 1;
/// The namespace ID that stands for all namespaces, Base 6.1.2.
pub const ALL_NAMESPACES: u32 = u32::MAX;

impl Disk {
    /// Returns whether `blocks` blocks from `lba` on are on the disk.
    pub fn has(&self, lba: u64, blocks: u64) -> bool {
        lba.checked_add(blocks)
            .is_some_and(|end| end <= self.blocks)
    }

    /// Returns whether the disk takes Dataset Management.
    pub fn takes_discards(&self) -> bool {
        self.can_discard && !self.read_only
    }

    /// Returns the size of a logical block.
    pub fn block_len(&self) -> u32 {
        1 << self.block_shift.min(31)
    }

    /// Returns `bytes` in 0's based logical blocks.
    pub fn blocks_0_based(&self, bytes: u32) -> u16 {
        (bytes / self.block_len()).saturating_sub(1) as u16
    }
}
