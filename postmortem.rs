// SPDX-License-Identifier: GPL-2.0

//! What can be learnt of a Linux kernel from its memory alone, without its help: its log, and a
//! core file for the tools that read those.
//!
//! ```text
//! note_search -> vmcoreinfo -> page_walk -> printk_log -> text; events -> what has happened
//!                    `---------------`----> elf_core   -> makedumpfile, crash, drgn
//! ```
//!
//! Linux 6.1 to 7.3 can be read, for x86-64 and i386, as far as they describe themselves in
//! VMCOREINFO (Documentation/admin-guide/kdump/vmcoreinfo.rst).
//!
//! The memory is foreign: it may change while it is read, and hold anything. All numbers in it
//! are checked before they are used, each loop is bounded by one that was, and what has been read
//! can be wrong but never do harm.

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
    /// Copies the bytes from physical `address` on to `out`; [`None`] unless all of them are the
    /// OS's memory.
    ///
    /// What was in memory when this was called may not be read after what a later call reads.
    fn read(&mut self, address: u64, out: &mut [u8]) -> Option<()>;
}

/// The number that up to 8 little-endian bytes are.
fn number(bytes: &[u8]) -> u64 {
    let mut whole = [0; 8];
    for (to, from) in whole.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(whole)
}
