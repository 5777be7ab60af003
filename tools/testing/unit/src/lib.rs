// SPDX-License-Identifier: GPL-2.0

//! The pure files of the module, in the module's own structure so that `crate::` paths resolve.

#![no_std]
#![forbid(unsafe_code)]

#[path = "../../../.."]
mod tree {
    pub mod disk;
    pub mod ena;
    pub mod firmware;
    pub mod image;
    pub mod memory;
    pub mod memory_device;
    pub mod network;
    pub mod nvme;
    pub mod pci;
    pub mod polling;
    pub mod postmortem;
    pub mod state;
}
pub use tree::*;
