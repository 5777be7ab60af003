// SPDX-License-Identifier: GPL-2.0

//! What a disk was used for, in the order of `/proc/diskstats` (Documentation/admin-guide/iostats.rst
//! in the kernel's source).

use crate::nvme::storage::Operation;
use core::fmt;

/// The size of a sector in these statistics, as a power of two.
const SECTOR_SHIFT: u8 = 9;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// Finished requests of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kind {
    requests: u64,
    sectors: u64,
    /// The time from when each was begun until it was finished, in nanoseconds.
    time: u64,
}

/// The statistics of one disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    reads: Kind,
    writes: Kind,
    discards: Kind,
    flushes: Kind,
    errors: u64,
}

impl Statistics {
    /// Adds a request that took `time` nanoseconds. `is_good` tells whether it succeeded;
    /// `block_shift` is the size of the disk's blocks, as a power of two.
    pub fn add(&mut self, operation: &Operation, block_shift: u8, time: u64, is_good: bool) {
        let (kind, blocks) = match *operation {
            Operation::Read { blocks, .. } => (&mut self.reads, blocks),
            Operation::Write { blocks, .. } | Operation::WriteZeroes { blocks, .. } => {
                (&mut self.writes, blocks)
            }
            Operation::Deallocate { .. } => (&mut self.discards, 0),
            Operation::Flush => (&mut self.flushes, 0),
        };
        kind.time = kind.time.saturating_add(time);
        if !is_good {
            self.errors = self.errors.saturating_add(1);
            return;
        }
        let sectors = u64::from(blocks) << block_shift.saturating_sub(SECTOR_SHIFT).min(16);
        kind.requests = kind.requests.saturating_add(1);
        kind.sectors = kind.sectors.saturating_add(sectors);
    }

    /// Returns the text with `in_flight`, the number of requests that are not finished.
    pub fn with_in_flight(self, in_flight: usize) -> impl fmt::Display {
        Shown(self, in_flight)
    }
}

struct Shown(Statistics, usize);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(all, in_flight) = self;
        let kinds = [all.reads, all.writes, all.discards, all.flushes];
        let total: u64 = kinds
            .iter()
            .fold(0, |sum, kind| sum.saturating_add(kind.time));
        let milli = |time| time / NANOS_PER_MILLI;
        // None is merged.
        let kind = |f: &mut fmt::Formatter<'_>, kind: &Kind| {
            write!(
                f,
                "{} 0 {} {}",
                kind.requests,
                kind.sectors,
                milli(kind.time)
            )
        };
        kind(f, &all.reads)?;
        f.write_str(" ")?;
        kind(f, &all.writes)?;
        // The time with requests in flight is not known.
        write!(f, " {in_flight} 0 {} ", milli(total))?;
        kind(f, &all.discards)?;
        write!(f, " {} {}", all.flushes.requests, milli(all.flushes.time))?;
        write!(f, " {}", all.errors)
    }
}
