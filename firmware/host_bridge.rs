// SPDX-License-Identifier: GPL-2.0

//! The PCI host bridges of a successor, and where the machine's configuration space is.
//!
//! What a successor can be given of PCI is all that lies below a bridge of the first OS. The bridge
//! itself stays with the first OS; the successor finds a host bridge in its place.
//!
//! Reference: PCI Firmware Specification 3.3, section 4.1 "MCFG Table".

use crate::image::kernel_image::Mode;
use crate::memory::memmap::Range;

/// The most host bridges that a successor can have: of as many there is a name for each
/// (`firmware/acpi.rs`), and room in the memory map (`firmware/boot_params.rs`).
pub const MAX_BRIDGES: usize = 64;

/// The ECAM of a bus: 4 KiB for each of the 8 functions of 32 devices (PCI Express Base
/// Specification, 7.2.2 "Enhanced Configuration Access Mechanism (ECAM)").
const BUS_LEN: u64 = 1 << 20;
const FOUR_GIB: u64 = 1 << 32;

/// A host bridge of a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostBridge {
    /// Its PCI segment group, as the successor sees it: one of its own, and never 0. In segment 0
    /// Linux would go by the ports 0xCF8 and 0xCFC, which are the first OS's, in all others it
    /// only goes by ECAM (`raw_pci_read()` in `arch/x86/pci/common.c`).
    pub segment: u16,
    /// Its first bus.
    pub first_bus: u8,
    /// Its last bus.
    pub last_bus: u8,
    /// The physical address of the ECAM of bus 0 of the segment, as in MCFG.
    pub ecam: u64,
    /// The I/O ports of what lies below it, if it has a window for them.
    pub io: Option<Range>,
    /// The non-prefetchable memory of what lies below it, below 4 GiB.
    pub memory: Option<Range>,
    /// The prefetchable memory of what lies below it.
    pub prefetchable: Option<Range>,
}

impl HostBridge {
    /// Its buses; [`None`] if the last one comes before the first.
    pub fn buses(&self) -> Option<Range> {
        Range::from_to(self.first_bus.into(), u64::from(self.last_bus) + 1)
    }

    /// The ECAM of its own buses; [`None`] if there can't be any.
    pub fn ecam_range(&self) -> Option<Range> {
        let buses = self.buses()?;
        let start = self.ecam.checked_add(buses.start() * BUS_LEN)?;
        Range::new(start, buses.len() * BUS_LEN)
    }

    /// Whether a kernel that is entered in `mode` reaches its ECAM. A 32-bit one drops the upper
    /// half of the address (`get_base_addr()` in `arch/x86/pci/mmconfig_32.c`), and would write to
    /// whatever is there.
    pub fn is_reached_in(&self, mode: Mode) -> bool {
        self.ecam_range()
            .is_some_and(|ecam| mode == Mode::Long || ecam.end() <= FOUR_GIB)
    }
}

/// Where MCFG has its first allocation structure, and the bytes of each (4.1.2).
const ALLOCATIONS: usize = 44;
const ALLOCATION_LEN: usize = 16;

/// The physical address of the ECAM of bus 0 of `segment`, by that structure of the table `mcfg`
/// which has `bus` in it; [`None`] if none does, or it is no such table.
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
            // An address of 0 is none to Linux (`pci_mmconfig_alloc()` in
            // `arch/x86/pci/mmconfig-shared.c`).
            (covers && ecam != 0).then_some(ecam)
        })
}
