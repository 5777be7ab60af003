// SPDX-License-Identifier: GPL-2.0

//! Requests to the storage behind a controller.

use crate::nvme::prp::Data;
use crate::nvme::status::{self, Outcome, Status};

/// What stores the blocks of a disk.
pub trait Storage {
    /// Returns whether it takes a further request.
    fn has_room(&self) -> bool;

    /// Takes a request. The token must come back through
    /// [`crate::nvme::controller::Controller::complete`], whatever happens to the request.
    fn submit(&mut self, request: Request);
}

/// A request to the storage.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The command that it belongs to.
    pub token: Token,
    /// What is to be done.
    pub operation: Operation,
    /// The successor's memory that is read or written. Empty where no data is moved.
    pub data: Data,
}

/// What the storage is to do. Ranges are on the disk, and no longer than the data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Copy blocks to the data.
    Read {
        /// The first block.
        lba: u64,
        /// The number of blocks.
        blocks: u32,
        /// What is cached of these blocks must be on the medium before.
        fua: bool,
    },
    /// Copy the data to blocks.
    Write {
        /// The first block.
        lba: u64,
        /// The number of blocks.
        blocks: u32,
        /// The blocks must be on the medium before the request is done (force unit access).
        fua: bool,
    },
    /// Put on the medium all that was written before.
    Flush,
    /// Fill blocks with zeros.
    WriteZeroes {
        /// The first block.
        lba: u64,
        /// The number of blocks.
        blocks: u32,
        /// The storage may free the blocks, if they read as zeros then.
        deallocate: bool,
        /// As for writes.
        fua: bool,
    },
    /// Free the blocks of the range list that the data is; see [`crate::nvme::dataset::ranges`].
    Deallocate {
        /// The number of ranges.
        ranges: u16,
        /// The number of blocks of the disk.
        disk_blocks: u64,
    },
}

/// Stands for a command at the storage. There is one of each: it can't be copied.
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    /// The submission queue, or [`None`] for the flush of a shutdown.
    pub(super) queue: Option<u16>,
    /// The command identifier.
    pub(super) command: u16,
    /// Which reset of the controller the command came after.
    pub(super) epoch: u32,
    /// What was asked for.
    pub(super) operation: Operation,
}

impl Operation {
    /// The first block, for the error log.
    pub(super) fn lba(&self) -> u64 {
        match *self {
            Operation::Read { lba, .. }
            | Operation::Write { lba, .. }
            | Operation::WriteZeroes { lba, .. } => lba,
            Operation::Flush | Operation::Deallocate { .. } => 0,
        }
    }

    /// How a command ends whose request ended with `outcome`.
    pub(super) fn status(&self, outcome: Outcome) -> Status {
        match outcome {
            Outcome::Success => status::SUCCESS,
            Outcome::OutOfReach => status::DATA_TRANSFER_ERROR,
            Outcome::LbaOutOfRange => status::LBA_OUT_OF_RANGE,
            Outcome::NoSpace => status::CAPACITY_EXCEEDED,
            Outcome::ReadOnly => status::WRITE_PROTECTED,
            Outcome::NotSupported => status::INVALID_OPCODE,
            Outcome::Busy => status::INTERNAL_ERROR,
            Outcome::Failed => match self {
                Operation::Read { .. } => status::UNRECOVERED_READ_ERROR,
                _ => status::WRITE_FAULT,
            },
        }
    }
}
