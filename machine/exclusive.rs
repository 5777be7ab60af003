// SPDX-License-Identifier: GPL-2.0

//! For how long the starts of all OSes keep each other waiting.

use kernel::{
    sync::atomic::{Atomic, Relaxed},
    time::{Instant, Monotonic}, //
};

/// For how long locks that the starts of all OSes share have been held, in nanoseconds.
static HELD: Atomic<i64> = Atomic::new(0);

/// For how long locks that the starts of all OSes share have been held since the module was loaded,
/// in nanoseconds.
pub(crate) fn total() -> i64 {
    HELD.load(Relaxed)
}

/// Counts until the result is dropped. Call this once such a lock is taken, and drop the result
/// before the lock is released.
pub(crate) fn hold() -> Held {
    Held(Instant::now())
}

/// Counts while it lives.
pub(crate) struct Held(Instant<Monotonic>);

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_add(self.0.elapsed().as_nanos(), Relaxed);
    }
}
