// SPDX-License-Identifier: GPL-2.0

//! A PCI bus made of memory: where each function has its registers.
//!
//! ```text
//! area (layout.rs)   ECAM, 1 MiB                        window, 1 MiB
//!                    +-------+-------+-----+-------+    +-------+-------+-----+-------+
//!                    | dev 0 | dev 1 | ... | dev 31|    | dev 0 | dev 1 | ... | dev 31|
//!                    +-------+-------+-----+-------+    +-------+-------+-----+-------+
//! each 32 KiB        configuration space of             BAR 0 (16 KiB), then a decoy of
//!                    functions 0 (4 KiB) to 7           2 KiB for the expansion ROM
//! ```
//!
//! Each device has function 0 only. The configuration space of all other functions is all ones, which
//! means that there is none (PCI Express Base Specification, 2.3.2; `pci_bus_generic_read_dev_vendor_id()`
//! in `drivers/pci/probe.c`).

use crate::firmware::host_bridge::HostBridge;
use crate::image::layout;
use crate::memory::memmap::Range;

/// The maximum number of functions: function 0 of each of 32 devices.
pub const MAX_FUNCTIONS: usize = 32;
/// The slot of an OS's network card.
pub const CARD_SLOT: usize = 0;
/// The slot of an OS's first disk; the others follow.
pub const FIRST_DISK_SLOT: usize = 1;
/// Length of the configuration space of a function (PCI Express Base Specification, 7.2).
pub const CONFIG_LEN: u64 = 4096;
/// Length of the registers (BAR 0) of a function.
pub const BAR_LEN: u64 = 16 << 10;
/// Length of the decoy for the expansion ROM, the smallest that Linux can take a ROM for
/// (`config_space.rs`).
pub const ROM_LEN: u64 = 2 << 10;

/// The distance from a device to the next, both in the ECAM (7.2.2: 8 functions of 4 KiB) and in the
/// window.
const STRIDE: u64 = 32 << 10;
/// Length of the ECAM of one bus, and the multiple at which it starts (PCI Express Base Specification,
/// 7.2.2).
const ECAM_LEN: u64 = MAX_FUNCTIONS as u64 * STRIDE;
const WINDOW_LEN: u64 = MAX_FUNCTIONS as u64 * STRIDE;
/// Length of the memory of a bus.
pub const AREA_LEN: u64 = ECAM_LEN + WINDOW_LEN;

const _: () = assert!(AREA_LEN == layout::BUS_LEN);
const _: () = assert!(ECAM_LEN == 1 << 20);
const _: () = assert!(BAR_LEN + ROM_LEN <= STRIDE);

/// A bus made of memory.
///
/// # Invariants
///
/// The area has a length of [`AREA_LEN`], and starts at a multiple of [`ECAM_LEN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bus {
    area: Range,
}

impl Bus {
    /// Makes the bus in `area`; returns [`None`] if its length is not [`AREA_LEN`], or if it does not
    /// start at a multiple of 1 MiB.
    pub fn new(area: Range) -> Option<Self> {
        // INVARIANT: Checked here.
        (area.len() == AREA_LEN && area.start() % ECAM_LEN == 0).then_some(Bus { area })
    }

    /// Returns the memory of the bus: the ECAM, and the window behind it.
    pub fn area(&self) -> Range {
        self.area
    }

    /// Returns the ECAM.
    pub fn ecam(&self) -> Range {
        self.part(0, ECAM_LEN)
    }

    /// Returns the memory for the registers (BARs) of the functions.
    pub fn window(&self) -> Range {
        self.part(ECAM_LEN, WINDOW_LEN)
    }

    /// Returns the configuration space of the function in `slot`; [`None`] if there is no such slot.
    pub fn config_page(&self, slot: usize) -> Option<Range> {
        Some(self.part(offset(slot)?, CONFIG_LEN))
    }

    /// Returns the registers (BAR 0) of the function in `slot`; [`None`] if there is no such slot.
    pub fn bar(&self, slot: usize) -> Option<Range> {
        Some(self.part(ECAM_LEN + offset(slot)?, BAR_LEN))
    }

    /// Returns the decoy for the expansion ROM of the function in `slot`; [`None`] if there is no such
    /// slot.
    pub fn rom(&self, slot: usize) -> Option<Range> {
        Some(self.part(ECAM_LEN + offset(slot)? + BAR_LEN, ROM_LEN))
    }

    /// Returns the host bridge above the bus, in PCI segment group `segment`.
    pub fn host_bridge(&self, segment: u16) -> HostBridge {
        HostBridge {
            segment,
            first_bus: 0,
            last_bus: 0,
            ecam: self.ecam().start(),
            io: None,
            memory: Some(self.window()),
            prefetchable: None,
        }
    }

    /// Returns `len` bytes of the area, `offset` bytes from its start. Callers pass parts of the area
    /// only.
    fn part(&self, offset: u64, len: u64) -> Range {
        Range::new(self.area.start().saturating_add(offset), len).unwrap_or(self.area)
    }
}

/// Returns the offset of `slot` in the ECAM and in the window; [`None`] if there is no such slot.
fn offset(slot: usize) -> Option<u64> {
    (slot < MAX_FUNCTIONS).then(|| slot as u64 * STRIDE)
}
