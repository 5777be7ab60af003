// SPDX-License-Identifier: GPL-2.0

//! The controller's registers, Base 3.1, and where they lie in BAR 0.
//!
//! The BAR also has the MSI-X table and its pending bits, which are not the controller's.

use crate::memory_device::access::Registers;

/// The highest number of I/O queue pairs.
pub const MAX_IO_QUEUES: u16 = 64;

/// Length of BAR 0.
pub const BAR_LEN: u32 = 0x4000;
/// Offset of the doorbells, Base 3.1.24 and 3.1.25.
pub const DOORBELLS: u32 = 0x1000;
/// Offset of the MSI-X table.
pub const MSIX_TABLE: u32 = 0x2000;
/// Offset of the MSI-X table's pending bits (PBA).
pub const MSIX_PENDING: u32 = 0x3000;

/// Returns the number of interrupt vectors of a controller with `io_queues` I/O queue pairs: one
/// for each, and vector 0 for the admin queues.
pub const fn vectors(io_queues: u16) -> u16 {
    io_queues + 1
}

// Base 3.1, "Register Definition". The upper half of a 64-bit register lies 4 bytes behind the
// lower.
const CAP: u32 = 0x00;
const VS: u32 = 0x08;
const CC: u32 = 0x14;
const CSTS: u32 = 0x1c;
const AQA: u32 = 0x24;
const ASQ: u32 = 0x28;
const ACQ: u32 = 0x30;

// Base 3.1.1, "CAP - Controller Capabilities".
/// CAP.MQES, 0's based: a queue has 1024 entries at most.
pub const MAX_ENTRIES: u16 = 1024;
/// CAP.CQR: queues must be physically contiguous.
const CAP_CQR: u64 = 1 << 16;
/// CAP.TO in units of 500 ms, 60 s: for how long a driver waits for CSTS.RDY. Requests at storage
/// may take this long.
const CAP_TO: u64 = 120 << 24;
/// CAP.CSS: the NVM command set.
const CAP_CSS_NVM: u64 = 1 << 37;
// CAP.DSTRD is 0: a doorbell every 4 bytes. CAP.MPSMIN and CAP.MPSMAX are 0: pages have 4 KiB.
const CAP_VALUE: u64 = (MAX_ENTRIES as u64 - 1) | CAP_CQR | CAP_TO | CAP_CSS_NVM;

/// Base 3.1.2, "VS - Version": 1.4.0.
pub const VERSION: u32 = 0x0001_0400;

/// The size of a page, CC.MPS.
pub const PAGE_LEN: u64 = 4096;

/// The register Controller Configuration, Base 3.1.5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Configuration(u32);

impl Configuration {
    /// Returns whether CC.EN is set.
    pub fn is_enabled(self) -> bool {
        self.0 & 1 != 0
    }

    /// Returns whether CC.SHN, bits 15:14, asks for a shutdown, normal or abrupt.
    pub fn asks_for_shutdown(self) -> bool {
        matches!((self.0 >> 14) & 3, 1 | 2)
    }

    /// Returns whether command set (CC.CSS, bits 6:4), page size (CC.MPS, 10:7) and arbitration
    /// (CC.AMS, 13:11) are those that the controller has: all of them 0.
    pub fn is_supported(self) -> bool {
        self.0 & 0x3ff0 == 0
    }

    /// Returns whether CC.IOSQES, bits 19:16, says 64 bytes.
    pub fn has_submission_entry_size(self) -> bool {
        (self.0 >> 16) & 0xf == 6
    }

    /// Returns whether CC.IOCQES, bits 23:20, says 16 bytes.
    pub fn has_completion_entry_size(self) -> bool {
        (self.0 >> 20) & 0xf == 4
    }
}

/// The register Controller Status, Base 3.1.6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControllerStatus {
    /// CSTS.RDY: commands are taken.
    pub ready: bool,
    /// CSTS.CFS: Controller Fatal Status.
    pub fatal: bool,
    /// CSTS.SHST.
    pub shutdown: Shutdown,
}

/// CSTS.SHST, Shutdown Status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shutdown {
    /// None was asked for.
    #[default]
    Normal,
    /// Commands are waited for, and the storage is flushed.
    UnderWay,
    /// All is on the storage.
    Complete,
}

impl ControllerStatus {
    /// Returns the register's value.
    fn value(self) -> u32 {
        let shutdown = match self.shutdown {
            Shutdown::Normal => 0,
            Shutdown::UnderWay => 1,
            Shutdown::Complete => 2,
        };
        u32::from(self.ready) | (u32::from(self.fatal) << 1) | (shutdown << 2)
    }
}

/// Where the admin queues lie: AQA, ASQ and ACQ, Base 3.1.8 to 3.1.10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminQueues {
    /// The address of the submission queue.
    pub submission: u64,
    /// Its entries.
    pub submission_entries: u16,
    /// The address of the completion queue.
    pub completion: u64,
    /// Its entries.
    pub completion_entries: u16,
}

/// Reads CC.
pub fn configuration(registers: &impl Registers) -> Configuration {
    Configuration(registers.read(CC))
}

/// Sets CSTS.
pub fn set_status(registers: &impl Registers, status: ControllerStatus) {
    registers.write(CSTS, status.value());
}

/// Reads AQA, ASQ and ACQ. Returns [`None`] for what Base 3.1.8 to 3.1.10 do not allow: queues of
/// one entry, or not at the start of a page.
pub fn admin_queues(registers: &impl Registers) -> Option<AdminQueues> {
    let address = |at| u64::from(registers.read(at)) | (u64::from(registers.read(at + 4)) << 32);
    let aqa = registers.read(AQA);
    // Bits 11:0 and 27:16, 0's based.
    let entries = |field: u32| (field & 0xfff) as u16 + 1;
    let queues = AdminQueues {
        submission: address(ASQ),
        submission_entries: entries(aqa),
        completion: address(ACQ),
        completion_entries: entries(aqa >> 16),
    };
    let can_be = queues.submission_entries >= 2
        && queues.completion_entries >= 2
        && queues.submission % PAGE_LEN == 0
        && queues.completion % PAGE_LEN == 0;
    can_be.then_some(queues)
}

/// The doorbell of queue `queue`, Base 3.1.24 and 3.1.25: the offset behind [`DOORBELLS`], and in a
/// shadow doorbell buffer (Base 5.7).
pub fn doorbell(queue: u16, completion: bool) -> u32 {
    u32::from(queue) * 8 + u32::from(completion) * 4
}

/// Reads a doorbell.
pub fn read_doorbell(registers: &impl Registers, doorbell: u32) -> u32 {
    registers.read(DOORBELLS + doorbell)
}

/// Sets a doorbell.
pub fn write_doorbell(registers: &impl Registers, doorbell: u32, value: u32) {
    registers.write(DOORBELLS + doorbell, value);
}

/// Sets all registers but the doorbells as after power-on.
pub fn power_on(registers: &impl Registers) {
    fill(registers, 0..DOORBELLS, 0);
    registers.write(CAP, CAP_VALUE as u32);
    registers.write(CAP + 4, (CAP_VALUE >> 32) as u32);
    registers.write(VS, VERSION);
}

/// Clears the doorbells of `queues` queue pairs.
pub fn clear_doorbells(registers: &impl Registers, queues: u16) {
    fill(registers, DOORBELLS..DOORBELLS + doorbell(queues, false), 0);
}

/// Sets all registers and doorbells to all ones, as a function reads that is not there.
pub fn vanish(registers: &impl Registers) {
    fill(registers, 0..MSIX_TABLE, u32::MAX);
}

fn fill(registers: &impl Registers, range: core::ops::Range<u32>, value: u32) {
    for offset in range.step_by(4) {
        registers.write(offset, value);
    }
}
