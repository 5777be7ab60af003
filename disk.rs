// SPDX-License-Identifier: GPL-2.0

//! The disks of an OS: files and block devices of the first OS behind NVMe controllers made of
//! memory. A thread of the first OS, the poller, looks at the controllers of all OSes.
//!
//! Uses `linux`, `machine`, `nvme` and `memory_device`. The
//! files for the kernel are marked.

pub mod identity;
pub mod pace;
pub mod statistics;
pub mod users;
pub mod wanted;

#[cfg(MODULE)]
mod busy;
#[cfg(MODULE)]
pub(crate) mod contents;
#[cfg(MODULE)]
mod device;
#[cfg(MODULE)]
pub(crate) mod holders;
#[cfg(MODULE)]
pub(crate) mod poller;
#[cfg(MODULE)]
pub(crate) mod served;
