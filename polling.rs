// SPDX-License-Identifier: GPL-2.0

//! Serves the devices made of memory of all running OSes: a thread of the first OS, the poller, looks at
//! them in turn.
//!
//! Uses `linux`, `machine`, `image` and `memory_device`. The files for the kernel are marked.

pub mod pace;

#[cfg(MODULE)]
pub(crate) mod function;
#[cfg(MODULE)]
pub(crate) mod memory;
#[cfg(MODULE)]
pub(crate) mod poller;
#[cfg(MODULE)]
pub(crate) mod served;
