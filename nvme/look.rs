// SPDX-License-Identifier: GPL-2.0

//! A look at what the driver has done: registers, then queues.
//!
//! A register that is written with the value that it has, or twice between two looks, can't be told
//! from one that was not written so. This is what it means for each register:
//!
//! - **CC.EN**, cleared and set again: Base 3.1.5 has the driver wait for CSTS.RDY to become 0
//!   before it sets EN, which a look is needed for. Linux does so (`nvme_disable_ctrl()`, called by
//!   `nvme_pci_configure_admin_queue()` before it writes AQA, ASQ and ACQ).
//! - **CC.EN**, found set by a kernel that starts where another one has run (a panic, or kexec):
//!   the same function clears it first, whatever it was, and waits. So the old queues are gone
//!   before the new kernel has queues. If Mint starts the kernel anew, [`Controller::power_on`] has
//!   cleared it before.
//! - **CC.SHN**: a second shutdown only comes after a reset, which clears it
//!   (`nvme_disable_ctrl()`).
//! - **Doorbells**: the value counts, not the write. A queue can't go round between two looks, as
//!   the driver stops at the head that completions report.

use core::ops::DerefMut;

use crate::memory_device::access::{Registers, SystemMemory};
use crate::nvme::controller::{Controller, Fatal, State};
use crate::nvme::doorbell::Doorbell;
use crate::nvme::prp::Data;
use crate::nvme::queue::{CompletionQueue, QueuePair, SubmissionQueue};
use crate::nvme::registers::{self, AdminQueues, ControllerStatus, Shutdown};
use crate::nvme::storage::{Operation, Storage};

/// How many commands are taken from a queue before it is the turn of the next.
const BURST: u32 = 8;

/// What a look has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// The number of commands that were taken.
    pub commands: u32,
    /// Whether the budget is used up: there may be more commands. If not, then all that is left
    /// waits for the storage or for the driver.
    pub is_busy: bool,
}

impl<Q: DerefMut<Target = [QueuePair]>> Controller<Q> {
    /// Looks once, and takes up to `budget` commands. Looks at registers that the driver writes
    /// only if `thorough`; otherwise only at shadow doorbells, which lie in ordinary memory.
    pub fn look(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        storage: &mut impl Storage,
        thorough: bool,
        budget: u32,
    ) -> Looked {
        if matches!(self.state, State::Off | State::Gone) {
            return Looked::default();
        }
        if thorough {
            self.look_at_configuration(registers, memory);
        }
        if self.state == State::Resetting && self.outstanding == 0 {
            registers::clear_doorbells(registers, self.queue_count());
            self.status = ControllerStatus::default();
            self.state = State::Disabled;
        }
        if self.status.shutdown == Shutdown::UnderWay {
            self.shut_down(storage);
        }
        let mut looked = Looked::default();
        if self.state == State::Ready && self.status.shutdown == Shutdown::Normal {
            let served = self.serve(registers, memory, storage, thorough, budget, &mut looked);
            if served.is_err() {
                self.fail();
            }
        }
        if self.shown != Some(self.status) {
            memory.barrier();
            registers::set_status(registers, self.status);
            self.shown = Some(self.status);
        }
        looked
    }

    fn look_at_configuration(&mut self, registers: &impl Registers, memory: &impl SystemMemory) {
        self.configuration = registers::configuration(registers);
        match (self.state, self.configuration.is_enabled()) {
            (State::Disabled, true) => self.enable(registers, memory),
            (State::Ready | State::Fatal, false) => {
                self.forget();
                self.state = State::Resetting;
            }
            _ => {}
        }
        if matches!(self.state, State::Disabled | State::Ready)
            && self.configuration.asks_for_shutdown()
            && self.status.shutdown == Shutdown::Normal
        {
            self.status.shutdown = Shutdown::UnderWay;
        }
    }

    /// CC.EN was set: reads the registers that the driver has written before (Base 7.6.1).
    fn enable(&mut self, registers: &impl Registers, memory: &impl SystemMemory) {
        memory.barrier();
        registers::clear_doorbells(registers, self.queue_count());
        self.status = ControllerStatus::default();
        self.shown = None;
        let queues = registers::admin_queues(registers);
        match queues.filter(|_| self.configuration.is_supported()) {
            Some(queues) if self.create_admin_queues(registers, memory, &queues).is_ok() => {
                self.state = State::Ready;
                self.status.ready = true;
            }
            _ => self.fail(),
        }
    }

    fn create_admin_queues(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        queues: &AdminQueues,
    ) -> Result<(), Fatal> {
        let submission = Doorbell::new(0, false, registers, memory, None)?;
        let completion = Doorbell::new(0, true, registers, memory, None)?;
        let pair = self.queues.first_mut().ok_or(Fatal)?;
        let AdminQueues {
            submission: base,
            submission_entries: entries,
            ..
        } = *queues;
        pair.submission = Some(SubmissionQueue::new(base, entries, 0, submission));
        let AdminQueues {
            completion: base,
            completion_entries: entries,
            ..
        } = *queues;
        pair.completion = Some(CompletionQueue::new(base, entries, Some(0), completion));
        Ok(())
    }

    /// Shutdown processing, Base 7.6.2: once all commands are done, what was written goes to the
    /// medium.
    fn shut_down(&mut self, storage: &mut impl Storage) {
        if self.outstanding != 0 || self.is_flushing {
            return;
        }
        if self.disk.read_only {
            self.status.shutdown = Shutdown::Complete;
        } else if storage.has_room() {
            self.is_flushing = true;
            self.submit(storage, None, 0, Operation::Flush, Data::EMPTY);
        }
    }

    /// Takes commands, in turn from each queue, from where the last look has stopped.
    fn serve(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        storage: &mut impl Storage,
        thorough: bool,
        budget: u32,
        looked: &mut Looked,
    ) -> Result<(), Fatal> {
        self.tell_events(memory)?;
        if self.look_at_tails(registers, memory, thorough)? {
            // The commands are read after the doorbells.
            memory.barrier();
        }
        let queues = self.queue_count();
        let mut empty = 0;
        while empty < queues {
            let left = budget.saturating_sub(looked.commands);
            if left == 0 {
                looked.is_busy = true;
                return Ok(());
            }
            let queue = self.next % queues;
            let most = left.min(BURST);
            let taken = self.take(registers, memory, storage, thorough, queue, most)?;
            looked.commands += taken;
            empty = if taken == 0 { empty + 1 } else { 0 };
            self.next = (queue + 1) % queues;
        }
        Ok(())
    }

    /// Looks at all tail doorbells. Returns whether there are commands.
    fn look_at_tails(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        thorough: bool,
    ) -> Result<bool, Fatal> {
        let shadows = self.shadows;
        let mut has_commands = false;
        for pair in self.queues.iter_mut() {
            let Some(queue) = &mut pair.submission else {
                continue;
            };
            if queue.deletion.is_some() {
                continue;
            }
            let doorbell = &mut queue.doorbell;
            let tail = doorbell.look(registers, memory, shadows.as_ref(), thorough)?;
            queue.set_tail(tail)?;
            has_commands |= !queue.is_empty();
        }
        Ok(has_commands)
    }

    /// Takes up to `most` commands from a queue. Returns how many.
    fn take(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        storage: &mut impl Storage,
        thorough: bool,
        queue: u16,
        most: u32,
    ) -> Result<u32, Fatal> {
        for taken in 0..most {
            let Some(submission) = self.submission(queue) else {
                return Ok(taken);
            };
            if submission.is_empty() || submission.deletion.is_some() {
                return Ok(taken);
            }
            let completion = submission.completion;
            if !self.has_room(registers, memory, thorough, completion)? {
                return Ok(taken);
            }
            if queue != 0 && !storage.has_room() {
                return Ok(taken);
            }
            let submission = self.submission(queue).ok_or(Fatal)?;
            let command = submission.take(memory)?;
            let completion = self.completion(completion).ok_or(Fatal)?;
            completion.reserved = completion.reserved.saturating_add(1);
            if queue == 0 {
                self.execute_admin(registers, memory, &command)?;
            } else {
                self.execute_io(memory, storage, queue, &command)?;
            }
        }
        Ok(most)
    }

    /// Returns whether a completion queue has room for one command more. Looks at the head doorbell
    /// only if need be.
    fn has_room(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        thorough: bool,
        completion: u16,
    ) -> Result<bool, Fatal> {
        let shadows = self.shadows;
        let queue = self.completion(completion).ok_or(Fatal)?;
        if !queue.has_room() {
            let doorbell = &mut queue.doorbell;
            let head = doorbell.look(registers, memory, shadows.as_ref(), thorough)?;
            queue.set_head(head)?;
        }
        Ok(queue.has_room())
    }
}
