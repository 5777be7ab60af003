// SPDX-License-Identifier: GPL-2.0

//! Ranges of physical memory, and the kernel command line that reserves them. Pure; uses no other
//! folder.

pub mod kernel_params;
pub mod memmap;
