// SPDX-License-Identifier: GPL-2.0

//! How commands end: the status field of a completion queue entry, Base 4.6.1.

/// A status: the status code in bits 7:0, the status code type in bits 10:8, and "Do Not Retry" in
/// bit 14. This is the status field without its phase tag, as in Linux (`enum` of `NVME_SC_*`,
/// include/linux/nvme.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(u16);

/// Base 4.6.1, Do Not Retry (DNR). The same command would fail again.
const DNR: u16 = 1 << 14;

// Base 4.6.1.2.1, "Generic Command Status Definition": status code type 0h.
/// Successful Completion.
pub const SUCCESS: Status = Status(0x000);
/// Invalid Command Opcode.
pub const INVALID_OPCODE: Status = Status(0x001 | DNR);
/// Invalid Field in Command.
pub const INVALID_FIELD: Status = Status(0x002 | DNR);
/// Data Transfer Error.
pub const DATA_TRANSFER_ERROR: Status = Status(0x004 | DNR);
/// Internal Error. The driver may try again.
pub const INTERNAL_ERROR: Status = Status(0x006);
/// Invalid Namespace or Format.
pub const INVALID_NAMESPACE: Status = Status(0x00b | DNR);
/// Command Sequence Error.
pub const COMMAND_SEQUENCE_ERROR: Status = Status(0x00c | DNR);
/// PRP Offset Invalid.
pub const PRP_OFFSET_INVALID: Status = Status(0x013 | DNR);
/// Namespace is Write Protected.
pub const WRITE_PROTECTED: Status = Status(0x020 | DNR);
/// Of the NVM command set: LBA Out of Range.
pub const LBA_OUT_OF_RANGE: Status = Status(0x080 | DNR);
/// Of the NVM command set: Capacity Exceeded.
pub const CAPACITY_EXCEEDED: Status = Status(0x081 | DNR);

// Base 4.6.1.2.2, "Command Specific Status Definition": status code type 1h.
/// Completion Queue Invalid.
pub const COMPLETION_QUEUE_INVALID: Status = Status(0x100 | DNR);
/// Invalid Queue Identifier.
pub const INVALID_QUEUE_ID: Status = Status(0x101 | DNR);
/// Invalid Queue Size.
pub const INVALID_QUEUE_SIZE: Status = Status(0x102 | DNR);
/// Asynchronous Event Request Limit Exceeded.
pub const EVENT_LIMIT_EXCEEDED: Status = Status(0x105 | DNR);
/// Invalid Interrupt Vector.
pub const INVALID_VECTOR: Status = Status(0x108 | DNR);
/// Invalid Log Page.
pub const INVALID_LOG_PAGE: Status = Status(0x109 | DNR);
/// Invalid Queue Deletion.
pub const INVALID_QUEUE_DELETION: Status = Status(0x10c | DNR);
/// Feature Identifier Not Saveable.
pub const FEATURE_NOT_SAVEABLE: Status = Status(0x10d | DNR);
/// Feature Not Changeable.
pub const FEATURE_NOT_CHANGEABLE: Status = Status(0x10e | DNR);

// Base 4.6.1.2.3, "Media and Data Integrity Errors Definition": status code type 2h.
/// Write Fault.
pub const WRITE_FAULT: Status = Status(0x280 | DNR);
/// Unrecovered Read Error.
pub const UNRECOVERED_READ_ERROR: Status = Status(0x281 | DNR);

impl Status {
    /// Returns the status field with the phase tag in bit 0, as a completion queue entry has it.
    pub fn with_phase(self, phase: bool) -> u16 {
        (self.0 << 1) | u16::from(phase)
    }
}

/// What the storage has to say about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is done.
    Success,
    /// The request's memory is not the successor's ([`crate::memory_device::access::OutOfReach`]).
    OutOfReach,
    /// The range list of [`crate::nvme::storage::Operation::Deallocate`] leaves the disk.
    LbaOutOfRange,
    /// The file has no room to grow (ENOSPC, EDQUOT, EFBIG).
    NoSpace,
    /// The file can't be written (EROFS, EPERM).
    ReadOnly,
    /// The storage can't do this (EOPNOTSUPP).
    NotSupported,
    /// The first OS lacks something for now (ENOMEM, EAGAIN). The driver tries again.
    Busy,
    /// The medium failed (EIO), or anything else.
    Failed,
}
