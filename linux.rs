// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers of functions of the first OS's kernel for which the `kernel` crate has none, and what
//! differs between the `kernel` crates of the series for which the module can be built.
//!
//! Of the kernel's side. Uses `memory` alone.

pub(crate) mod efi_tables;
pub(crate) mod errno;
pub(crate) mod file;
pub(crate) mod interrupt;
pub(crate) mod io_port;
pub(crate) mod kobject;
pub(crate) mod log;
pub(crate) mod module_params;
pub(crate) mod module_ref;
pub(crate) mod notifier;
pub(crate) mod pci_driver;
pub(crate) mod phys_memory;
pub(crate) mod work_queue;
