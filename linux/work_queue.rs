// SPDX-License-Identifier: GPL-2.0

//! The kernel's work queue for what may take a while, for which the `kernel` crate has no function.

use kernel::{bindings, workqueue::Queue};

/// What the works of OSes run on: any CPU.
pub(crate) fn unbound() -> &'static Queue {
    // SAFETY: One of the kernel's own, there from boot on for good.
    unsafe { Queue::from_raw(bindings::system_dfl_wq) }
}
