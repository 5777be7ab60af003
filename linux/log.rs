// SPDX-License-Identifier: GPL-2.0

//! The kernel's log, for what the pure code has to say.

use kernel::fmt;

/// Lets the kernel's print macros print what implements [`core::fmt::Display`].
pub(crate) struct Shown<T>(pub(crate) T);

impl<T: core::fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::fmt::Display::fmt(&self.0, f)
    }
}
