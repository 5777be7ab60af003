// SPDX-License-Identifier: GPL-2.0

//! `boot_params`: every byte as in linux-loader's `struct boot_params`, filled in here by name.

#[path = "common/image.rs"]
mod image;

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, efi_info, setup_header};
use mint_unit::firmware::boot_params::{write, LEN};
use mint_unit::firmware::efi;
use mint_unit::firmware::host_bridge::{HostBridge, MAX_BRIDGES};
use mint_unit::image::bzimage::parse;
use mint_unit::image::kernel_image::KernelImage;
use mint_unit::image::layout::{plan, Layout, Low};
use mint_unit::memory::memmap::Range;
use r_efi::system::{MemoryDescriptor, MEMORY_DESCRIPTOR_VERSION};
use std::mem::{offset_of, size_of_val};
use vm_memory::ByteValued;

const RSDP: u64 = 0x12_3456_7890;

/// A kernel all of whose header is set, so that no field can be forgotten.
fn kernel() -> (Vec<u8>, KernelImage) {
    let mut file = image::minimal();
    for (offset, byte) in file.iter_mut().enumerate().take(0x230).skip(0x1f8) {
        if *byte == 0 {
            *byte = offset as u8;
        }
    }
    file[0x264..0x26c].fill(0x77);
    let image = parse(&file).unwrap();
    (file, image)
}

/// Host bridges of one bus each.
fn bridges() -> Vec<HostBridge> {
    let bridge = |bus| HostBridge {
        segment: 1 + u16::from(bus),
        first_bus: bus,
        last_bus: bus,
        ecam: 0x12_b000_0000,
        io: None,
        memory: None,
        prefetchable: None,
    };
    (0..MAX_BRIDGES as u8).map(bridge).collect()
}

fn expected(
    file: &[u8],
    layout: &Layout,
    bridges: &[HostBridge],
    efi: Option<efi::Info>,
) -> boot_params {
    let header = &file[0x1f1..0x1f1 + size_of::<setup_header>()];
    let mut params = boot_params {
        hdr: *setup_header::from_slice(header).unwrap(),
        acpi_rsdp_addr: RSDP,
        e820_entries: 3 + bridges.len() as u8,
        ..Default::default()
    };
    let (low, high) = (|value: u64| value as u32, |value: u64| (value >> 32) as u32);
    // "Undefined", of Documentation/arch/x86/boot.rst.
    params.hdr.type_of_loader = 0xff;
    params.hdr.code32_start = low(layout.kernel.start());
    params.hdr.cmd_line_ptr = low(layout.command_line.start());
    params.ext_cmd_line_ptr = high(layout.command_line.start());
    if let Some(initrd) = layout.initrd {
        params.hdr.ramdisk_image = low(initrd.start());
        params.hdr.ramdisk_size = low(initrd.len());
        params.ext_ramdisk_image = high(initrd.start());
        params.ext_ramdisk_size = high(initrd.len());
    }
    if let Some(efi) = efi {
        let map = efi.memory_map;
        params.efi_info = efi_info {
            // EFI32_LOADER_SIGNATURE and EFI64_LOADER_SIGNATURE of arch/x86/include/asm/efi.h.
            efi_loader_signature: u32::from_le_bytes(match efi.width {
                efi::Width::Bits32 => *b"EL32",
                efi::Width::Bits64 => *b"EL64",
            }),
            efi_systab: low(efi.system_table),
            efi_systab_hi: high(efi.system_table),
            efi_memdesc_size: size_of::<MemoryDescriptor>() as u32,
            efi_memdesc_version: MEMORY_DESCRIPTOR_VERSION,
            efi_memmap: low(map.start()),
            efi_memmap_hi: high(map.start()),
            efi_memmap_size: low(map.len()),
        };
        // efi_secureboot_mode_disabled, there as well; else it stays "unset".
        params.secure_boot = 2;
    }
    let memory = [(layout.low.ram(), 1), (layout.firmware, 3), (layout.ram, 1)];
    let ecam = bridges.iter().map(|bridge| {
        let start = bridge.ecam + (u64::from(bridge.first_bus) << 20);
        (Range::new(start, 1 << 20).unwrap(), 2)
    });
    let map = memory.into_iter().chain(ecam);
    for (entry, (range, type_)) in params.e820_table.iter_mut().zip(map) {
        let (addr, size) = (range.start(), range.len());
        *entry = boot_e820_entry { addr, size, type_ };
    }
    params
}

#[test]
fn every_byte() {
    let (file, image) = kernel();
    let low = Low::new(
        Range::new(0x2_0000, 0x1000).unwrap(),
        Range::new(0x2_2000, 0x8000).unwrap(),
    )
    .unwrap();
    const G: u64 = 1 << 30;
    // What a kernel that knows no EFI must not be told of.
    let firmware = |layout: &Layout, width| efi::Info {
        width,
        system_table: layout.efi.tables.start() + 0x123,
        memory_map: Range::new(layout.efi.memory_map.start() + 8, 0x345).unwrap(),
    };
    let all_bridges = bridges();
    for (start, len, initrd_len, bridges) in [
        (G, G, 0, 0),
        (G, G, 1, 1),
        (3 * G, G, 54_321, 2),
        (5 * G, G, 54_321, 0),
        (0x2345 * G, 16 * G, 9 * G + 1, MAX_BRIDGES),
    ] {
        let bridges = &all_bridges[..bridges];
        let range = Range::new(start, len).unwrap();
        let mut layout = plan(range, low, &image, initrd_len, false).unwrap();
        if initrd_len == 0 {
            assert_eq!(layout.initrd.take(), None);
        }
        for efi in [
            None,
            Some(firmware(&layout, efi::Width::Bits32)),
            Some(firmware(&layout, efi::Width::Bits64)),
        ] {
            // A page that was used before.
            let mut page = [0xa5; LEN];
            write(&mut page, &image.setup_header, &layout, bridges, RSDP, efi);
            let mut expected = expected(&file, &layout, bridges, efi);
            if layout.initrd.is_none() {
                // What the file has there is the boot loader's to write, and it has nothing to.
                expected.hdr.ramdisk_image = 0;
                expected.hdr.ramdisk_size = 0;
            }
            let differs = (0..LEN).find(|&at| page[at] != expected.as_slice()[at]);
            assert_eq!(
                differs, None,
                "the first byte that differs; initrd {initrd_len}, {efi:x?}"
            );
        }
    }
}

/// More host bridges than there is room for: what is behind the map stays as it was.
#[test]
fn the_map_ends_where_its_room_ends() {
    let (_, image) = kernel();
    let range = |start, len| Range::new(start, len).unwrap();
    let low = Low::new(range(0x2_0000, 0x1000), range(0x2_2000, 0x8000)).unwrap();
    let layout = plan(range(1 << 30, 1 << 30), low, &image, 0, false).unwrap();
    let mut page = [0xa5; LEN];
    let bridges = bridges().repeat(4);
    write(
        &mut page,
        &image.setup_header,
        &layout,
        &bridges,
        RSDP,
        None,
    );
    let params = boot_params::from_slice(&page).unwrap();
    assert_eq!(params.e820_entries, 128);
    let end = offset_of!(boot_params, e820_table) + size_of_val(&params.e820_table);
    assert!(page[end..].iter().all(|&byte| byte == 0));
}
