// SPDX-License-Identifier: GPL-2.0

//! Get Log Page, Base 5.14.1.

use crate::memory_device::access::{OutOfReach, SystemMemory};
use crate::nvme::answer::Answer;
use crate::nvme::command;
use crate::nvme::counters::{Count, Counters};
use crate::nvme::disk::{Disk, NAMESPACE};
use crate::nvme::status::Status;

// Base 5.14.1: log page identifiers.
/// Error Information.
pub const ERROR_INFORMATION: u8 = 0x01;
/// SMART / Health Information.
pub const HEALTH_INFORMATION: u8 = 0x02;
/// Firmware Slot Information.
pub const FIRMWARE_SLOTS: u8 = 0x03;
/// Changed Namespace List.
pub const CHANGED_NAMESPACES: u8 = 0x04;
/// Commands Supported and Effects.
pub const COMMAND_EFFECTS: u8 = 0x05;

/// The number of entries in the error log.
pub const ERROR_ENTRIES: usize = 4;
const ERROR_ENTRY_LEN: u64 = 64;

/// Returns the length of a log page that the controller has.
pub(super) fn len(page: u8) -> Option<u64> {
    match page {
        ERROR_INFORMATION => Some(ERROR_ENTRIES as u64 * ERROR_ENTRY_LEN),
        HEALTH_INFORMATION | FIRMWARE_SLOTS => Some(512),
        CHANGED_NAMESPACES | COMMAND_EFFECTS => Some(4096),
        _ => None,
    }
}

/// Base 5.14.1.2: the composite temperature in Kelvins. The disk has no sensor.
const TEMPERATURE: u16 = 298;
/// Base 5.14.1.2: Data Units are thousands of 512 bytes.
const DATA_UNIT_SHIFT: u32 = 9;
const DATA_UNIT: u64 = 1000;

/// Base 5.14.1.5: Command Supported (CSUPP).
const SUPPORTED: u32 = 1;
/// The same: Logical Block Content Change (LBCC).
const CHANGES_BLOCKS: u32 = 1 << 1;

/// A request that the storage failed, as Base 5.14.1.1 has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorEntry {
    /// The submission queue.
    pub queue: u16,
    /// The command.
    pub command: u16,
    /// How it ended.
    pub status: Status,
    /// The first block.
    pub lba: u64,
}

/// The errors seen last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ErrorLog {
    /// The latest first.
    entries: [Option<ErrorEntry>; ERROR_ENTRIES],
    count: u64,
}

impl ErrorLog {
    /// Adds an error.
    pub(super) fn add(&mut self, entry: ErrorEntry) {
        self.entries.rotate_right(1);
        if let Some(first) = self.entries.first_mut() {
            *first = Some(entry);
        }
        self.count = self.count.saturating_add(1);
    }

    /// Base 5.14.1.1, Error Information.
    pub(super) fn put(&self, answer: &Answer<'_, impl SystemMemory>) -> Result<(), OutOfReach> {
        for (index, entry) in self.entries.iter().enumerate() {
            let Some(entry) = entry else { break };
            let at = index as u64 * ERROR_ENTRY_LEN;
            let number = self.count.saturating_sub(index as u64);
            answer.put(at, &number.to_le_bytes())?;
            answer.put(at + 8, &entry.queue.to_le_bytes())?;
            answer.put(at + 10, &entry.command.to_le_bytes())?;
            let status = entry.status.with_phase(false);
            answer.put(at + 12, &status.to_le_bytes())?;
            // The error is not one of a field of the command.
            answer.put(at + 14, &[0xff; 2])?;
            answer.put(at + 16, &entry.lba.to_le_bytes())?;
            answer.put(at + 24, &NAMESPACE.to_le_bytes())?;
        }
        Ok(())
    }
}

/// Base 5.14.1.2, SMART / Health Information.
pub(super) fn health(
    answer: &Answer<'_, impl SystemMemory>,
    disk: &Disk,
    counters: &Counters,
    errors: &ErrorLog,
) -> Result<(), OutOfReach> {
    let sectors_per_block = u64::from(disk.block_len() >> DATA_UNIT_SHIFT);
    let units = |count: Count| {
        let sectors = count.blocks.saturating_mul(sectors_per_block);
        sectors.div_ceil(DATA_UNIT)
    };
    answer.put(1, &TEMPERATURE.to_le_bytes())?;
    // Available spare, and its threshold.
    answer.put(3, &[100, 10])?;
    for (at, value) in [
        (32, units(counters.reads)),
        (48, units(counters.writes)),
        (64, counters.reads.commands),
        (80, counters.writes.commands),
        (112, counters.power_cycles),
        (144, counters.unsafe_shutdowns),
        (160, counters.errors),
        (176, errors.count),
    ] {
        // Each has 16 bytes.
        answer.put(at, &value.to_le_bytes())?;
    }
    Ok(())
}

/// Base 5.14.1.3, Firmware Slot Information: slot 1 is active.
pub(super) fn firmware_slots(
    answer: &Answer<'_, impl SystemMemory>,
    disk: &Disk,
) -> Result<(), OutOfReach> {
    answer.put(0, &[1])?;
    answer.put(8, &disk.firmware)
}

/// Base 5.14.1.5, Commands Supported and Effects: admin commands, then I/O commands.
pub(super) fn command_effects(
    answer: &Answer<'_, impl SystemMemory>,
    disk: &Disk,
) -> Result<(), OutOfReach> {
    let admin = |opcode: u8| u64::from(opcode) * 4;
    let io = |opcode: u8| 1024 + u64::from(opcode) * 4;
    let supported = SUPPORTED.to_le_bytes();
    for opcode in command::ADMIN {
        answer.put(admin(opcode), &supported)?;
    }
    answer.put(io(command::READ), &supported)?;
    answer.put(io(command::FLUSH), &supported)?;
    let writes = (SUPPORTED | CHANGES_BLOCKS).to_le_bytes();
    answer.put(io(command::WRITE), &writes)?;
    answer.put(io(command::WRITE_ZEROES), &writes)?;
    if disk.takes_discards() {
        answer.put(io(command::DATASET_MANAGEMENT), &writes)?;
    }
    Ok(())
}
