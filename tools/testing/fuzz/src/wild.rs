// SPDX-License-Identifier: GPL-2.0

//! Memory and registers of a hostile driver.

use mint_unit::memory_device::access::{OutOfReach, Registers, SystemMemory};
use std::cell::{Cell, RefCell};

/// The length of the memory.
pub const WILD_LEN: usize = 0x1_0000;

/// Memory that somebody writes to while it is read.
pub struct Wild {
    pub bytes: RefCell<Vec<u8>>,
    /// How many reads and writes there were.
    pub accesses: Cell<u32>,
    /// If not 0, what is read has changed when it is read again.
    pub disorder: Cell<u32>,
}

impl Wild {
    /// Zeros, which change only when they are written to.
    pub fn zeros() -> Self {
        Wild {
            bytes: RefCell::new(vec![0; WILD_LEN]),
            accesses: Cell::new(0),
            disorder: Cell::new(0),
        }
    }

    fn range(&self, address: u64, len: usize) -> Result<std::ops::Range<usize>, OutOfReach> {
        self.accesses.set(self.accesses.get() + 1);
        let start = usize::try_from(address).map_err(|_| OutOfReach)?;
        let end = start.checked_add(len).filter(|&end| end <= WILD_LEN);
        Ok(start..end.ok_or(OutOfReach)?)
    }

    /// Writes `bytes` as the driver does.
    pub fn put(&self, at: usize, bytes: &[u8]) {
        self.bytes.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

impl SystemMemory for Wild {
    fn read(&self, address: u64, out: &mut [u8]) -> Result<(), OutOfReach> {
        let range = self.range(address, out.len())?;
        let bytes = &mut self.bytes.borrow_mut()[range];
        out.copy_from_slice(bytes);
        let mut disorder = self.disorder.get();
        if disorder != 0 && !bytes.is_empty() {
            // xorshift32 (Marsaglia, "Xorshift RNGs")
            disorder ^= disorder << 13;
            disorder ^= disorder >> 17;
            disorder ^= disorder << 5;
            self.disorder.set(disorder);
            let index = disorder as usize % bytes.len();
            bytes[index] ^= (disorder >> 24) as u8;
        }
        Ok(())
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), OutOfReach> {
        let range = self.range(address, bytes.len())?;
        self.bytes.borrow_mut()[range].copy_from_slice(bytes);
        Ok(())
    }

    fn barrier(&self) {}
}

/// Registers, of which the model writes those before the MSI-X table only.
pub struct Bar(RefCell<Vec<u32>>);

impl Bar {
    /// Zeros, `len` bytes.
    pub fn zeros(len: u32) -> Self {
        Bar(RefCell::new(vec![0; len as usize / 4]))
    }
}

impl Registers for Bar {
    fn read(&self, offset: u32) -> u32 {
        let registers = self.0.borrow();
        registers.get(offset as usize / 4).copied().unwrap_or(!0)
    }

    fn write(&self, offset: u32, value: u32) {
        assert!(offset % 4 == 0 && offset < 0x2000, "{offset:#x}");
        self.0.borrow_mut()[offset as usize / 4] = value;
    }
}
