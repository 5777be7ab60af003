// SPDX-License-Identifier: GPL-2.0

//! PCI functions: takes them from the first OS for a successor, and gives them back.
//!
//! Uses `linux`, `firmware` and `memory`. Only `unit` and `usage` are pure.

pub mod unit;
pub mod usage;

#[cfg(MODULE)]
pub(crate) mod claims;
#[cfg(MODULE)]
mod device_use;
#[cfg(MODULE)]
pub(crate) mod devices;
#[cfg(MODULE)]
mod function;
#[cfg(MODULE)]
mod iommu;
#[cfg(MODULE)]
mod mcfg;
#[cfg(MODULE)]
pub(crate) mod unbinding;
