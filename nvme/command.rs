// SPDX-License-Identifier: GPL-2.0

//! Submission queue entries, Base 4.2, and opcodes.

/// The length of a submission queue entry.
pub const COMMAND_LEN: usize = 64;

// Base 5, "Opcodes for Admin Commands".
/// Delete I/O Submission Queue.
pub const DELETE_SQ: u8 = 0x00;
/// Create I/O Submission Queue.
pub const CREATE_SQ: u8 = 0x01;
/// Get Log Page.
pub const GET_LOG_PAGE: u8 = 0x02;
/// Delete I/O Completion Queue.
pub const DELETE_CQ: u8 = 0x04;
/// Create I/O Completion Queue.
pub const CREATE_CQ: u8 = 0x05;
/// Identify.
pub const IDENTIFY: u8 = 0x06;
/// Abort.
pub const ABORT: u8 = 0x08;
/// Set Features.
pub const SET_FEATURES: u8 = 0x09;
/// Get Features.
pub const GET_FEATURES: u8 = 0x0a;
/// Asynchronous Event Request.
pub const ASYNC_EVENT_REQUEST: u8 = 0x0c;
/// Doorbell Buffer Config.
pub const DOORBELL_BUFFER_CONFIG: u8 = 0x7c;
/// The admin commands that the controller has.
pub const ADMIN: [u8; 11] = [
    DELETE_SQ,
    CREATE_SQ,
    GET_LOG_PAGE,
    DELETE_CQ,
    CREATE_CQ,
    IDENTIFY,
    ABORT,
    SET_FEATURES,
    GET_FEATURES,
    ASYNC_EVENT_REQUEST,
    DOORBELL_BUFFER_CONFIG,
];

// Base 6, "Opcodes for NVM Commands".
/// Flush.
pub const FLUSH: u8 = 0x00;
/// Write.
pub const WRITE: u8 = 0x01;
/// Read.
pub const READ: u8 = 0x02;
/// Write Zeroes.
pub const WRITE_ZEROES: u8 = 0x08;
/// Dataset Management.
pub const DATASET_MANAGEMENT: u8 = 0x09;

/// A command, copied from its submission queue once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// The opcode.
    pub opcode: u8,
    /// Fused operation (FUSE, bits 1:0), and PRPs or SGLs (PSDT, bits 7:6).
    pub flags: u8,
    /// The command identifier.
    pub id: u16,
    /// The namespace ID.
    pub namespace: u32,
    /// The metadata pointer.
    pub metadata: u64,
    /// The data pointer: two PRP entries.
    pub prps: [u64; 2],
    /// Command dwords 10 to 15.
    dwords: [u32; 6],
}

impl Command {
    /// Takes an entry apart.
    pub fn new(entry: &[u8; COMMAND_LEN]) -> Self {
        let dword = |index: usize| {
            let bytes = entry.get(index * 4..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
        };
        let qword = |index: usize| u64::from(dword(index)) | (u64::from(dword(index + 1)) << 32);
        let first = dword(0);
        Command {
            opcode: first as u8,
            flags: (first >> 8) as u8,
            id: (first >> 16) as u16,
            namespace: dword(1),
            metadata: qword(4),
            prps: [qword(6), qword(8)],
            dwords: [10, 11, 12, 13, 14, 15].map(dword),
        }
    }

    /// Returns command dword `index`, 10 to 15.
    pub fn dword(&self, index: usize) -> u32 {
        let at = index.wrapping_sub(10);
        self.dwords.get(at).copied().unwrap_or(0)
    }

    /// Returns command dwords 10 and 11 as one number: the starting LBA.
    pub fn lba(&self) -> u64 {
        u64::from(self.dword(10)) | (u64::from(self.dword(11)) << 32)
    }

    /// Returns whether the command is one that the controller can take: not fused, with PRPs, and
    /// without metadata, which the namespace does not have.
    pub fn is_plain(&self) -> bool {
        self.flags & 0xc3 == 0 && self.metadata == 0
    }
}
