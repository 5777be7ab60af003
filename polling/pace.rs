// SPDX-License-Identifier: GPL-2.0

//! How often the poller looks. Looking costs next to nothing, but each sleep costs some microseconds
//! for going to sleep and waking up.

/// How long no work must have come, and how long the poller then sleeps between two looks; both in
/// nanoseconds.
const STEPS: [(u64, u64); 5] = [
    (0, 0),
    (20_000, 50_000),
    (10_000_000, 1_000_000),
    (1_000_000_000, 10_000_000),
    (10_000_000_000, 50_000_000),
];

/// How long controllers that have not told where their doorbells are in ordinary memory go without a
/// look at their registers, in nanoseconds. Registers are uncached: each costs as much as a miss.
const THOROUGH: u64 = 10_000_000;
/// The same while they were being written to a moment ago.
const THOROUGH_IF_BUSY: u64 = 500_000;
/// How long that moment is.
const BUSY: u64 = 200_000_000;

/// How long the poller goes on without a sleep, and how long that sleep is. Only a sleep tells RCU Tasks
/// that the thread has left a function (`rcu_tasks_is_holdout()`, kernel/rcu/tasks.h in Linux).
const AWAKE: u64 = 100_000_000;
const NAP: u64 = 1_000;

/// When the next look is due. All times are of one clock, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    worked: u64,
    thorough: u64,
    slept: u64,
}

impl Pace {
    /// Returns whether the registers are due for a look at `now`, and takes it that they get it.
    pub fn is_thorough(&mut self, now: u64) -> bool {
        let interval = match now.saturating_sub(self.worked) {
            ..BUSY => THOROUGH_IF_BUSY,
            _ => THOROUGH,
        };
        let is_due = now.saturating_sub(self.thorough) >= interval;
        if is_due {
            self.thorough = now;
        }
        is_due
    }

    /// Returns how long to sleep after a look that ended at `now`. `has_worked` tells whether it found
    /// something to do.
    pub fn sleep(&mut self, now: u64, has_worked: bool) -> u64 {
        if has_worked {
            self.worked = now;
        }
        let idle = now.saturating_sub(self.worked);
        let step = STEPS.iter().rev().find(|(after, _)| idle >= *after);
        let sleep = match step.map_or(0, |(_, sleep)| *sleep) {
            0 if now.saturating_sub(self.slept) >= AWAKE => NAP,
            sleep => sleep,
        };
        if sleep > 0 {
            self.slept = now;
        }
        sleep
    }
}
