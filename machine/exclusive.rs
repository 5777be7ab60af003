// SPDX-License-Identifier: GPL-2.0

//! Measures for how long starts of OSes hold locks that the starts of all OSes share.

use kernel::{
    sync::atomic::{Atomic, Relaxed},
    time::{Instant, Monotonic}, //
};

/// The total time for which such locks have been held, in nanoseconds.
static HELD: Atomic<i64> = Atomic::new(0);

/// Returns the total time, in nanoseconds, for which locks that the starts of all OSes share have
/// been held since the module was loaded.
pub(crate) fn total() -> i64 {
    HELD.load(Relaxed)
}

/// Starts a measurement, which ends when the result is dropped. Call this after taking such a lock,
/// and drop the result before releasing the lock.
pub(crate) fn hold() -> Held {
    Held(Instant::now())
}

/// A measurement under way.
pub(crate) struct Held(Instant<Monotonic>);

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_add(self.0.elapsed().as_nanos(), Relaxed);
    }
}
