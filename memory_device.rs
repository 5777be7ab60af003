// SPDX-License-Identifier: GPL-2.0

//! PCI functions made of memory, as stock drivers of a successor find them.
//!
//! Pure. Uses `firmware`, `image` and `memory`.

pub mod access;
pub mod bus;
pub mod config_space;
pub mod msix;
