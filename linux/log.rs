// SPDX-License-Identifier: GPL-2.0

//! Printing of values from the pure code to the kernel's log.

use kernel::fmt;

/// Lets the kernel's print macros print a type that implements [`core::fmt::Display`].
pub(crate) struct Shown<T>(pub(crate) T);

impl<T: core::fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::fmt::Display::fmt(&self.0, f)
    }
}
