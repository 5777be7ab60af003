// SPDX-License-Identifier: GPL-2.0

//! The kernel's workqueue for long-running work, which the `kernel` crate does not provide.

use kernel::{bindings, workqueue::Queue};

/// Returns the workqueue for the work items of OSes, which may run on any CPU.
pub(crate) fn unbound() -> &'static Queue {
    // SAFETY: `system_dfl_wq` is set up at boot and never destroyed.
    unsafe { Queue::from_raw(bindings::system_dfl_wq) }
}
