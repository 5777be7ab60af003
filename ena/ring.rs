// SPDX-License-Identifier: GPL-2.0

//! Rings in the successor's memory.
//!
//! Positions count up, modulo 2^16, and the number of entries is a power of 2. Bit 0 of one byte of
//! each entry is its phase: set in the first round, clear in the second, and so on. So an entry shows
//! whether it is of this round.

use crate::ena::registers::RingPlace;
use crate::memory_device::access::{OutOfReach, Registers, SystemMemory};

/// The byte that has the phase in all descriptors, commands and their completions:
/// ENA_ETH_IO_TX_DESC_PHASE, struct ena_eth_io_rx_desc's `ctrl`, struct ena_admin_aq_common_desc's
/// `flags`, and so on.
const PHASE_BYTE: usize = 3;
const PHASE: u8 = 1;

/// The most entries that a ring has, so that positions of two rounds differ.
const MAX_DEPTH: u16 = 1 << 15;

/// The driver has done what can't be answered: the card stops, and sets the bit for a fatal error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fatal;

impl From<OutOfReach> for Fatal {
    fn from(_: OutOfReach) -> Self {
        Fatal
    }
}

/// Entries of `LEN` bytes.
///
/// # Invariants
///
/// `depth` is a power of 2, and all bytes have addresses.
#[derive(Clone, Copy, Debug)]
struct Ring<const LEN: usize> {
    base: u64,
    depth: u16,
}

impl<const LEN: usize> Ring<LEN> {
    /// Returns [`None`] if the number of entries is not a power of 2, or if a field of an entry would
    /// not be aligned.
    fn new(base: u64, depth: u16) -> Option<Self> {
        let can_be = depth.is_power_of_two() && depth <= MAX_DEPTH && base % 4 == 0;
        base.checked_add(u64::from(depth) * LEN as u64)?;
        // INVARIANT: Checked above.
        can_be.then_some(Ring { base, depth })
    }

    /// The address of the entry at `position`.
    fn address(&self, position: u16) -> u64 {
        self.base + u64::from(position & (self.depth - 1)) * LEN as u64
    }

    /// The phase of the entry at `position`: whether the round is even.
    fn phase(&self, position: u16) -> u8 {
        u8::from(position & self.depth == 0)
    }
}

/// A ring that the driver writes to: commands, or descriptors. It says by a doorbell how far.
///
/// # Invariants
///
/// There are no more than `depth` entries from `head` to `tail`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Submission<const LEN: usize> {
    ring: Ring<LEN>,
    doorbell: u32,
    /// The next entry to take.
    head: u16,
    /// Where the driver writes next, as it says.
    tail: u16,
}

impl<const LEN: usize> Submission<LEN> {
    /// A ring that is empty, with the register of its doorbell. Returns [`None`] if it can't be.
    pub(super) fn new(base: u64, depth: u16, doorbell: u32) -> Option<Self> {
        Some(Submission {
            ring: Ring::new(base, depth)?,
            doorbell,
            head: 0,
            tail: 0,
        })
    }

    /// A ring of the admin queue.
    pub(super) fn at(place: &RingPlace, doorbell: u32) -> Option<Self> {
        let fits = usize::from(place.entry_len) == LEN;
        Self::new(place.base, place.depth, doorbell).filter(|_| fits)
    }

    /// The position of the next entry to take.
    pub(super) fn head(&self) -> u16 {
        self.head
    }

    /// The number of entries that are known and not taken.
    pub(super) fn len(&self) -> u16 {
        self.tail.wrapping_sub(self.head)
    }

    /// Returns whether no entry is left.
    pub(super) fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Looks for entries behind those that are known.
    ///
    /// The driver writes the doorbell after the entries, and an access to uncached memory is not
    /// done before the stores that precede it. So if the doorbell has moved, the phase of the first
    /// new entry is right, which lies in ordinary memory: only then is the doorbell read, which does
    /// not. The phase alone is not enough: the driver sets it before the rest of an entry
    /// (`ena_com_prepare_tx()`).
    pub(super) fn look(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
    ) -> Result<(), Fatal> {
        let mut byte = [0];
        let at = self.ring.address(self.tail) + PHASE_BYTE as u64;
        memory.read(at, &mut byte)?;
        if (byte[0] & PHASE) != self.ring.phase(self.tail) {
            return Ok(());
        }
        let tail = u16::try_from(registers.read(self.doorbell)).map_err(|_| Fatal)?;
        if tail.wrapping_sub(self.head) > self.ring.depth {
            return Err(Fatal);
        }
        // INVARIANT: Checked above.
        self.tail = tail;
        // The entries are read after the doorbell.
        memory.barrier();
        Ok(())
    }

    /// Takes the next entry. That there is none, or that it is of another round, is a mistake of the
    /// driver.
    pub(super) fn take(&mut self, memory: &impl SystemMemory) -> Result<[u8; LEN], Fatal> {
        if self.is_empty() {
            return Err(Fatal);
        }
        let mut entry = [0; LEN];
        memory.read(self.ring.address(self.head), &mut entry)?;
        let phase = entry.get(PHASE_BYTE).map(|byte| byte & PHASE);
        if phase != Some(self.ring.phase(self.head)) {
            return Err(Fatal);
        }
        self.skip();
        Ok(entry)
    }

    /// Passes over the next entry, if there is one.
    pub(super) fn skip(&mut self) {
        if !self.is_empty() {
            // INVARIANT: There is one less.
            self.head = self.head.wrapping_add(1);
        }
    }
}

/// A ring that the card writes to: completions, or events. The phase is in bit 0 of byte `AT`. The
/// driver has room: there is one entry for each that it has in its own ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completions<const LEN: usize, const AT: usize = PHASE_BYTE> {
    ring: Ring<LEN>,
    tail: u16,
}

impl<const LEN: usize, const AT: usize> Completions<LEN, AT> {
    /// A ring that is empty. Returns [`None`] if it can't be.
    pub(super) fn new(base: u64, depth: u16) -> Option<Self> {
        Some(Completions {
            ring: Ring::new(base, depth)?,
            tail: 0,
        })
    }

    /// A ring of the admin queue.
    pub(super) fn at(place: &RingPlace) -> Option<Self> {
        let fits = usize::from(place.entry_len) == LEN;
        Self::new(place.base, place.depth).filter(|_| fits)
    }

    /// The number of entries.
    pub(super) fn depth(&self) -> u16 {
        self.ring.depth
    }

    /// The position behind the last entry that was written.
    pub(super) fn tail(&self) -> u16 {
        self.tail
    }

    /// Writes an entry, whose phase is clear.
    ///
    /// The phase tells the driver that the entry is there, so all else is written first, with the
    /// phase of the round before; then the byte that has it. No part of a single byte can be seen
    /// before another.
    pub(super) fn post(
        &mut self,
        memory: &impl SystemMemory,
        mut entry: [u8; LEN],
    ) -> Result<(), Fatal> {
        let at = self.ring.address(self.tail);
        let phase = self.ring.phase(self.tail);
        let byte = entry.get_mut(AT).ok_or(Fatal)?;
        let last = *byte | phase;
        *byte |= phase ^ PHASE;
        memory.write(at, &entry)?;
        memory.barrier();
        memory.write(at + AT as u64, &[last])?;
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }
}
