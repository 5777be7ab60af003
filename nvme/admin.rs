// SPDX-License-Identifier: GPL-2.0

//! Admin commands, Base 5.

use core::ops::DerefMut;

use crate::memory_device::access::{OutOfReach, Registers, SystemMemory};
use crate::nvme::answer::Answer;
use crate::nvme::command::{self, Command};
use crate::nvme::controller::{Controller, Fatal};
use crate::nvme::disk::{ALL_NAMESPACES, NAMESPACE};
use crate::nvme::doorbell::{Doorbell, Shadows};
use crate::nvme::events::{NAMESPACE_CHANGED, PERSISTENT_ERROR};
use crate::nvme::identify::{identify, IDENTIFY_LEN};
use crate::nvme::log_page;
use crate::nvme::prp::Data;
use crate::nvme::queue::{CompletionQueue, QueuePair, SubmissionQueue};
use crate::nvme::registers::{doorbell, MAX_ENTRIES, PAGE_LEN};
use crate::nvme::status::{self, Status};

// Base 5.3 and 5.4: bits of command dword 11 of Create I/O Completion and
// Submission Queue.
/// Physically Contiguous (PC).
const CONTIGUOUS: u32 = 1 << 0;
/// Interrupts Enabled (IEN), of a completion queue.
const INTERRUPTS: u32 = 1 << 1;

/// Base 5.14.1: Retain Asynchronous Event (RAE), in command dword 10 of Get Log Page.
const RETAIN_EVENT: u32 = 1 << 15;
/// Base 5.1: the result of Abort, if the command was not aborted.
const NOT_ABORTED: u32 = 1;

/// How a command goes on.
enum Done {
    /// It is completed, with a result.
    Now(u32),
    /// It is completed later.
    Later,
}

impl<Q: DerefMut<Target = [QueuePair]>> Controller<Q> {
    /// Does an admin command.
    pub(super) fn execute_admin(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        command: &Command,
    ) -> Result<(), Fatal> {
        let (status, result) = match self.try_admin(registers, memory, command) {
            Ok(Done::Now(result)) => (status::SUCCESS, result),
            Ok(Done::Later) => return Ok(()),
            Err(status) => (status, 0),
        };
        self.post(memory, 0, command.id, status, result)
    }

    fn try_admin(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        command: &Command,
    ) -> Result<Done, Status> {
        if !command::ADMIN.contains(&command.opcode) {
            return Err(status::INVALID_OPCODE);
        }
        if !command.is_plain() {
            return Err(status::INVALID_FIELD);
        }
        let dwords = [command.dword(10), command.dword(11)];
        let limits = self.limits();
        match command.opcode {
            command::DELETE_SQ => return self.delete_sq(command),
            command::CREATE_SQ => self.create_sq(registers, memory, command)?,
            command::GET_LOG_PAGE => self.get_log_page(memory, command)?,
            command::DELETE_CQ => self.delete_cq(command)?,
            command::CREATE_CQ => self.create_cq(registers, memory, command)?,
            command::IDENTIFY => self.identify(memory, command)?,
            command::ABORT => return Ok(Done::Now(NOT_ABORTED)),
            command::SET_FEATURES => return self.features.set(dwords, limits).map(Done::Now),
            command::GET_FEATURES => return self.features.get(dwords, limits).map(Done::Now),
            command::ASYNC_EVENT_REQUEST if self.events.hold(command.id) => return Ok(Done::Later),
            command::ASYNC_EVENT_REQUEST => return Err(status::EVENT_LIMIT_EXCEEDED),
            command::DOORBELL_BUFFER_CONFIG => self.set_shadows(memory, command)?,
            _ => return Err(status::INVALID_OPCODE),
        }
        Ok(Done::Now(0))
    }

    /// Base 5.3, Create I/O Completion Queue.
    fn create_cq(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        command: &Command,
    ) -> Result<(), Status> {
        let new = self.new_queue(command)?;
        if self.completion(new.id).is_some() {
            return Err(status::INVALID_QUEUE_ID);
        }
        if !self.configuration.has_completion_entry_size() {
            return Err(status::INVALID_QUEUE_SIZE);
        }
        let vector =
            (command.dword(11) & INTERRUPTS != 0).then_some((command.dword(11) >> 16) as u16);
        if vector.is_some_and(|vector| vector >= self.queue_count()) {
            return Err(status::INVALID_VECTOR);
        }
        let doorbell = self.doorbell(registers, memory, new.id, true)?;
        let queue = CompletionQueue::new(new.base, new.entries, vector, doorbell);
        if let Some(pair) = self.queues.get_mut(usize::from(new.id)) {
            pair.completion = Some(queue);
        }
        Ok(())
    }

    /// Base 5.4, Create I/O Submission Queue.
    fn create_sq(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        command: &Command,
    ) -> Result<(), Status> {
        let new = self.new_queue(command)?;
        if self.submission(new.id).is_some() {
            return Err(status::INVALID_QUEUE_ID);
        }
        if !self.configuration.has_submission_entry_size() {
            return Err(status::INVALID_QUEUE_SIZE);
        }
        let completion = (command.dword(11) >> 16) as u16;
        if completion == 0 || completion >= self.queue_count() {
            return Err(status::INVALID_QUEUE_ID);
        }
        if self.completion(completion).is_none() {
            return Err(status::COMPLETION_QUEUE_INVALID);
        }
        let doorbell = self.doorbell(registers, memory, new.id, false)?;
        let queue = SubmissionQueue::new(new.base, new.entries, completion, doorbell);
        if let Some(pair) = self.queues.get_mut(usize::from(new.id)) {
            pair.submission = Some(queue);
        }
        Ok(())
    }

    /// Checks what Create I/O Completion Queue and Create I/O Submission Queue have in common.
    fn new_queue(&self, command: &Command) -> Result<NewQueue, Status> {
        let id = command.dword(10) as u16;
        // 0's based.
        let entries = (command.dword(10) >> 16) as u16;
        let base = command.prps[0];
        if id == 0 || id >= self.queue_count() {
            return Err(status::INVALID_QUEUE_ID);
        }
        if entries == 0 || entries >= MAX_ENTRIES {
            return Err(status::INVALID_QUEUE_SIZE);
        }
        if command.dword(11) & CONTIGUOUS == 0 {
            return Err(status::INVALID_FIELD);
        }
        if base % PAGE_LEN != 0 {
            return Err(status::PRP_OFFSET_INVALID);
        }
        Ok(NewQueue {
            id,
            entries: entries + 1,
            base,
        })
    }

    fn doorbell(
        &self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        queue: u16,
        is_completion: bool,
    ) -> Result<Doorbell, Status> {
        let shadows = self.shadows.as_ref();
        Doorbell::new(queue, is_completion, registers, memory, shadows)
            .map_err(|OutOfReach| status::INTERNAL_ERROR)
    }

    /// Base 5.6, Delete I/O Submission Queue. Commands that the storage has are completed before;
    /// those that were not taken never are.
    fn delete_sq(&mut self, command: &Command) -> Result<Done, Status> {
        let id = command.dword(10) as u16;
        if id == 0 {
            return Err(status::INVALID_QUEUE_ID);
        }
        match self.submission(id) {
            Some(queue) if queue.deletion.is_none() => {
                if queue.outstanding != 0 {
                    queue.deletion = Some(command.id);
                    return Ok(Done::Later);
                }
            }
            _ => return Err(status::INVALID_QUEUE_ID),
        }
        self.remove_submission(id);
        Ok(Done::Now(0))
    }

    /// Base 5.5, Delete I/O Completion Queue.
    fn delete_cq(&mut self, command: &Command) -> Result<(), Status> {
        let id = command.dword(10) as u16;
        if id == 0 || self.completion(id).is_none() {
            return Err(status::INVALID_QUEUE_ID);
        }
        let mut submissions = self.queues.iter().filter_map(|pair| pair.submission);
        if submissions.any(|queue| queue.completion == id) {
            return Err(status::INVALID_QUEUE_DELETION);
        }
        if let Some(pair) = self.queues.get_mut(usize::from(id)) {
            pair.completion = None;
        }
        Ok(())
    }

    /// Base 5.15, Identify.
    fn identify(&self, memory: &impl SystemMemory, command: &Command) -> Result<(), Status> {
        let data = Data::from_prps(memory, command.prps, IDENTIFY_LEN)?;
        let answer = Answer::new(memory, &data, 0).map_err(transfer_error)?;
        let cns = command.dword(10) as u8;
        identify(&answer, &self.disk, cns, command.namespace)
    }

    /// Base 5.14.1, Get Log Page.
    fn get_log_page(
        &mut self,
        memory: &impl SystemMemory,
        command: &Command,
    ) -> Result<(), Status> {
        let page = command.dword(10) as u8;
        let page_len = log_page::len(page).ok_or(status::INVALID_LOG_PAGE)?;
        // NUMD, in dwords and 0's based: bits 31:16 of dword 10, and above them bits 15:0 of dword
        // 11.
        let dwords = (command.dword(10) >> 16) | (command.dword(11) << 16);
        let len = dwords
            .checked_add(1)
            .and_then(|dwords| dwords.checked_mul(4));
        let len = len.ok_or(status::INVALID_FIELD)?;
        // LPO, in bytes.
        let offset = u64::from(command.dword(12)) | (u64::from(command.dword(13)) << 32);
        let is_ours = matches!(command.namespace, 0 | NAMESPACE | ALL_NAMESPACES);
        if offset % 4 != 0 || offset > page_len || !is_ours {
            return Err(status::INVALID_FIELD);
        }
        // LPA bit 0 is not set: there is no health information of a namespace.
        if page == log_page::HEALTH_INFORMATION && command.namespace == NAMESPACE {
            return Err(status::INVALID_FIELD);
        }
        let data = Data::from_prps(memory, command.prps, len)?;
        Answer::new(memory, &data, offset)
            .and_then(|answer| match page {
                log_page::ERROR_INFORMATION => self.errors.put(&answer),
                log_page::HEALTH_INFORMATION => {
                    log_page::health(&answer, &self.disk, &self.counters, &self.errors)
                }
                log_page::FIRMWARE_SLOTS => log_page::firmware_slots(&answer, &self.disk),
                log_page::CHANGED_NAMESPACES if self.events.is_listed() => {
                    answer.put(0, &NAMESPACE.to_le_bytes())
                }
                log_page::COMMAND_EFFECTS => log_page::command_effects(&answer, &self.disk),
                _ => Ok(()),
            })
            .map_err(transfer_error)?;
        if page == log_page::CHANGED_NAMESPACES && command.dword(10) & RETAIN_EVENT == 0 {
            self.events.clear_list();
        }
        Ok(())
    }

    /// Base 5.7, Doorbell Buffer Config.
    fn set_shadows(&mut self, memory: &impl SystemMemory, command: &Command) -> Result<(), Status> {
        let [doorbells, event_indexes] = command.prps;
        if doorbells % PAGE_LEN != 0 || event_indexes % PAGE_LEN != 0 {
            return Err(status::INVALID_FIELD);
        }
        // Both ends of each must be there.
        let last = u64::from(doorbell(self.queue_count(), false)) - 4;
        for at in [0, last] {
            for buffer in [doorbells, event_indexes] {
                memory
                    .read(buffer + at, &mut [0; 4])
                    .map_err(transfer_error)?;
            }
        }
        self.shadows = Some(Shadows {
            doorbells,
            event_indexes,
        });
        for pair in self.queues.iter_mut() {
            if let Some(queue) = &mut pair.submission {
                queue.doorbell.change_shadow();
            }
            if let Some(queue) = &mut pair.completion {
                queue.doorbell.change_shadow();
            }
        }
        Ok(())
    }

    /// Tells the driver of a change of the namespace, if it has asked for that.
    pub(super) fn tell_events(&mut self, memory: &impl SystemMemory) -> Result<(), Fatal> {
        if !self.features.has_namespace_notices() {
            return Ok(());
        }
        match self.events.take_notice() {
            Some(command) => self.post(memory, 0, command, status::SUCCESS, NAMESPACE_CHANGED),
            None => Ok(()),
        }
    }

    /// Tells the driver that the controller is gone.
    pub(super) fn tell_end(&mut self, memory: &impl SystemMemory) -> Result<(), Fatal> {
        match self.events.take() {
            Some(command) => self.post(memory, 0, command, status::SUCCESS, PERSISTENT_ERROR),
            None => Ok(()),
        }
    }
}

/// What a command asks for that creates a queue.
struct NewQueue {
    id: u16,
    entries: u16,
    base: u64,
}

fn transfer_error(_: OutOfReach) -> Status {
    status::DATA_TRANSFER_ERROR
}
