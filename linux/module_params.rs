// SPDX-License-Identifier: GPL-2.0

//! Parameters of the module.

use core::borrow::Borrow;

/// The value of a parameter, which the `kernel` crate hands out by reference up to Linux 7.2, and as it
/// is since 7.3.
pub(crate) fn number(value: impl Borrow<u64>) -> u64 {
    *value.borrow()
}
