// SPDX-License-Identifier: GPL-2.0

//! How long to wait before an OS is restarted by itself, so that one that dies again and again
//! does not keep the first OS busy.

/// An OS that ran for so long, in milliseconds, was in order.
const GOOD_RUN: u64 = 60_000;
/// The first wait in milliseconds; each further one is twice as long.
const FIRST: u64 = 1_000;
/// The longest wait in milliseconds.
const LONGEST: u64 = 60_000;

/// As many as lead beyond [`LONGEST`].
const MOST_DOUBLINGS: u32 = 6;

/// What the past says about the next wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    /// How many short runs there were one after the other.
    short_runs: u32,
}

impl Backoff {
    /// The wait in milliseconds before the next restart, after a run of `ran_for` milliseconds.
    /// The first restart after a good run does not wait.
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
