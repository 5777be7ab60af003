// SPDX-License-Identifier: GPL-2.0

//! A PCI function made of memory, as the poller serves it.

use crate::{
    memory::memmap::Range,
    memory_device::config_space,
    polling::memory::{Memory, Part}, //
};
use kernel::prelude::*;

/// A function of the bus of a running OS.
pub(crate) trait Function: Send {
    /// Returns what the configuration space says of the function, with its registers at `bar` and the
    /// decoy for its expansion ROM at `rom`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the registers have no room for the MSI-X table.
    fn describe(&self, bar: Range, rom: Range) -> Result<config_space::Function>;

    /// Sets the registers as at power-on.
    fn power_on(&mut self, registers: &Part<'_>);

    /// Serves the driver: takes up to `budget` new commands or frames. `thorough` tells whether to look
    /// at the registers, too, which are uncached.
    fn look(&mut self, registers: &Part<'_>, memory: &Memory, thorough: bool, budget: u32)
        -> Found;

    /// Ends the function for good, and tells its driver, as far as that is possible now. Waits for nothing.
    /// Returns the MSI-X vectors to raise.
    fn vanish(&mut self, registers: &Part<'_>, memory: &Memory) -> [u64; 2];

    /// Waits for what is under way, but not for ever, and puts on the storage what was written. Nobody
    /// looks at the function any more.
    fn sync(&self);
}

/// What a look has found.
#[derive(Clone, Copy, Default)]
pub(crate) struct Found {
    /// Whether there was something to do.
    pub(crate) has_worked: bool,
    /// The part of the budget that was used.
    pub(crate) used: u32,
    /// The MSI-X vectors to raise, a bit for each.
    pub(crate) vectors: [u64; 2],
}
