// SPDX-License-Identifier: GPL-2.0

//! Submission and completion queues, Base 4.1.

use crate::memory_device::access::{OutOfReach, SystemMemory};
use crate::nvme::command::{Command, COMMAND_LEN};
use crate::nvme::doorbell::Doorbell;
use crate::nvme::status::Status;

/// The length of a completion queue entry.
const COMPLETION_LEN: usize = 16;
/// The byte of a completion queue entry that has the phase tag, in bit 0. Base 4.6.
const PHASE_BYTE: usize = 14;

/// The queues with one queue identifier. A controller gets one for its admin queues and one for
/// each pair of I/O queues.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueuePair {
    pub(super) submission: Option<SubmissionQueue>,
    pub(super) completion: Option<CompletionQueue>,
}

/// A submission queue: the driver writes commands at the tail, the controller takes them at the
/// head.
#[derive(Clone, Copy, Debug)]
pub(super) struct SubmissionQueue {
    base: u64,
    entries: u16,
    /// The next entry to take; below `entries`.
    head: u16,
    /// Where the driver writes next, as it says; below `entries`.
    tail: u16,
    /// The completion queue's identifier.
    pub completion: u16,
    /// Commands that the storage has.
    pub outstanding: u32,
    /// The Delete I/O Submission Queue command that waits for these.
    pub deletion: Option<u16>,
    /// The tail doorbell.
    pub doorbell: Doorbell,
}

/// A doorbell has a value that it can't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidDoorbell;

impl SubmissionQueue {
    /// A queue of `entries` entries at `base`.
    pub(super) fn new(base: u64, entries: u16, completion: u16, doorbell: Doorbell) -> Self {
        SubmissionQueue {
            base,
            entries,
            head: 0,
            tail: 0,
            completion,
            outstanding: 0,
            deletion: None,
            doorbell,
        }
    }

    /// The next entry to take.
    pub(super) fn head(&self) -> u16 {
        self.head
    }

    /// Returns whether no command is left.
    pub(super) fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Sets the tail to the doorbell's value.
    pub(super) fn set_tail(&mut self, doorbell: u32) -> Result<(), InvalidDoorbell> {
        match u16::try_from(doorbell) {
            Ok(tail) if tail < self.entries => self.tail = tail,
            _ => return Err(InvalidDoorbell),
        }
        Ok(())
    }

    /// Takes the next command.
    pub(super) fn take(&mut self, memory: &impl SystemMemory) -> Result<Command, OutOfReach> {
        let mut entry = [0; COMMAND_LEN];
        memory.read(address(self.base, self.head, COMMAND_LEN)?, &mut entry)?;
        self.head = next(self.head, self.entries);
        Ok(Command::new(&entry))
    }
}

/// A completion queue: the controller writes at the tail, the driver takes at the head.
#[derive(Clone, Copy, Debug)]
pub(super) struct CompletionQueue {
    base: u64,
    entries: u16,
    /// The next entry to write; below `entries`.
    tail: u16,
    /// The driver's next entry, as it says; below `entries`.
    head: u16,
    /// The phase tag of the next entry.
    phase: bool,
    /// Commands taken whose completion will come here.
    pub reserved: u16,
    /// The interrupt vector, unless the queue has none.
    pub vector: Option<u16>,
    /// The head doorbell.
    pub doorbell: Doorbell,
}

/// A completion queue entry but its phase tag, Base 4.6.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    /// Dword 0, the command's result.
    pub result: u32,
    /// The submission queue's head.
    pub head: u16,
    /// The submission queue.
    pub queue: u16,
    /// The command.
    pub command: u16,
    /// How the command ended.
    pub status: Status,
}

impl CompletionQueue {
    /// A queue of `entries` entries at `base`.
    pub(super) fn new(base: u64, entries: u16, vector: Option<u16>, doorbell: Doorbell) -> Self {
        CompletionQueue {
            base,
            entries,
            tail: 0,
            head: 0,
            phase: true,
            reserved: 0,
            vector,
            doorbell,
        }
    }

    /// Returns whether the queue has an entry for a further command. Base 4.1: a queue is full with
    /// one entry less than it has.
    pub(super) fn has_room(&self) -> bool {
        u32::from(self.used()) + u32::from(self.reserved) + 1 < u32::from(self.entries)
    }

    /// Entries that the driver has not taken.
    fn used(&self) -> u16 {
        distance(self.head, self.tail, self.entries)
    }

    /// Sets the head to the doorbell's value, which lies between the head so far and the tail.
    pub(super) fn set_head(&mut self, doorbell: u32) -> Result<(), InvalidDoorbell> {
        match u16::try_from(doorbell) {
            Ok(head)
                if head < self.entries
                    && distance(self.head, head, self.entries) <= self.used() =>
            {
                self.head = head;
                Ok(())
            }
            _ => Err(InvalidDoorbell),
        }
    }

    /// Writes the completion of a command for which an entry was reserved.
    ///
    /// The phase tag tells the driver that the entry is there (`nvme_cqe_pending()`), so all else
    /// is written first, with the tag of the round before; then the byte that has the tag. No part
    /// of a single byte can be seen before another.
    pub(super) fn post(
        &mut self,
        memory: &impl SystemMemory,
        completion: &Completion,
    ) -> Result<(), OutOfReach> {
        let at = address(self.base, self.tail, COMPLETION_LEN)?;
        let entry = |phase| {
            let mut entry = [0; COMPLETION_LEN];
            entry[0..4].copy_from_slice(&completion.result.to_le_bytes());
            entry[8..10].copy_from_slice(&completion.head.to_le_bytes());
            entry[10..12].copy_from_slice(&completion.queue.to_le_bytes());
            entry[12..14].copy_from_slice(&completion.command.to_le_bytes());
            entry[14..16].copy_from_slice(&completion.status.with_phase(phase).to_le_bytes());
            entry
        };
        memory.write(at, &entry(!self.phase))?;
        memory.barrier();
        let entry = entry(self.phase);
        memory.write(at + PHASE_BYTE as u64, &entry[PHASE_BYTE..=PHASE_BYTE])?;
        self.reserved = self.reserved.saturating_sub(1);
        self.tail = next(self.tail, self.entries);
        self.phase ^= self.tail == 0;
        Ok(())
    }
}

/// The address of an entry, of which all bytes have addresses.
fn address(base: u64, index: u16, len: usize) -> Result<u64, OutOfReach> {
    let at = base.checked_add(u64::from(index) * len as u64);
    at.filter(|at| at.checked_add(len as u64).is_some())
        .ok_or(OutOfReach)
}

/// The entry behind `index`.
fn next(index: u16, entries: u16) -> u16 {
    if index + 1 < entries {
        index + 1
    } else {
        0
    }
}

/// The number of entries from `from` to `to`, both below `entries`.
fn distance(from: u16, to: u16, entries: u16) -> u16 {
    if from <= to {
        to - from
    } else {
        to + (entries - from)
    }
}
