// SPDX-License-Identifier: GPL-2.0

//! Reads a Linux kernel's memory from outside, without the help of the kernel: its log, and a core
//! file for debugging tools.
//!
//! ```text
//! note_search -> vmcoreinfo -> page_walk -> printk_log -> text; events -> how the kernel ended
//!                    `---------------`----> elf_core   -> makedumpfile, crash, drgn
//! ```
//!
//! This supports Linux 6.1 to 7.3, for x86-64 and i386, as far as the kernels describe themselves
//! in VMCOREINFO (Documentation/admin-guide/kdump/vmcoreinfo.rst).
//!
//! The memory can't be trusted: it may change during reading, and contain anything. The code checks
//! each number before using it, and bounds each loop by a checked number. The result may be wrong,
//! but reading never does harm.

pub mod elf_core;
pub mod events;
pub mod note_search;
pub mod page_walk;
pub mod printk_log;
pub mod vmcoreinfo;

#[cfg(MODULE)]
pub(crate) mod inspect;
#[cfg(MODULE)]
mod os_memory;

/// Size of the smallest page in bytes.
const PAGE: u64 = 4096;

/// The physical memory of one OS.
pub trait PhysicalMemory {
    /// Copies the bytes from physical `address` on to `out`. Returns [`None`] unless all of them
    /// are in the OS's memory.
    ///
    /// Reads must not be reordered: a call must not return older contents than an earlier call did.
    fn read(&mut self, address: u64, out: &mut [u8]) -> Option<()>;
}

/// Decodes up to 8 little-endian bytes.
fn number(bytes: &[u8]) -> u64 {
    let mut whole = [0; 8];
    for (to, from) in whole.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(whole)
}
