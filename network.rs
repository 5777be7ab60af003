// SPDX-License-Identifier: GPL-2.0

//! The network card of an OS: an ENA card made of memory, whose wire ends at a TAP interface of the first
//! OS.
//!
//! Uses `linux`, `ena`, `memory_device` and `polling`. The files for the kernel are marked.

pub mod mac;
pub mod wanted;

#[cfg(MODULE)]
pub(crate) mod card;
#[cfg(MODULE)]
pub(crate) mod plug;
