// SPDX-License-Identifier: GPL-2.0

//! The admin queue: commands (AQ), and their completions (ACQ). ena_admin_defs.h.

use crate::ena::fields::{put, u16_at, u8_at};
use crate::ena::registers::{self, AQ_DOORBELL};
use crate::ena::ring::{Completions, Fatal, Submission};
use crate::ena::status::{self, Status};
use crate::memory_device::access::{Registers, SystemMemory};

/// Length of struct ena_admin_aq_entry and struct ena_admin_acq_entry.
pub(super) const ENTRY_LEN: usize = 64;
/// ENA_ADMIN_AQ_COMMON_DESC_COMMAND_ID
const COMMAND_ID: u16 = 0xfff;

/// A command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command(pub [u8; ENTRY_LEN]);

impl Command {
    /// The command's identifier.
    fn id(&self) -> u16 {
        u16_at(&self.0, 0) & COMMAND_ID
    }

    /// The opcode.
    pub(super) fn opcode(&self) -> u8 {
        u8_at(&self.0, 2)
    }
}

/// The answer to a command that succeeded, with offsets as in struct ena_admin_acq_entry; zeros where
/// nothing was put.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer([u8; ENTRY_LEN]);

impl Answer {
    /// An answer of zeros.
    pub(super) const EMPTY: Self = Answer([0; ENTRY_LEN]);

    /// Sets the field at `at`.
    pub(super) fn put(&mut self, at: usize, field: &[u8]) {
        put(&mut self.0, at, field);
    }
}

/// The admin queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdminQueue {
    commands: Submission<ENTRY_LEN>,
    completions: Completions<ENTRY_LEN>,
}

impl AdminQueue {
    /// Reads where the queue lies.
    pub(super) fn new(registers: &impl Registers) -> Result<Self, Fatal> {
        let [commands, completions] = registers::admin_rings(registers);
        Ok(AdminQueue {
            commands: Submission::at(&commands, AQ_DOORBELL).ok_or(Fatal)?,
            completions: Completions::at(&completions).ok_or(Fatal)?,
        })
    }

    /// Takes the next command, if there is one.
    pub(super) fn take(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
    ) -> Result<Option<Command>, Fatal> {
        if self.commands.is_empty() {
            self.commands.look(registers, memory)?;
        }
        if self.commands.is_empty() {
            return Ok(None);
        }
        Ok(Some(Command(self.commands.take(memory)?)))
    }

    /// Completes a command.
    pub(super) fn complete(
        &mut self,
        memory: &impl SystemMemory,
        command: &Command,
        result: Result<Answer, Status>,
    ) -> Result<(), Fatal> {
        let (status, mut answer) = match result {
            Ok(answer) => (status::SUCCESS, answer),
            Err(status) => (status, Answer::EMPTY),
        };
        // struct ena_admin_acq_common_desc
        answer.put(0, &command.id().to_le_bytes());
        answer.put(2, &[status.0]);
        answer.put(6, &self.commands.head().to_le_bytes());
        self.completions.post(memory, answer.0)
    }
}
