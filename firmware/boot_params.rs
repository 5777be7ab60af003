// SPDX-License-Identifier: GPL-2.0

//! Writes `boot_params`, the "zero page", which is passed to the kernel.
//!
//! Reference: Documentation/arch/x86/zero-page.rst and boot.rst; `struct boot_params` in
//! `arch/x86/include/uapi/asm/bootparam.h`. The kernel's real-mode setup code does not run, so Mint
//! fills in what that code would find out: the memory map and the EFI firmware.

use crate::firmware::host_bridge::{HostBridge, MAX_BRIDGES};
use crate::firmware::{e820, efi};
use crate::image::layout::Layout;
use crate::image::setup_header::{self, SetupHeader};

/// Size of `boot_params` in bytes.
pub const LEN: usize = 4096;

const ACPI_RSDP_ADDR: usize = 0x070;
const EXT_RAMDISK_IMAGE: usize = 0x0c0;
const EXT_RAMDISK_SIZE: usize = 0x0c4;
const EXT_CMD_LINE_PTR: usize = 0x0c8;
const EFI_INFO: usize = 0x1c0;
const E820_ENTRIES: usize = 0x1e8;
const SECURE_BOOT: usize = 0x1ec;
const TYPE_OF_LOADER: usize = 0x210;
const CODE32_START: usize = 0x214;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const CMD_LINE_PTR: usize = 0x228;
const E820_TABLE: usize = 0x2d0;
/// `E820_MAX_ENTRIES_ZEROPAGE`. Three entries are for memory, the others for ECAMs.
const E820_MAX_ENTRIES: usize = 128;
const _: () = assert!(3 + MAX_BRIDGES <= E820_MAX_ENTRIES);

/// "Undefined boot loader": a boot loader without an assigned ID.
const LOADER_UNDEFINED: u8 = 0xff;

// `efi_loader_signature`: 32-bit or 64-bit firmware.
const EFI32_LOADER_SIGNATURE: [u8; 4] = *b"EL32";
const EFI64_LOADER_SIGNATURE: [u8; 4] = *b"EL64";
/// `efi_secureboot_mode_disabled` in `include/linux/efi.h`.
const SECURE_BOOT_DISABLED: u8 = 2;

/// Writes `boot_params` for a successor with `layout` and `bridges`, whose kernel has
/// `setup_header`. The RSDP is at `rsdp`. `efi` is the EFI firmware, if the kernel supports EFI.
pub fn write(
    page: &mut [u8; LEN],
    setup_header: &SetupHeader,
    layout: &Layout,
    bridges: &[HostBridge],
    rsdp: u64,
    efi: Option<efi::Info>,
) {
    page.fill(0);
    page[setup_header::START..setup_header::START + setup_header.len()]
        .copy_from_slice(setup_header);

    page[TYPE_OF_LOADER] = LOADER_UNDEFINED;
    put(page, ACPI_RSDP_ADDR, rsdp.to_le_bytes());
    put(page, CODE32_START, low_half(layout.kernel.start()));
    put(page, CMD_LINE_PTR, low_half(layout.command_line.start()));
    put(
        page,
        EXT_CMD_LINE_PTR,
        high_half(layout.command_line.start()),
    );
    // Both are 0 if there is no initrd, whatever the setup header in the file says.
    let (initrd, initrd_len) = layout
        .initrd
        .map_or((0, 0), |initrd| (initrd.start(), initrd.len()));
    put(page, RAMDISK_IMAGE, low_half(initrd));
    put(page, EXT_RAMDISK_IMAGE, high_half(initrd));
    put(page, RAMDISK_SIZE, low_half(initrd_len));
    put(page, EXT_RAMDISK_SIZE, high_half(initrd_len));

    if let Some(efi) = efi {
        page[SECURE_BOOT] = SECURE_BOOT_DISABLED;
        // struct efi_info
        let map = efi.memory_map;
        let signature = match efi.width {
            efi::Width::Bits32 => EFI32_LOADER_SIGNATURE,
            efi::Width::Bits64 => EFI64_LOADER_SIGNATURE,
        };
        put(page, EFI_INFO, signature);
        put(page, EFI_INFO + 4, low_half(efi.system_table));
        put(page, EFI_INFO + 8, low_half(efi::DESCRIPTOR_LEN as u64));
        put(page, EFI_INFO + 12, efi::DESCRIPTOR_VERSION.to_le_bytes());
        put(page, EFI_INFO + 16, low_half(map.start()));
        put(page, EFI_INFO + 20, low_half(map.len()));
        put(page, EFI_INFO + 24, high_half(efi.system_table));
        put(page, EFI_INFO + 28, high_half(map.start()));
    }

    let table = page[E820_TABLE..]
        .chunks_exact_mut(e820::ENTRY_LEN)
        .take(E820_MAX_ENTRIES);
    let mut entries = 0;
    for (place, entry) in table.zip(e820::map(layout, bridges)) {
        place.copy_from_slice(&entry.to_bytes());
        entries += 1;
    }
    page[E820_ENTRIES] = entries;
}

fn put<const N: usize>(page: &mut [u8; LEN], offset: usize, bytes: [u8; N]) {
    page[offset..offset + N].copy_from_slice(&bytes);
}

fn low_half(value: u64) -> [u8; 4] {
    (value as u32).to_le_bytes()
}

fn high_half(value: u64) -> [u8; 4] {
    ((value >> 32) as u32).to_le_bytes()
}
