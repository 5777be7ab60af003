// SPDX-License-Identifier: GPL-2.0

//! PCI functions made of memory, as stock drivers of a successor find them.
//!
//! Pure. Uses `firmware` and `memory`.

pub mod access;
