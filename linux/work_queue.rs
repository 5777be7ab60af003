// SPDX-License-Identifier: GPL-2.0

//! Workqueues, as far as the `kernel` crate does not provide them.

use core::ptr::NonNull;
use kernel::{bindings, prelude::*, workqueue::Queue};

/// Returns the workqueue for the work items of OSes, which may run on any CPU.
pub(crate) fn unbound() -> &'static Queue {
    // SAFETY: `system_dfl_wq` is set up at boot and never destroyed.
    unsafe { Queue::from_raw(bindings::system_dfl_wq) }
}

/// A workqueue of Mint's own, whose work items may wait for long without keeping others waiting. Dropping
/// this waits for all work items.
///
/// # Invariants
///
/// The pointer is the result of `alloc_workqueue()`.
pub(crate) struct OwnQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: A workqueue may be used by any thread.
unsafe impl Send for OwnQueue {}
// SAFETY: As above.
unsafe impl Sync for OwnQueue {}

impl OwnQueue {
    /// Makes a workqueue named `name`, of which up to `limit` work items run at a time, on any CPU.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(name: &'static CStr, limit: u16) -> Result<Self> {
        // SAFETY: The format takes one string.
        let queue = unsafe {
            bindings::alloc_workqueue_noprof(
                c"%s".as_char_ptr(),
                bindings::wq_flags_WQ_UNBOUND,
                limit.into(),
                name.as_char_ptr(),
            )
        };
        // INVARIANT: This is what `alloc_workqueue()` has returned.
        NonNull::new(queue).map(OwnQueue).ok_or(ENOMEM)
    }

    /// Returns the queue.
    pub(crate) fn queue(&self) -> &Queue {
        // SAFETY: By the type invariants this is a workqueue, which lives as long as `self`.
        unsafe { Queue::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for OwnQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this is a workqueue, which nobody uses any more.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}
