// SPDX-License-Identifier: GPL-2.0

//! `pci::Driver::probe()` takes an optional reference to the ID's data: since Linux 7.3.

#![no_std]

use kernel::{
    device::Core,
    pci::{Device, Driver}, //
};

/// Compiles only with such a version of the `kernel` crate.
pub fn probe<'bound, D: Driver>(device: &'bound Device<Core<'_>>, info: &'bound D::IdInfo) {
    let _ = D::probe(device, Some(info));
}
