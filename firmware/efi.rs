// SPDX-License-Identifier: GPL-2.0

//! The EFI firmware of a successor: tables that point to the runtime services in `efi_runtime.S` or
//! `efi_runtime32.S`.
//!
//! A kernel with EFI runtime services and `reboot=efi` reboots by ResetSystem()
//! (`native_machine_emergency_restart()` in `arch/x86/kernel/reboot.c`). With hardware-reduced ACPI
//! it powers off by ResetSystem() too (`efi_poweroff_required()` in
//! `arch/x86/platform/efi/quirks.c`). Without EFI, a reboot would use the keyboard controller,
//! which resets the whole machine.
//!
//! Reference: UEFI specification 2.10, chapters 4 "EFI System Table", 7.2 "Memory Allocation
//! Services" and 8 "Services - Runtime Services". Linux evaluates the tables in `efi.c`, `efi_64.c`
//! and `efi_32.c` in `arch/x86/platform/efi/`.

use crate::image::layout::{Layout, PAGE};
use crate::memory::memmap::Range;

/// Size of a descriptor in the memory map, in bytes.
pub const DESCRIPTOR_LEN: usize = 40;
/// EFI_MEMORY_DESCRIPTOR_VERSION.
pub const DESCRIPTOR_VERSION: u32 = 1;

/// EFI_2_70_SYSTEM_TABLE_REVISION.
const REVISION: u32 = (2 << 16) | 70;
const SYSTEM_TABLE_SIGNATURE: &[u8; 8] = b"IBI SYST";
const RUNTIME_SERVICES_SIGNATURE: &[u8; 8] = b"RUNTSERV";
/// Length of EFI_TABLE_HEADER: signature, revision, size, CRC and a reserved word.
const HEADER_LEN: usize = 24;
const CRC32: usize = 16;

// Offsets in the page of the tables. `efi_runtime32.S` has copies of the first two.
const SYSTEM_TABLE: usize = 0;
const RUNTIME_SERVICES: usize = 0x100;
const CONFIGURATION_TABLE: usize = 0x200;
const RT_PROPERTIES: usize = 0x280;
const VENDOR: usize = 0x2c0;

/// EFI_ACPI_20_TABLE_GUID, in memory byte order.
const ACPI_20_TABLE_GUID: [u8; 16] = [
    0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11, 0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81,
];
/// SMBIOS3_TABLE_GUID (4.6.1).
const SMBIOS3_TABLE_GUID: [u8; 16] = [
    0x44, 0x15, 0xfd, 0xf2, 0x94, 0x97, 0x2c, 0x4a, 0x99, 0x2e, 0xe5, 0xbb, 0xcf, 0x20, 0xe3, 0x94,
];
/// EFI_RT_PROPERTIES_TABLE_GUID (4.6.2).
const RT_PROPERTIES_TABLE_GUID: [u8; 16] = [
    0x8a, 0x91, 0x66, 0xeb, 0xef, 0x7e, 0x2a, 0x40, 0x84, 0x2e, 0x93, 0x1d, 0x21, 0xc3, 0x8a, 0xe9,
];
// 4.6.2: the runtime services that are supported after ExitBootServices().
const SUPPORTED_SET_VIRTUAL_ADDRESS_MAP: u32 = 1 << 7;
const SUPPORTED_RESET_SYSTEM: u32 = 1 << 10;

// Offsets of the functions in `efi_runtime.S` and `efi_runtime32.S`.
const UNSUPPORTED: u64 = 0x00;
const RESET_SYSTEM: u64 = 0x10;
const SET_VIRTUAL_ADDRESS_MAP: u64 = 0x30;

// 7.2.1, EFI_MEMORY_TYPE.
const RUNTIME_SERVICES_CODE: u32 = 5;
const RUNTIME_SERVICES_DATA: u32 = 6;
const CONVENTIONAL_MEMORY: u32 = 7;
const ACPI_RECLAIM_MEMORY: u32 = 9;

// 7.2.3, attributes.
const MEMORY_WB: u64 = 1 << 3;
const MEMORY_RUNTIME: u64 = 1 << 63;

/// The width of a firmware. It must match the kernel, which calls its runtime services
/// (`efi_runtime_supported()` in `arch/x86/include/asm/efi.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 2.3.2, "IA-32 Platforms".
    Bits32,
    /// 2.3.4, "x64 Platforms".
    Bits64,
}

impl Width {
    /// Returns the size of the types that the specification calls native: pointers, handles, UINTN.
    const fn native(self) -> usize {
        match self {
            Width::Bits32 => 4,
            Width::Bits64 => 8,
        }
    }
}

/// The fields of `boot_params` about the EFI firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// The width of the firmware.
    pub width: Width,
    /// Address of the system table.
    pub system_table: u64,
    /// The memory map, without the unused rest of its page.
    pub memory_map: Range,
}

/// The addresses of other parts of the firmware, to which the configuration table points.
#[derive(Clone, Copy)]
pub struct Pointers {
    /// The RSDP.
    pub rsdp: u64,
    /// The entry point of SMBIOS.
    pub smbios: u64,
}

/// Writes the tables into `tables` and the memory map into `memory_map`, which must be the pages of
/// the same names in `layout`. Returns [`None`] if something does not fit, or if an address does not
/// fit in `width`.
pub fn write(
    tables: &mut [u8; PAGE as usize],
    memory_map: &mut [u8; PAGE as usize],
    layout: &Layout,
    pointers: &Pointers,
    width: Width,
) -> Option<Info> {
    tables.fill(0);
    memory_map.fill(0);
    let native = width.native();
    let mut page = Page {
        at: layout.efi.tables.start(),
        width,
        bytes: tables,
    };
    for (index, unit) in "Mint".encode_utf16().enumerate() {
        page.put(VENDOR + 2 * index, &unit.to_le_bytes())?;
    }

    // 4.6.2: version, length, and the supported services.
    page.put(RT_PROPERTIES, &1u16.to_le_bytes())?;
    page.put(RT_PROPERTIES + 2, &8u16.to_le_bytes())?;
    let supported = SUPPORTED_SET_VIRTUAL_ADDRESS_MAP | SUPPORTED_RESET_SYSTEM;
    page.put(RT_PROPERTIES + 4, &supported.to_le_bytes())?;

    let configuration = [
        (ACPI_20_TABLE_GUID, pointers.rsdp),
        (SMBIOS3_TABLE_GUID, pointers.smbios),
        (RT_PROPERTIES_TABLE_GUID, page.address(RT_PROPERTIES)),
    ];
    for (index, (guid, address)) in configuration.iter().enumerate() {
        let entry = CONFIGURATION_TABLE + (guid.len() + native) * index;
        page.put(entry, guid)?;
        page.put_native(entry + guid.len(), *address)?;
    }

    // 4.5: GetTime, SetTime, GetWakeupTime, SetWakeupTime, SetVirtualAddressMap, ConvertPointer,
    // GetVariable, GetNextVariableName, SetVariable, GetNextHighMonotonicCount, ResetSystem,
    // UpdateCapsule, QueryCapsuleCapabilities, QueryVariableInfo.
    let mut services = [UNSUPPORTED; 14];
    services[4] = SET_VIRTUAL_ADDRESS_MAP;
    services[10] = RESET_SYSTEM;
    for (index, offset) in services.iter().enumerate() {
        page.put_native(
            RUNTIME_SERVICES + HEADER_LEN + native * index,
            layout.efi.code.start() + offset,
        )?;
    }
    page.header(
        RUNTIME_SERVICES,
        RUNTIME_SERVICES_SIGNATURE,
        HEADER_LEN + native * services.len(),
    )?;

    // 4.3: vendor, revision (4 bytes, padded), handle and protocol of each of three consoles,
    // runtime services, boot services, number of configuration tables, their address. Consoles
    // and boot services stay 0.
    let field = |index| SYSTEM_TABLE + HEADER_LEN + native * index;
    page.put_native(field(0), page.address(VENDOR))?;
    page.put(field(1), &1u32.to_le_bytes())?;
    page.put_native(field(8), page.address(RUNTIME_SERVICES))?;
    page.put_native(field(10), configuration.len() as u64)?;
    page.put_native(field(11), page.address(CONFIGURATION_TABLE))?;
    page.header(
        SYSTEM_TABLE,
        SYSTEM_TABLE_SIGNATURE,
        HEADER_LEN + native * 12,
    )?;

    let mut len = 0;
    for descriptor in descriptors(layout, width)? {
        memory_map
            .get_mut(len..len + DESCRIPTOR_LEN)?
            .copy_from_slice(&descriptor);
        len += DESCRIPTOR_LEN;
    }
    Some(Info {
        width,
        system_table: page.address(SYSTEM_TABLE),
        memory_map: Range::new(layout.efi.memory_map.start(), len as u64)?,
    })
}

/// A page that is being written, and its physical address.
struct Page<'a> {
    at: u64,
    width: Width,
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

    /// Writes a value of the firmware's native width.
    fn put_native(&mut self, offset: usize, value: u64) -> Option<()> {
        match self.width {
            Width::Bits32 => self.put(offset, &u32::try_from(value).ok()?.to_le_bytes()),
            Width::Bits64 => self.put(offset, &value.to_le_bytes()),
        }
    }

    /// Writes the EFI_TABLE_HEADER (4.2) of the table at `offset`. The other fields of its `len`
    /// bytes must have been written before.
    fn header(&mut self, offset: usize, signature: &[u8; 8], len: usize) -> Option<()> {
        self.put(offset, signature)?;
        self.put(offset + 8, &REVISION.to_le_bytes())?;
        self.put(offset + 12, &(len as u32).to_le_bytes())?;
        let crc = crc32(self.bytes.get(offset..offset + len)?);
        self.put(offset + CRC32, &crc.to_le_bytes())
    }
}

/// Returns the CRC32 of 4.2, which is the one of IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg())
        })
    })
}

/// Returns the memory map by ascending address: the memory that [`crate::firmware::e820::map`]
/// lists, and in it the firmware's pages that the kernel must map for the runtime services.
///
/// The ECAM of a host bridge is not listed. Its type would be EfiMemoryMappedIO, which is for
/// memory that runtime services access (7.2). Linux removes such memory from e820
/// (`efi_remove_e820_mmio()` in `arch/x86/platform/efi/efi.c`), and considers it only where ACPI
/// reserves no ECAM (`pci_mmcfg_reserved()` in `arch/x86/pci/mmconfig-shared.c`).
fn descriptors(
    layout: &Layout,
    width: Width,
) -> Option<impl Iterator<Item = [u8; DESCRIPTOR_LEN]>> {
    let efi = &layout.efi;
    let firmware = |start, end| Range::from_to(start, end).map(|r| (r, ACPI_RECLAIM_MEMORY, 0));
    let code = |range| Some((range, RUNTIME_SERVICES_CODE, MEMORY_RUNTIME));
    let data = |range| Some((range, RUNTIME_SERVICES_DATA, MEMORY_RUNTIME));
    let runtime = match width {
        // A 32-bit kernel maps each region at an address of its choice. The services must find
        // mailbox and tables from there, so these are one region. A 64-bit kernel maps all regions
        // one to one.
        Width::Bits32 => {
            let all = Range::from_to(layout.mailbox.start(), efi.tables.end())?;
            [code(all), None, None]
        }
        Width::Bits64 => [data(layout.mailbox), code(efi.code), data(efi.tables)],
    };
    let before = [
        (layout.low.ram(), CONVENTIONAL_MEMORY, 0),
        firmware(layout.firmware.start(), layout.mailbox.start())?,
    ];
    let behind = [
        firmware(efi.tables.end(), layout.firmware.end())?,
        (layout.ram, CONVENTIONAL_MEMORY, 0),
    ];
    let map = before
        .into_iter()
        .chain(runtime.into_iter().flatten())
        .chain(behind);
    Some(map.map(|(range, kind, attribute)| {
        // 7.2.3, EFI_MEMORY_DESCRIPTOR: type, padding, physical and virtual start, pages,
        // attribute. The format is the same for both widths.
        let mut bytes = [0; DESCRIPTOR_LEN];
        bytes[0..4].copy_from_slice(&kind.to_le_bytes());
        bytes[8..16].copy_from_slice(&range.start().to_le_bytes());
        bytes[24..32].copy_from_slice(&(range.len() / PAGE).to_le_bytes());
        bytes[32..40].copy_from_slice(&(MEMORY_WB | attribute).to_le_bytes());
        bytes
    }))
}
