// SPDX-License-Identifier: GPL-2.0

//! The controller: its state, and how commands are completed.

use core::ops::DerefMut;

use crate::memory_device::access::{OutOfReach, Registers, SystemMemory};
use crate::nvme::counters::Counters;
use crate::nvme::disk::Disk;
use crate::nvme::doorbell::Shadows;
use crate::nvme::events::Events;
use crate::nvme::features::{Features, Limits};
use crate::nvme::log_page::{ErrorEntry, ErrorLog};
use crate::nvme::queue::{
    Completion,
    CompletionQueue,
    InvalidDoorbell,
    QueuePair,
    SubmissionQueue, //
};
use crate::nvme::registers::{
    self,
    Configuration,
    ControllerStatus,
    Shutdown,
    MAX_IO_QUEUES, //
};
use crate::nvme::status::{self, Outcome, Status};
use crate::nvme::storage::{Operation, Token};

/// An NVMe controller with one disk.
///
/// `Q` is memory for its queues: a `KVec<QueuePair>` in the kernel.
pub struct Controller<Q> {
    pub(super) disk: Disk,
    /// The admin queues, then the I/O queues.
    pub(super) queues: Q,
    pub(super) state: State,
    /// CC as it was seen last.
    pub(super) configuration: Configuration,
    /// CSTS as it should be.
    pub(super) status: ControllerStatus,
    /// CSTS as it was written last, or [`None`] if it must be written again.
    pub(super) shown: Option<ControllerStatus>,
    /// Counts resets. Requests from before the last one are not completed.
    pub(super) epoch: u32,
    /// Requests that the storage has, of all epochs.
    pub(super) outstanding: u32,
    /// Whether the flush of a shutdown was submitted.
    pub(super) is_flushing: bool,
    pub(super) shadows: Option<Shadows>,
    pub(super) features: Features,
    pub(super) events: Events,
    pub(super) errors: ErrorLog,
    pub(super) counters: Counters,
    /// Interrupt vectors to raise.
    pub(super) vectors: [u64; 2],
    /// The queue that the next look starts with.
    pub(super) next: u16,
}

/// What the controller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing: the successor does not run.
    Off,
    /// It waits for CC.EN.
    Disabled,
    /// It takes commands.
    Ready,
    /// CC.EN was cleared. It waits for the storage before it clears CSTS.RDY.
    Resetting,
    /// The driver has done what can't be answered. It waits for a reset.
    Fatal,
    /// Nothing, for good.
    Gone,
}

/// The controller can't go on, and sets CSTS.CFS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fatal;

impl From<OutOfReach> for Fatal {
    fn from(_: OutOfReach) -> Self {
        Fatal
    }
}

impl From<InvalidDoorbell> for Fatal {
    fn from(_: InvalidDoorbell) -> Self {
        Fatal
    }
}

impl<Q: DerefMut<Target = [QueuePair]>> Controller<Q> {
    /// A controller that is off. `queues` has an element for the admin queues, and one for each
    /// pair of I/O queues, up to [`MAX_IO_QUEUES`].
    pub fn new(disk: Disk, queues: Q) -> Self {
        Controller {
            disk,
            queues,
            state: State::Off,
            configuration: Configuration::default(),
            status: ControllerStatus::default(),
            shown: None,
            epoch: 0,
            outstanding: 0,
            is_flushing: false,
            shadows: None,
            features: Features::DEFAULT,
            events: Events::default(),
            errors: ErrorLog::default(),
            counters: Counters::default(),
            vectors: [0; 2],
            next: 0,
        }
    }

    /// Sets all registers anew, before a start of the successor. The MSI-X table in the same BAR is
    /// not touched.
    pub fn power_on(&mut self, registers: &impl Registers) {
        if self.state == State::Gone {
            return;
        }
        self.power_off();
        registers::power_on(registers);
        registers::clear_doorbells(registers, self.queue_count());
        self.state = State::Disabled;
        self.counters.power_cycles = self.counters.power_cycles.saturating_add(1);
    }

    /// The successor does not run any more: its memory is not accessed from now on. Requests that
    /// the storage has must still be passed to [`Controller::complete`], which counts them.
    pub fn power_off(&mut self) {
        if self.state == State::Gone {
            return;
        }
        let was_shut_down = self.status.shutdown == Shutdown::Complete;
        if matches!(self.state, State::Ready | State::Fatal) && !was_shut_down {
            let count = &mut self.counters.unsafe_shutdowns;
            *count = count.saturating_add(1);
        }
        self.forget();
        self.status = ControllerStatus::default();
        self.state = State::Off;
    }

    /// Ends the device for good: all its registers read as all ones, as those of a device that was
    /// pulled out. An event tells the driver, if it waits for one; [`Controller::take_vectors`] then has
    /// the interrupt. After that, the successor's memory is not accessed.
    pub fn vanish(&mut self, registers: &impl Registers, memory: &impl SystemMemory) {
        registers::vanish(registers);
        if self.state == State::Ready && self.status.shutdown == Shutdown::Normal {
            // The driver finds out later otherwise.
            let _ = self.tell_end(memory);
        }
        let vectors = self.vectors;
        self.forget();
        self.vectors = vectors;
        self.state = State::Gone;
    }

    /// Stops the controller: the next look sets CSTS.CFS (Controller Fatal Status), and nothing is
    /// done until the driver resets the controller.
    pub fn fail(&mut self) {
        if matches!(self.state, State::Disabled | State::Ready) {
            self.state = State::Fatal;
            self.status.fatal = true;
        }
    }

    /// Returns whether the controller has stopped until the driver resets it.
    pub fn is_fatal(&self) -> bool {
        self.state == State::Fatal
    }

    /// The disk has another size. The driver is told.
    pub fn resize(&mut self, blocks: u64) {
        if self.disk.blocks != blocks {
            self.disk.blocks = blocks;
            self.events.change_namespace();
        }
    }

    /// Returns what the disk is.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Returns what has been done so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns whether the driver has set up shadow doorbells. If not, only a thorough look finds
    /// I/O commands. For admin commands, Linux never uses shadows.
    pub fn has_shadows(&self) -> bool {
        self.shadows.is_some()
    }

    /// Returns the number of requests that the storage has.
    pub fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// Returns whether the data of a request may still be copied from or to the successor's memory.
    /// The driver may use it for something else after a reset.
    pub fn is_current(&self, token: &Token) -> bool {
        token.epoch == self.epoch && matches!(self.state, State::Ready)
    }

    /// Takes the interrupt vectors to raise, one bit for each.
    pub fn take_vectors(&mut self) -> [u64; 2] {
        core::mem::take(&mut self.vectors)
    }

    /// Completes the command of a request that the storage is done with.
    pub fn complete(&mut self, memory: &impl SystemMemory, token: Token, outcome: Outcome) {
        self.outstanding = self.outstanding.saturating_sub(1);
        let status = token.operation.status(outcome);
        match outcome {
            Outcome::Success => self.count(&token.operation),
            // These are mistakes of the driver.
            Outcome::OutOfReach | Outcome::LbaOutOfRange => {}
            _ => self.log(&token, status),
        }
        if token.epoch != self.epoch {
            return;
        }
        let Some(queue) = token.queue else {
            // Whatever became of the flush, the driver waits.
            self.status.shutdown = Shutdown::Complete;
            return;
        };
        if self.state == State::Ready && self.finish(memory, queue, token.command, status).is_err()
        {
            self.fail();
        }
    }

    /// Posts the completion of an I/O command, and that of the queue's deletion if it was the last.
    fn finish(
        &mut self,
        memory: &impl SystemMemory,
        queue: u16,
        command: u16,
        status: Status,
    ) -> Result<(), Fatal> {
        self.post(memory, queue, command, status, 0)?;
        let Some(submission) = self.submission(queue) else {
            return Ok(());
        };
        submission.outstanding = submission.outstanding.saturating_sub(1);
        match submission.deletion {
            Some(deletion) if submission.outstanding == 0 => {
                self.remove_submission(queue);
                self.post(memory, 0, deletion, status::SUCCESS, 0)
            }
            _ => Ok(()),
        }
    }

    /// Posts a completion to the completion queue of submission queue `queue`.
    pub(super) fn post(
        &mut self,
        memory: &impl SystemMemory,
        queue: u16,
        command: u16,
        status: Status,
        result: u32,
    ) -> Result<(), Fatal> {
        let submission = self.submission(queue).ok_or(Fatal)?;
        let (head, completion) = (submission.head(), submission.completion);
        let completion = self.completion(completion).ok_or(Fatal)?;
        let entry = Completion {
            result,
            head,
            queue,
            command,
            status,
        };
        completion.post(memory, &entry)?;
        let vector = completion.vector;
        if let Some(vector) = vector {
            if let Some(word) = self.vectors.get_mut(usize::from(vector / 64)) {
                *word |= 1 << (vector % 64);
            }
        }
        Ok(())
    }

    /// Returns submission queue `queue`.
    pub(super) fn submission(&mut self, queue: u16) -> Option<&mut SubmissionQueue> {
        self.queues.get_mut(usize::from(queue))?.submission.as_mut()
    }

    /// Returns completion queue `queue`.
    pub(super) fn completion(&mut self, queue: u16) -> Option<&mut CompletionQueue> {
        self.queues.get_mut(usize::from(queue))?.completion.as_mut()
    }

    /// Removes submission queue `queue`.
    pub(super) fn remove_submission(&mut self, queue: u16) {
        if let Some(pair) = self.queues.get_mut(usize::from(queue)) {
            pair.submission = None;
        }
    }

    /// Forgets all that the driver has set up.
    pub(super) fn forget(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.queues.fill(QueuePair::default());
        self.shadows = None;
        self.features = Features::DEFAULT;
        self.events = Events::default();
        self.is_flushing = false;
        self.vectors = [0; 2];
        self.shown = None;
    }

    /// The number of queue pairs, the admin queues included.
    pub(super) fn queue_count(&self) -> u16 {
        u16::try_from(self.queues.len()).map_or(MAX_IO_QUEUES + 1, |len| len.min(MAX_IO_QUEUES + 1))
    }

    /// What features depend on.
    pub(super) fn limits(&self) -> Limits {
        let is_used = |pair: &QueuePair| pair.submission.is_some() || pair.completion.is_some();
        Limits {
            io_queues: self.queue_count().saturating_sub(1),
            has_io_queues: self.queues.iter().skip(1).any(is_used),
        }
    }

    fn count(&mut self, operation: &Operation) {
        let counters = &mut self.counters;
        match *operation {
            Operation::Read { blocks, .. } => counters.reads.add(blocks),
            Operation::Write { blocks, .. } => counters.writes.add(blocks),
            Operation::WriteZeroes { blocks, .. } => counters.zeroes.add(blocks),
            Operation::Deallocate { .. } => counters.discards.add(0),
            Operation::Flush => counters.flushes = counters.flushes.saturating_add(1),
        }
    }

    fn log(&mut self, token: &Token, status: Status) {
        self.counters.errors = self.counters.errors.saturating_add(1);
        self.errors.add(ErrorEntry {
            queue: token.queue.unwrap_or(0),
            command: token.command,
            status,
            lba: token.operation.lba(),
        });
    }
}
