// SPDX-License-Identifier: GPL-2.0

//! The delay before the automatic restart of an OS. It grows if the OS ends again and again, so
//! that restarts do not keep the first OS busy.

/// A run of at least this many milliseconds counts as good.
const GOOD_RUN: u64 = 60_000;
/// The first delay in milliseconds; each further one is twice as long.
const FIRST: u64 = 1_000;
/// The longest delay in milliseconds.
const LONGEST: u64 = 60_000;

/// The number of doublings after which the delay exceeds [`LONGEST`].
const MOST_DOUBLINGS: u32 = 6;

/// The history that determines the next delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    /// The number of consecutive short runs.
    short_runs: u32,
}

impl Backoff {
    /// Returns the delay in milliseconds before the next restart, after a run of `ran_for`
    /// milliseconds. The delay is 0 for the first restart after a good run.
    pub fn next(&mut self, ran_for: u64) -> u64 {
        if ran_for >= GOOD_RUN {
            self.short_runs = 0;
        }
        let doublings = self.short_runs.checked_sub(1);
        self.short_runs = self.short_runs.saturating_add(1);
        match doublings {
            None => 0,
            Some(doublings) => (FIRST << doublings.min(MOST_DOUBLINGS)).min(LONGEST),
        }
    }
}
