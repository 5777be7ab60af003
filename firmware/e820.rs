// SPDX-License-Identifier: GPL-2.0

//! The e820 memory map of a successor: its own memory, the configuration space (ECAM) of its PCI
//! devices, and nothing else.
//!
//! Format: ACPI specification 6.5, section 15.1 (INT 15h, E820h); `struct boot_e820_entry` in
//! `arch/x86/include/uapi/asm/setup_data.h`.

use crate::firmware::host_bridge::HostBridge;
use crate::image::layout::Layout;
use crate::memory::memmap::Range;

/// Size of an entry in `boot_params`: address and size (64 bits each) and type (32 bits).
pub const ENTRY_LEN: usize = 20;

/// The type of a range, with the number from the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Usable RAM (AddressRangeMemory).
    Ram = 1,
    /// Reserved addresses (AddressRangeReserved).
    Reserved = 2,
    /// ACPI tables, which the kernel does not use as RAM (AddressRangeACPI).
    Acpi = 3,
}

/// One entry of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The address range.
    pub range: Range,
    /// The type of the range.
    pub kind: Kind,
}

impl Entry {
    /// Returns the entry in the format of `boot_params`.
    pub fn to_bytes(self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        bytes[0..8].copy_from_slice(&self.range.start().to_le_bytes());
        bytes[8..16].copy_from_slice(&self.range.len().to_le_bytes());
        bytes[16..20].copy_from_slice(&(self.kind as u32).to_le_bytes());
        bytes
    }
}

/// Returns the memory of a successor by ascending address, then the ECAM of each of its host
/// bridges. The PCI Firmware Specification (3.3, section 4.1.2) allows the ECAM to be reserved in
/// the memory map as well. The window of a bus made of memory is in no entry, as those of other host
/// bridges.
pub fn map<'a>(
    layout: &Layout,
    bridges: &'a [HostBridge],
) -> impl Iterator<Item = Entry> + Clone + 'a {
    let entry = |range, kind| Entry { range, kind };
    let memory = [
        entry(layout.low.ram(), Kind::Ram),
        entry(layout.firmware, Kind::Acpi),
        entry(layout.ram, Kind::Ram),
    ];
    let ecam = bridges.iter().filter_map(HostBridge::ecam_range);
    memory
        .into_iter()
        .chain(ecam.map(move |range| entry(range, Kind::Reserved)))
}
