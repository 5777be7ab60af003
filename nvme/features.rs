// SPDX-License-Identifier: GPL-2.0

//! Features, Base 5.21.1: settings of the controller. None is kept over a reset.

use crate::nvme::events::NAMESPACE_NOTICES;
use crate::nvme::identify::WARNING_TEMPERATURE;
use crate::nvme::status::{self, Status};

// Base 5.21.1, "Feature Identifiers".
const ARBITRATION: u8 = 0x01;
const POWER_MANAGEMENT: u8 = 0x02;
const TEMPERATURE_THRESHOLD: u8 = 0x04;
const ERROR_RECOVERY: u8 = 0x05;
const VOLATILE_WRITE_CACHE: u8 = 0x06;
const NUMBER_OF_QUEUES: u8 = 0x07;
const INTERRUPT_COALESCING: u8 = 0x08;
const INTERRUPT_VECTOR_CONFIGURATION: u8 = 0x09;
const WRITE_ATOMICITY: u8 = 0x0a;
const ASYNC_EVENT_CONFIGURATION: u8 = 0x0b;

/// Base 5.21.1.11: SMART / Health Critical Warnings, which never come.
const CRITICAL_WARNINGS: u32 = 0xff;

/// The features' values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    arbitration: u32,
    /// Composite temperature, over and under.
    thresholds: [u16; 2],
    error_recovery: u32,
    write_cache: u32,
    coalescing: u32,
    atomicity: u32,
    async_events: u32,
}

/// What a controller has, as far as features depend on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// I/O queue pairs.
    pub io_queues: u16,
    /// Whether there is an I/O queue.
    pub has_io_queues: bool,
}

impl Features {
    /// The values after a reset.
    pub(super) const DEFAULT: Features = Features {
        arbitration: 0,
        thresholds: [WARNING_TEMPERATURE, 0],
        error_recovery: 0,
        write_cache: 1,
        coalescing: 0,
        atomicity: 0,
        async_events: 0,
    };

    /// Returns whether writes may be cached.
    pub(super) fn has_write_cache(&self) -> bool {
        self.write_cache != 0
    }

    /// Returns whether the driver wants to know of changes of the namespace.
    pub(super) fn has_namespace_notices(&self) -> bool {
        self.async_events & NAMESPACE_NOTICES != 0
    }

    /// Get Features, Base 5.13: returns dword 0 of the completion.
    pub(super) fn get(&self, dwords: [u32; 2], limits: Limits) -> Result<u32, Status> {
        let [dword10, dword11] = dwords;
        let feature = dword10 as u8;
        // Base 5.13, Select (SEL), bits 10:8. Nothing can be saved: what is saved is the default.
        let from = match (dword10 >> 8) & 7 {
            0 => self,
            1 | 2 => &Self::DEFAULT,
            3 => return capabilities(feature),
            _ => return Err(status::INVALID_FIELD),
        };
        Ok(match feature {
            ARBITRATION => from.arbitration,
            POWER_MANAGEMENT => 0,
            TEMPERATURE_THRESHOLD => {
                let threshold = from.thresholds.get(threshold(dword11)?);
                threshold.map_or(0, |&kelvins| kelvins.into())
            }
            ERROR_RECOVERY => from.error_recovery,
            VOLATILE_WRITE_CACHE => from.write_cache,
            NUMBER_OF_QUEUES => limits.queues(),
            INTERRUPT_COALESCING => from.coalescing,
            INTERRUPT_VECTOR_CONFIGURATION => limits.vector(dword11)?,
            WRITE_ATOMICITY => from.atomicity,
            ASYNC_EVENT_CONFIGURATION => from.async_events,
            _ => return Err(status::INVALID_FIELD),
        })
    }

    /// Set Features, Base 5.21: returns dword 0 of the completion.
    pub(super) fn set(&mut self, dwords: [u32; 2], limits: Limits) -> Result<u32, Status> {
        let [dword10, value] = dwords;
        let feature = dword10 as u8;
        capabilities(feature)?;
        // SV: save.
        if dword10 >> 31 != 0 {
            return Err(status::FEATURE_NOT_SAVEABLE);
        }
        let only = |bits: u32| {
            let is_valid = value & !bits == 0;
            is_valid.then_some(value).ok_or(status::INVALID_FIELD)
        };
        match feature {
            ARBITRATION => self.arbitration = value,
            // The only power state is 0; bits 7:5 are a hint of the workload.
            POWER_MANAGEMENT => {
                only(0xe0)?;
            }
            TEMPERATURE_THRESHOLD => {
                // TMPSEL 1111b, bits 19:16, is for all sensors.
                let of_all = (value >> 16) & 0xf == 0xf;
                let index = threshold(if of_all { value & !0xf_0000 } else { value })?;
                if let Some(threshold) = self.thresholds.get_mut(index) {
                    *threshold = value as u16;
                }
            }
            // DULBE, bit 16, is not there.
            ERROR_RECOVERY => self.error_recovery = only(0xffff)?,
            VOLATILE_WRITE_CACHE => self.write_cache = only(1)?,
            NUMBER_OF_QUEUES => return limits.set_queues(value),
            INTERRUPT_COALESCING => self.coalescing = only(0xffff)?,
            INTERRUPT_VECTOR_CONFIGURATION => {
                // CD, bit 16: interrupts are never coalesced, and that can't be changed.
                limits.vector(value)?;
                only(0xffff).map_err(|_| status::FEATURE_NOT_CHANGEABLE)?;
            }
            WRITE_ATOMICITY => self.atomicity = only(1)?,
            ASYNC_EVENT_CONFIGURATION => {
                self.async_events = only(CRITICAL_WARNINGS | NAMESPACE_NOTICES)?;
            }
            _ => return Err(status::INVALID_FIELD),
        }
        Ok(0)
    }
}

/// Base 5.13, "Supported Capabilities": bit 2 if the feature can be changed, bit 1 if it is the
/// namespace's.
fn capabilities(feature: u8) -> Result<u32, Status> {
    match feature {
        ERROR_RECOVERY => Ok(0b110),
        ARBITRATION..=ASYNC_EVENT_CONFIGURATION if feature != 0x03 => Ok(0b100),
        _ => Err(status::INVALID_FIELD),
    }
}

/// Temperature Threshold, Base 5.21.1.4: which one is meant by TMPSEL, bits 19:16, and THSEL,
/// 21:20. There is the composite temperature alone.
fn threshold(dword11: u32) -> Result<usize, Status> {
    match ((dword11 >> 16) & 0xf, (dword11 >> 20) & 3) {
        (0, 0) => Ok(0),
        (0, 1) => Ok(1),
        _ => Err(status::INVALID_FIELD),
    }
}

impl Limits {
    /// Number of Queues, Base 5.21.1.7, 0's based: completion queues in bits 31:16, submission
    /// queues in bits 15:0.
    fn queues(&self) -> u32 {
        u32::from(self.io_queues.saturating_sub(1)) * 0x1_0001
    }

    /// The driver gets all queues, however many it asks for.
    fn set_queues(&self, value: u32) -> Result<u32, Status> {
        if value & 0xffff == 0xffff || value >> 16 == 0xffff {
            return Err(status::INVALID_FIELD);
        }
        if self.has_io_queues {
            return Err(status::COMMAND_SEQUENCE_ERROR);
        }
        Ok(self.queues())
    }

    /// Interrupt Vector Configuration, Base 5.21.1.9: the vector, in bits 15:0.
    fn vector(&self, dword11: u32) -> Result<u32, Status> {
        let vector = dword11 & 0xffff;
        let is_there = vector <= self.io_queues.into();
        is_there.then_some(vector).ok_or(status::INVALID_FIELD)
    }
}
