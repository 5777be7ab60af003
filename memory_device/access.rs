// SPDX-License-Identifier: GPL-2.0

//! How the model of a device reaches memory that a successor may write at any time.

/// The address is outside the memory that the device may access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfReach;

/// Registers made of memory: the configuration space of a function, or its base address register
/// (BAR). The successor reads and writes them uncached, and each of its accesses is a plain access to
/// memory: none has a side effect.
pub trait Registers {
    /// Returns the register at `offset`, a multiple of 4. Returns all ones outside the registers.
    fn read(&self, offset: u32) -> u32;

    /// Sets the register at `offset`, a multiple of 4. Does nothing outside the registers.
    fn write(&self, offset: u32, value: u32);
}

/// The memory of a successor, by its physical addresses.
pub trait SystemMemory {
    /// Copies the bytes at `address` to `out`. The bytes may change meanwhile.
    ///
    /// # Errors
    ///
    /// [`OutOfReach`] if the successor does not own all of the bytes.
    fn read(&self, address: u64, out: &mut [u8]) -> Result<(), OutOfReach>;

    /// Copies `bytes` to `address`. The successor sees them in the order of their addresses only
    /// after a [`SystemMemory::barrier`].
    ///
    /// # Errors
    ///
    /// [`OutOfReach`] if the successor does not own all of the bytes.
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), OutOfReach>;

    /// Orders all accesses before against all accesses after, reads and writes, of this memory and of
    /// registers (`smp_mb()`).
    fn barrier(&self);
}
