// SPDX-License-Identifier: GPL-2.0

//! The disks of an OS: files and block devices of the first OS behind NVMe controllers made of
//! memory.
//!
//! Uses `linux`, `nvme`, `memory_device` and `polling`. The files for the kernel are marked.

pub mod identity;
pub mod statistics;
pub mod users;
pub mod wanted;

#[cfg(MODULE)]
mod busy;
#[cfg(MODULE)]
pub(crate) mod contents;
#[cfg(MODULE)]
pub(crate) mod device;
#[cfg(MODULE)]
pub(crate) mod holders;
