// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers of functions of the first OS's kernel for which the `kernel` crate has none. They
//! know nothing of OSes, and use `memory` at most.

pub(crate) mod file;
pub(crate) mod io_port;
pub(crate) mod kobject;
pub(crate) mod log;
pub(crate) mod module_ref;
pub(crate) mod notifier;
pub(crate) mod phys_memory;
pub(crate) mod work_queue;
