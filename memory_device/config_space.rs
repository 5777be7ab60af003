// SPDX-License-Identifier: GPL-2.0

//! The configuration space of a function made of memory.
//!
//! It is plain memory: each register reads as it was last written, and no write has an effect. So there
//! is no PCI Express capability, which has bits that are cleared by writing 1, and no way to reset the
//! function. The status register has such bits, but Linux clears them only if it reads them as set.
//!
//! Reference: PCI Express Base Specification 6.0, 7.5.1 (header), 7.7.2 (MSI-X) and 7.8.5 (Enhanced
//! Allocation).

use crate::memory::memmap::Range;
use crate::memory_device::bus::CONFIG_LEN;
use crate::memory_device::msix;

/// A function made of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// The vendor ID.
    pub vendor: u16,
    /// The device ID.
    pub device: u16,
    /// The subsystem vendor ID.
    pub subsystem_vendor: u16,
    /// The subsystem ID.
    pub subsystem: u16,
    /// The class code: 24 bits, with the base class in the upper 8.
    pub class: u32,
    /// The revision ID.
    pub revision: u8,
    /// The registers (BAR 0), up to 4 GiB long; [`crate::memory_device::bus::Bus::bar`].
    pub bar: Range,
    /// The decoy for the expansion ROM; [`crate::memory_device::bus::Bus::rom`].
    pub rom: Range,
    /// The place of the MSI-X table.
    pub msix: msix::Table,
}

// 7.5.1.1 and 7.5.1.2: offsets in the type 0 header. What is not here is 0: all is off, header type 0,
// a device with one function, no interrupt pin.
const VENDOR: usize = 0x00;
const DEVICE: usize = 0x02;
const STATUS: usize = 0x06;
const REVISION_AND_CLASS: usize = 0x08;
const SUBSYSTEM_VENDOR: usize = 0x2c;
const SUBSYSTEM: usize = 0x2e;
const CAPABILITIES: usize = 0x34;

/// There is a list of capabilities.
const STATUS_CAPABILITIES: u16 = 1 << 4;

// Each capability starts with its ID and the offset of the next one.
const ENHANCED_ALLOCATION: usize = 0x40;
const ENHANCED_ALLOCATION_ID: u8 = 0x14;
const MSIX: usize = msix::CAPABILITY as usize;
const MSIX_ID: u8 = 0x11;
const LAST: u8 = 0;

/// Length of an entry of the Enhanced Allocation: four doublewords.
const ALLOCATION_LEN: usize = 16;
/// First doubleword of an entry (7.8.5.3): enabled, no secondary properties, primary properties 0
/// (memory, not prefetchable), three more doublewords. The base address register equivalent indicator
/// (BEI) is in bits 4 to 7.
const ALLOCATION: u32 = 0x80ff_0003;
const BEI_BAR_0: u32 = 0 << 4;
const BEI_ROM: u32 = 8 << 4;
/// In the base address: it has an upper half.
const BASE_64: u32 = 1 << 1;

const _: () = assert!(ENHANCED_ALLOCATION + 4 + 2 * ALLOCATION_LEN <= MSIX);

/// Writes the configuration space of `function`. A page for which this was not called must be all
/// ones.
///
/// Linux can't learn from the base address registers where the function's registers are: it writes all
/// ones to each, and reads all ones back (`__pci_size_bars()` in `drivers/pci/probe.c`). It takes that
/// for a register that is not implemented (`__pci_read_base()`). Enhanced Allocation says where they
/// are instead. Linux reads it later (`pci_ea_init()` in `drivers/pci/pci.c`), and takes the addresses
/// as fixed: it moves nothing and writes to no base address register (`pci_std_update_resource()` in
/// `drivers/pci/setup-res.c`).
///
/// Linux does not write ones to the lower 11 bits of the expansion ROM's register, so it takes the
/// value that it reads back for the size mask of a ROM of 2 KiB. When the function is scanned again, it
/// would put that ROM where the function's registers are. The second entry of the Enhanced Allocation
/// gives the ROM a fixed place behind them.
pub fn write(page: &mut [u8; CONFIG_LEN as usize], function: &Function) {
    page.fill(0);
    put(page, VENDOR, function.vendor.to_le_bytes());
    put(page, DEVICE, function.device.to_le_bytes());
    put(page, STATUS, STATUS_CAPABILITIES.to_le_bytes());
    let class = (function.class << 8) | u32::from(function.revision);
    put(page, REVISION_AND_CLASS, class.to_le_bytes());
    put(
        page,
        SUBSYSTEM_VENDOR,
        function.subsystem_vendor.to_le_bytes(),
    );
    put(page, SUBSYSTEM, function.subsystem.to_le_bytes());
    put(page, CAPABILITIES, [ENHANCED_ALLOCATION as u8]);

    // 7.8.5.1: the number of entries.
    let entries = [(BEI_BAR_0, function.bar), (BEI_ROM, function.rom)];
    let head = [ENHANCED_ALLOCATION_ID, MSIX as u8, entries.len() as u8, 0];
    put(page, ENHANCED_ALLOCATION, head);
    for (index, (bei, range)) in entries.iter().enumerate() {
        let at = ENHANCED_ALLOCATION + 4 + index * ALLOCATION_LEN;
        put(page, at, (ALLOCATION | bei).to_le_bytes());
        let base = (range.start() as u32 & !0b11) | BASE_64;
        put(page, at + 4, base.to_le_bytes());
        // The offset of the last byte, but for its lowest two bits, which are flags: this has no
        // upper half.
        let max_offset = (range.len() - 1) as u32 & !0b11;
        put(page, at + 8, max_offset.to_le_bytes());
        put(page, at + 12, ((range.start() >> 32) as u32).to_le_bytes());
    }

    // 7.7.2: the number of vectors less 1; table and PBA, in BAR 0.
    let table = &function.msix;
    put(page, MSIX, [MSIX_ID, LAST]);
    put(page, MSIX + 2, (table.vectors() - 1).to_le_bytes());
    put(page, MSIX + 4, table.offset().to_le_bytes());
    put(page, MSIX + 8, table.pba().to_le_bytes());
}

fn put<const N: usize>(page: &mut [u8; CONFIG_LEN as usize], offset: usize, bytes: [u8; N]) {
    page[offset..offset + N].copy_from_slice(&bytes);
}
