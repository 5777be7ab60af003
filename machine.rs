// SPDX-License-Identifier: GPL-2.0

//! The machine that all OSes share: its CPUs' local APICs, how a CPU is woken, and what must hold
//! of the first OS.

pub(crate) mod assembled;
pub(crate) mod first_os_events;
pub(crate) mod history;
pub(crate) mod local_apic;
pub(crate) mod preconditions;
pub(crate) mod stepping_stone;
pub(crate) mod wakeup;
