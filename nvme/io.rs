// SPDX-License-Identifier: GPL-2.0

//! I/O commands: the NVM command set, Base 6.

use core::ops::DerefMut;

use crate::memory_device::access::SystemMemory;
use crate::nvme::command::{self, Command};
use crate::nvme::controller::{Controller, Fatal};
use crate::nvme::dataset;
use crate::nvme::disk::{ALL_NAMESPACES, NAMESPACE};
use crate::nvme::prp::Data;
use crate::nvme::queue::QueuePair;
use crate::nvme::status::{self, Status};
use crate::nvme::storage::{Operation, Request, Storage, Token};

// Base 6.9 (Read), 6.15 (Write) and 6.17 (Write Zeroes): bits of command dword 12.
/// Deallocate (DEAC), of Write Zeroes.
const DEALLOCATE: u32 = 1 << 25;
/// Force Unit Access.
const FUA: u32 = 1 << 30;
/// Directive Type (DTYPE), of Write: there are no directives.
const DIRECTIVE_TYPE: u32 = 0xf << 20;
/// Base 6.7: Attribute - Deallocate (AD) in command dword 11.
const ATTRIBUTE_DEALLOCATE: u32 = 1 << 2;

impl<Q: DerefMut<Target = [QueuePair]>> Controller<Q> {
    /// Does an I/O command: it goes to the storage, or is completed at once.
    pub(super) fn execute_io(
        &mut self,
        memory: &impl SystemMemory,
        storage: &mut impl Storage,
        queue: u16,
        command: &Command,
    ) -> Result<(), Fatal> {
        let (operation, data) = match self.request(memory, command) {
            Ok(Some(request)) => request,
            Ok(None) => return self.post(memory, queue, command.id, status::SUCCESS, 0),
            Err(status) => return self.post(memory, queue, command.id, status, 0),
        };
        if let Some(submission) = self.submission(queue) {
            submission.outstanding += 1;
        }
        self.submit(storage, Some(queue), command.id, operation, data);
        Ok(())
    }

    /// Passes a request to the storage.
    pub(super) fn submit(
        &mut self,
        storage: &mut impl Storage,
        queue: Option<u16>,
        command: u16,
        operation: Operation,
        data: Data,
    ) {
        self.outstanding = self.outstanding.saturating_add(1);
        let token = Token {
            queue,
            command,
            epoch: self.epoch,
            operation,
        };
        storage.submit(Request {
            token,
            operation,
            data,
        });
    }

    /// Returns what a command asks of the storage, or [`None`] if there is nothing to do.
    fn request(
        &self,
        memory: &impl SystemMemory,
        command: &Command,
    ) -> Result<Option<(Operation, Data)>, Status> {
        let is_known = match command.opcode {
            command::FLUSH | command::WRITE | command::READ | command::WRITE_ZEROES => true,
            command::DATASET_MANAGEMENT => self.disk.takes_discards(),
            _ => false,
        };
        if !is_known {
            return Err(status::INVALID_OPCODE);
        }
        if !command.is_plain() {
            return Err(status::INVALID_FIELD);
        }
        let is_for_all = command.opcode == command::FLUSH && command.namespace == ALL_NAMESPACES;
        if command.namespace != NAMESPACE && !is_for_all {
            return Err(status::INVALID_NAMESPACE);
        }
        match command.opcode {
            command::FLUSH if self.disk.read_only => Ok(None),
            command::FLUSH => Ok(Some((Operation::Flush, Data::EMPTY))),
            command::READ => self.read(memory, command).map(Some),
            _ if self.disk.read_only => Err(status::WRITE_PROTECTED),
            command::WRITE => self.write(memory, command).map(Some),
            command::WRITE_ZEROES => self.write_zeroes(command).map(Some),
            _ => self.deallocate(memory, command),
        }
    }

    /// Base 6.9, Read.
    fn read(
        &self,
        memory: &impl SystemMemory,
        command: &Command,
    ) -> Result<(Operation, Data), Status> {
        let (lba, blocks) = self.range(command)?;
        let fua = command.dword(12) & FUA != 0;
        let data = self.data(memory, command, blocks)?;
        Ok((Operation::Read { lba, blocks, fua }, data))
    }

    /// Base 6.15, Write.
    fn write(
        &self,
        memory: &impl SystemMemory,
        command: &Command,
    ) -> Result<(Operation, Data), Status> {
        if command.dword(12) & DIRECTIVE_TYPE != 0 {
            return Err(status::INVALID_FIELD);
        }
        let (lba, blocks) = self.range(command)?;
        let fua = self.is_uncached(command);
        let data = self.data(memory, command, blocks)?;
        Ok((Operation::Write { lba, blocks, fua }, data))
    }

    /// Base 6.17, Write Zeroes. MDTS is not a limit of it: no data is moved.
    fn write_zeroes(&self, command: &Command) -> Result<(Operation, Data), Status> {
        let (lba, blocks) = self.range(command)?;
        let operation = Operation::WriteZeroes {
            lba,
            blocks,
            deallocate: command.dword(12) & DEALLOCATE != 0 && self.disk.can_discard,
            fua: self.is_uncached(command),
        };
        Ok((operation, Data::EMPTY))
    }

    /// Base 6.7, Dataset Management. All attributes but Deallocate are hints.
    fn deallocate(
        &self,
        memory: &impl SystemMemory,
        command: &Command,
    ) -> Result<Option<(Operation, Data)>, Status> {
        if command.dword(11) & ATTRIBUTE_DEALLOCATE == 0 {
            return Ok(None);
        }
        let ranges = (command.dword(10) & 0xff) as u16 + 1;
        let len = u32::from(ranges) * dataset::ENTRY_LEN as u32;
        let operation = Operation::Deallocate {
            ranges,
            disk_blocks: self.disk.blocks,
        };
        let data = Data::from_prps(memory, command.prps, len)?;
        Ok(Some((operation, data)))
    }

    /// Returns first block and number of blocks (0's based in bits 15:0 of dword 12) of a command.
    fn range(&self, command: &Command) -> Result<(u64, u32), Status> {
        let lba = command.lba();
        let blocks = (command.dword(12) & 0xffff) + 1;
        let is_on_disk = self.disk.has(lba, blocks.into());
        is_on_disk
            .then_some((lba, blocks))
            .ok_or(status::LBA_OUT_OF_RANGE)
    }

    /// Returns the data of a command that moves `blocks` blocks.
    fn data(
        &self,
        memory: &impl SystemMemory,
        command: &Command,
        blocks: u32,
    ) -> Result<Data, Status> {
        let len = blocks.checked_mul(self.disk.block_len());
        Data::from_prps(memory, command.prps, len.ok_or(status::INVALID_FIELD)?)
    }

    /// Returns whether what a command writes must be on the medium before it is done.
    fn is_uncached(&self, command: &Command) -> bool {
        command.dword(12) & FUA != 0 || !self.features.has_write_cache()
    }
}
