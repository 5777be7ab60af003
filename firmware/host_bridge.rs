// SPDX-License-Identifier: GPL-2.0

//! The PCI host bridges of a successor, and a parser for the machine's MCFG table.
//!
//! A successor gets all PCI functions below a bridge of the first OS. The bridge itself stays with
//! the first OS; the successor sees a host bridge in its place.
//!
//! Reference: PCI Firmware Specification 3.3, section 4.1 "MCFG Table".

use crate::image::kernel_image::Mode;
use crate::memory::memmap::Range;

/// The maximum number of host bridges of a successor. There are names (`firmware/acpi.rs`) and
/// entries in the memory map (`firmware/boot_params.rs`) for this many.
pub const MAX_BRIDGES: usize = 64;

/// Size of the ECAM of a bus: 4 KiB for each of the 8 functions of 32 devices (PCI Express Base
/// Specification, 7.2.2 "Enhanced Configuration Access Mechanism (ECAM)").
const BUS_LEN: u64 = 1 << 20;
const FOUR_GIB: u64 = 1 << 32;

/// A host bridge of a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostBridge {
    /// The PCI segment group that the successor sees: one for each bridge, and never 0. In segment
    /// 0 Linux would use the ports 0xCF8 and 0xCFC, which belong to the first OS; in other segments
    /// it uses only ECAM (`raw_pci_read()` in `arch/x86/pci/common.c`).
    pub segment: u16,
    /// The first bus.
    pub first_bus: u8,
    /// The last bus.
    pub last_bus: u8,
    /// The physical address of the ECAM of bus 0 of the segment, as in MCFG.
    pub ecam: u64,
    /// The window of I/O ports of the devices below, if there is one.
    pub io: Option<Range>,
    /// The window of non-prefetchable memory of the devices below: below 4 GiB, but for a bus made
    /// of memory (`memory_device/bus.rs`), which may lie anywhere.
    pub memory: Option<Range>,
    /// The window of prefetchable memory of the devices below.
    pub prefetchable: Option<Range>,
}

impl HostBridge {
    /// Returns the buses; [`None`] if the last bus comes before the first.
    pub fn buses(&self) -> Option<Range> {
        Range::from_to(self.first_bus.into(), u64::from(self.last_bus) + 1)
    }

    /// Returns the ECAM of the bridge's own buses; [`None`] if its address overflows.
    pub fn ecam_range(&self) -> Option<Range> {
        let buses = self.buses()?;
        let start = self.ecam.checked_add(buses.start() * BUS_LEN)?;
        Range::new(start, buses.len() * BUS_LEN)
    }

    /// Returns whether a kernel that is entered in `mode` reaches the ECAM, and the window of
    /// non-prefetchable memory if there is one. A 32-bit kernel drops the upper half of the ECAM's
    /// address (`get_base_addr()` in `arch/x86/pci/mmconfig_32.c`), and would write to whatever is at
    /// the truncated address. Without PAE, it ignores devices above 4 GiB (`pci_ea_read()` in
    /// `drivers/pci/pci.c`).
    pub fn is_reached_in(&self, mode: Mode) -> bool {
        let is_reached = |range: Range| mode == Mode::Long || range.end() <= FOUR_GIB;
        self.ecam_range().is_some_and(is_reached) && self.memory.is_none_or(is_reached)
    }
}

/// Offset of the first allocation structure in MCFG, and the size of each (4.1.2).
const ALLOCATIONS: usize = 44;
const ALLOCATION_LEN: usize = 16;

/// Returns the physical address of the ECAM of bus 0 of `segment`, from the allocation structure in
/// the table `mcfg` that covers `bus`. Returns [`None`] if there is none, or if `mcfg` is not an
/// MCFG table.
pub fn ecam_of(mcfg: &[u8], segment: u16, bus: u8) -> Option<u64> {
    // ACPI specification, 5.2.6: signature and length.
    let (signature, rest) = mcfg.split_first_chunk::<4>()?;
    let len = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    if signature != b"MCFG" {
        return None;
    }
    mcfg.get(ALLOCATIONS..len)?
        .chunks_exact(ALLOCATION_LEN)
        .find_map(|allocation| {
            let (ecam, rest) = allocation.split_first_chunk()?;
            let (of, rest) = rest.split_first_chunk()?;
            let &[first, last, ..] = rest else {
                return None;
            };
            let ecam = u64::from_le_bytes(*ecam);
            let covers = u16::from_le_bytes(*of) == segment && first <= bus && bus <= last;
            // Linux ignores an address of 0 (`pci_mmconfig_alloc()` in
            // `arch/x86/pci/mmconfig-shared.c`).
            (covers && ecam != 0).then_some(ecam)
        })
}
