// SPDX-License-Identifier: GPL-2.0

//! The firmware that a successor believes to have booted on.
//!
//! Pure: each part writes bytes into memory that the caller passes. Uses `image` and `memory`.

pub mod acpi;
pub mod aml;
pub mod boot_params;
pub mod cmdline;
pub mod credentials;
pub mod e820;
pub mod efi;
pub mod host_bridge;
pub mod ioapic;
pub mod mailbox;
pub mod processor;
pub mod smbios;
