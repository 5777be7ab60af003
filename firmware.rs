// SPDX-License-Identifier: GPL-2.0

//! What a successor is told: the firmware that it believes to have booted on.
//!
//! Pure: each part writes bytes into memory that it is given.

pub mod acpi;
pub mod aml;
pub mod boot_params;
pub mod cmdline;
pub mod e820;
pub mod efi;
pub mod host_bridge;
pub mod ioapic;
pub mod mailbox;
