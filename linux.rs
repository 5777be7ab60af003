// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers for functions of the first OS's kernel that the `kernel` crate does not wrap, and
//! the differences between the `kernel` crates of the kernel versions that the module can be built
//! for.
//!
//! Runs in the kernel only. Uses `memory`, and `firmware` for types of pure code.

pub(crate) mod acpi_processor;
pub(crate) mod cpu_registers;
pub(crate) mod disk_file;
pub(crate) mod efi_tables;
pub(crate) mod errno;
pub(crate) mod file;
pub(crate) mod interrupt;
pub(crate) mod io_port;
pub(crate) mod kernel_mount;
pub(crate) mod kobject;
pub(crate) mod kthread;
pub(crate) mod log;
pub(crate) mod machine_uuid;
pub(crate) mod module_params;
pub(crate) mod module_ref;
pub(crate) mod notifier;
pub(crate) mod pci_driver;
pub(crate) mod phys_memory;
mod poll;
pub(crate) mod tap;
mod user_page;
pub(crate) mod work_queue;
