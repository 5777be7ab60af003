// SPDX-License-Identifier: GPL-2.0

//! Ranges of physical memory, and the command line that reserves them. Pure; uses nothing else.

pub mod kernel_params;
pub mod memmap;
