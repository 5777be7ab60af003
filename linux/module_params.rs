// SPDX-License-Identifier: GPL-2.0

//! Module parameters.

use core::borrow::Borrow;

/// Returns the value of a parameter. The `kernel` crate returns a reference to it up to Linux 7.2,
/// and the value itself since 7.3.
pub(crate) fn number(value: impl Borrow<u64>) -> u64 {
    *value.borrow()
}
