// SPDX-License-Identifier: GPL-2.0

//! The pure files of the module, in the module's own structure so that `crate::` paths resolve.

#![no_std]
#![forbid(unsafe_code)]

#[path = "../../../../backoff.rs"]
pub mod backoff;
#[path = "../../../../bzimage.rs"]
pub mod bzimage;
#[path = "../../../../elf_image.rs"]
pub mod elf_image;
#[path = "../../../../firmware/mod.rs"]
pub mod firmware;
#[path = "../../../../host_bridge.rs"]
pub mod host_bridge;
#[path = "../../../../identity_map.rs"]
pub mod identity_map;
#[path = "../../../../kernel_image.rs"]
pub mod kernel_image;
#[path = "../../../../kernel_params.rs"]
pub mod kernel_params;
#[path = "../../../../layout.rs"]
pub mod layout;
#[path = "../../../../mailbox.rs"]
pub mod mailbox;
#[path = "../../../../memmap.rs"]
pub mod memmap;
#[path = "../../../../pci_unit.rs"]
pub mod pci_unit;
#[path = "../../../../postmortem/mod.rs"]
pub mod postmortem;
#[path = "../../../../state.rs"]
pub mod state;
