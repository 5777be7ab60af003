// SPDX-License-Identifier: GPL-2.0

//! The EFI firmware of a successor: tables that lead to `efi_runtime.S`.
//!
//! A kernel with EFI runtime services that is told `reboot=efi` reboots by ResetSystem()
//! (`native_machine_emergency_restart()` in `arch/x86/kernel/reboot.c`), and with hardware-reduced
//! ACPI powers off by it as well (`efi_poweroff_required()` in `arch/x86/platform/efi/quirks.c`).
//! Otherwise a reboot would come to the keyboard controller, which resets the whole machine.
//!
//! Reference: UEFI specification 2.10, chapters 4 "EFI System Table", 7.2 "Memory Allocation
//! Services" and 8 "Services - Runtime Services". What Linux makes of it:
//! `arch/x86/platform/efi/efi.c`.

use crate::layout::{Layout, PAGE};
use crate::memmap::Range;

/// Bytes of a descriptor of the memory map.
pub const DESCRIPTOR_LEN: usize = 40;
/// EFI_MEMORY_DESCRIPTOR_VERSION.
pub const DESCRIPTOR_VERSION: u32 = 1;

/// EFI_2_70_SYSTEM_TABLE_REVISION.
const REVISION: u32 = (2 << 16) | 70;
const SYSTEM_TABLE_SIGNATURE: &[u8; 8] = b"IBI SYST";
const RUNTIME_SERVICES_SIGNATURE: &[u8; 8] = b"RUNTSERV";
/// Signature, revision, size, CRC and a reserved word.
const HEADER_LEN: usize = 24;
const CRC32: usize = 16;
const SYSTEM_TABLE_LEN: usize = 120;
const RUNTIME_SERVICES_LEN: usize = 136;

// Where each stands in its page.
const SYSTEM_TABLE: usize = 0;
const RUNTIME_SERVICES: usize = 0x100;
const CONFIGURATION_TABLE: usize = 0x200;
const RT_PROPERTIES: usize = 0x280;
const VENDOR: usize = 0x2c0;

/// EFI_ACPI_20_TABLE_GUID, as its bytes lie in memory.
const ACPI_20_TABLE_GUID: [u8; 16] = [
    0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11, 0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81,
];
/// EFI_RT_PROPERTIES_TABLE_GUID (4.6.2).
const RT_PROPERTIES_TABLE_GUID: [u8; 16] = [
    0x8a, 0x91, 0x66, 0xeb, 0xef, 0x7e, 0x2a, 0x40, 0x84, 0x2e, 0x93, 0x1d, 0x21, 0xc3, 0x8a, 0xe9,
];
// 4.6.2: what is supported of the runtime services after ExitBootServices().
const SUPPORTED_SET_VIRTUAL_ADDRESS_MAP: u32 = 1 << 7;
const SUPPORTED_RESET_SYSTEM: u32 = 1 << 10;

// Offsets of the functions in `efi_runtime.S`.
const UNSUPPORTED: u64 = 0x00;
const SUCCESS: u64 = 0x10;
const RESET_SYSTEM: u64 = 0x20;

// 7.2.1, EFI_MEMORY_TYPE.
const RUNTIME_SERVICES_CODE: u32 = 5;
const RUNTIME_SERVICES_DATA: u32 = 6;
const CONVENTIONAL_MEMORY: u32 = 7;
const ACPI_RECLAIM_MEMORY: u32 = 9;

// 7.2.3, attributes.
const MEMORY_WB: u64 = 1 << 3;
const MEMORY_RUNTIME: u64 = 1 << 63;

/// What `boot_params` says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Address of the system table.
    pub system_table: u64,
    /// Where the memory map is, exactly its length.
    pub memory_map: Range,
}

/// Writes the tables into `tables` and the memory map into `memory_map`, which are to be the
/// pages of the same names in `layout`; the RSDP is at `rsdp`. [`None`] if it does not fit.
pub fn write(
    tables: &mut [u8; PAGE as usize],
    memory_map: &mut [u8; PAGE as usize],
    layout: &Layout,
    rsdp: u64,
) -> Option<Info> {
    tables.fill(0);
    memory_map.fill(0);
    let mut page = Page {
        at: layout.efi.tables.start(),
        bytes: tables,
    };
    for (index, unit) in "Mint".encode_utf16().enumerate() {
        page.put(VENDOR + 2 * index, &unit.to_le_bytes())?;
    }

    // 4.6.2: version, length, and the services.
    page.put(RT_PROPERTIES, &1u16.to_le_bytes())?;
    page.put(RT_PROPERTIES + 2, &8u16.to_le_bytes())?;
    let supported = SUPPORTED_SET_VIRTUAL_ADDRESS_MAP | SUPPORTED_RESET_SYSTEM;
    page.put(RT_PROPERTIES + 4, &supported.to_le_bytes())?;

    let configuration = [
        (ACPI_20_TABLE_GUID, rsdp),
        (RT_PROPERTIES_TABLE_GUID, page.address(RT_PROPERTIES)),
    ];
    for (index, (guid, address)) in configuration.iter().enumerate() {
        let entry = CONFIGURATION_TABLE + 24 * index;
        page.put(entry, guid)?;
        page.put(entry + 16, &address.to_le_bytes())?;
    }

    // 4.5: GetTime, SetTime, GetWakeupTime, SetWakeupTime, SetVirtualAddressMap, ConvertPointer,
    // GetVariable, GetNextVariableName, SetVariable, GetNextHighMonotonicCount, ResetSystem,
    // UpdateCapsule, QueryCapsuleCapabilities, QueryVariableInfo.
    const COUNT: usize = (RUNTIME_SERVICES_LEN - HEADER_LEN) / 8;
    let mut services = [UNSUPPORTED; COUNT];
    services[4] = SUCCESS;
    services[10] = RESET_SYSTEM;
    for (index, offset) in services.iter().enumerate() {
        let address = layout.efi.code.start() + offset;
        page.put(
            RUNTIME_SERVICES + HEADER_LEN + 8 * index,
            &address.to_le_bytes(),
        )?;
    }
    page.header(
        RUNTIME_SERVICES,
        RUNTIME_SERVICES_SIGNATURE,
        RUNTIME_SERVICES_LEN,
    )?;

    // 4.3: consoles and boot services stay 0.
    let vendor = page.address(VENDOR);
    page.put(SYSTEM_TABLE + 24, &vendor.to_le_bytes())?;
    page.put(SYSTEM_TABLE + 32, &1u32.to_le_bytes())?;
    let services = page.address(RUNTIME_SERVICES);
    page.put(SYSTEM_TABLE + 88, &services.to_le_bytes())?;
    page.put(
        SYSTEM_TABLE + 104,
        &(configuration.len() as u64).to_le_bytes(),
    )?;
    let entries = page.address(CONFIGURATION_TABLE);
    page.put(SYSTEM_TABLE + 112, &entries.to_le_bytes())?;
    page.header(SYSTEM_TABLE, SYSTEM_TABLE_SIGNATURE, SYSTEM_TABLE_LEN)?;

    let mut len = 0;
    for descriptor in descriptors(layout)? {
        memory_map
            .get_mut(len..len + DESCRIPTOR_LEN)?
            .copy_from_slice(&descriptor);
        len += DESCRIPTOR_LEN;
    }
    Some(Info {
        system_table: page.address(SYSTEM_TABLE),
        memory_map: Range::new(layout.efi.memory_map.start(), len as u64)?,
    })
}

/// A page as it is written, and its physical address.
struct Page<'a> {
    at: u64,
    bytes: &'a mut [u8],
}

impl Page<'_> {
    fn address(&self, offset: usize) -> u64 {
        self.at + offset as u64
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) -> Option<()> {
        self.bytes
            .get_mut(offset..offset + bytes.len())?
            .copy_from_slice(bytes);
        Some(())
    }

    /// 4.2, EFI_TABLE_HEADER of the table at `offset`, whose `len` bytes are written already.
    fn header(&mut self, offset: usize, signature: &[u8; 8], len: usize) -> Option<()> {
        self.put(offset, signature)?;
        self.put(offset + 8, &REVISION.to_le_bytes())?;
        self.put(offset + 12, &(len as u32).to_le_bytes())?;
        let crc = crc32(self.bytes.get(offset..offset + len)?);
        self.put(offset + CRC32, &crc.to_le_bytes())
    }
}

/// The CRC of 4.2: that of IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg())
        })
    })
}

/// The memory map by ascending address: what [`crate::firmware::e820::map`] says, and the pages of
/// the firmware that the kernel is to map for the runtime services.
fn descriptors(layout: &Layout) -> Option<[[u8; DESCRIPTOR_LEN]; 7]> {
    let efi = &layout.efi;
    let firmware = |start, end| Range::from_to(start, end).map(|r| (r, ACPI_RECLAIM_MEMORY, 0));
    let map = [
        (layout.low.ram(), CONVENTIONAL_MEMORY, 0),
        firmware(layout.firmware.start(), layout.mailbox.start())?,
        (layout.mailbox, RUNTIME_SERVICES_DATA, MEMORY_RUNTIME),
        (efi.code, RUNTIME_SERVICES_CODE, MEMORY_RUNTIME),
        (efi.tables, RUNTIME_SERVICES_DATA, MEMORY_RUNTIME),
        firmware(efi.tables.end(), layout.firmware.end())?,
        (layout.ram, CONVENTIONAL_MEMORY, 0),
    ];
    Some(map.map(|(range, kind, attribute)| {
        // 7.2.3, EFI_MEMORY_DESCRIPTOR: type, padding, physical and virtual start, pages,
        // attribute.
        let mut bytes = [0; DESCRIPTOR_LEN];
        bytes[0..4].copy_from_slice(&kind.to_le_bytes());
        bytes[8..16].copy_from_slice(&range.start().to_le_bytes());
        bytes[24..32].copy_from_slice(&(range.len() / PAGE).to_le_bytes());
        bytes[32..40].copy_from_slice(&(MEMORY_WB | attribute).to_le_bytes());
        bytes
    }))
}
