// SPDX-License-Identifier: GPL-2.0

//! What must hold of all that is made from a kernel image, up to the kernel's entry.

#[path = "../../unit/tests/common/parts.rs"]
mod parts;

use crate::input::Input;
use mint_unit::firmware::{boot_params, e820, efi};
use mint_unit::image::kernel_image::{KernelImage, Mode};
use mint_unit::image::layout::{
    limit, plan, Layout, Low, END_32, PAGE, RANGE_ALIGN, REAL_MODE_LEN,
};
use mint_unit::image::{bytes::Truncated, identity_map};
use mint_unit::memory::memmap::Range;
use mint_unit::memory_device::bus::Bus;
use std::fmt::Display;

const M: u64 = 1 << 20;
const G: u64 = 1 << 30;

/// Parses a file that starts with `input` and goes on with zeros as far as its headers say, and has
/// `check` look at the image.
///
/// `file` is the room for the file: all zeros, before and after. `truncated` tells of an error of `parse`
/// whether the file is cut short.
pub fn parse_and_check<E: Display>(
    file: &mut [u8],
    input: &[u8],
    parse: fn(&[u8]) -> Result<KernelImage, E>,
    truncated: fn(&E) -> Option<Truncated>,
    check: fn(&[u8], &KernelImage),
) {
    let len = input.len().min(file.len());
    file[..len].copy_from_slice(&input[..len]);
    let mut end = len;
    // Each part of the file may lie behind the one before.
    let result = loop {
        let result = parse(&file[..end]);
        let needed = match result.as_ref().err().and_then(truncated) {
            Some(Truncated { needed, len }) => {
                assert!(needed > len);
                needed
            }
            None => break result,
        };
        if needed > file.len() as u64 {
            break result;
        }
        end = needed as usize;
    };
    match result {
        Ok(image) => {
            check_image(&image, end);
            check(&file[..end], &image);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    file[..len].fill(0);
}

/// Checks `image` itself, whose file is `file_len` bytes long.
pub fn check_image(image: &KernelImage, file_len: usize) {
    assert!(!image.segments.is_empty());
    let mut end = 0;
    for segment in image.segments.iter() {
        assert!(segment.start <= segment.end && segment.end <= file_len);
        assert!((segment.end - segment.start) as u64 <= segment.memory_len);
        assert!(segment.offset >= end);
        end = segment.offset + segment.memory_len;
    }
    assert!(end <= image.init_size);
    assert!(image.segments.iter().any(|segment| {
        let len = (segment.end - segment.start) as u64;
        (segment.offset..segment.offset + len).contains(&image.entry)
    }));
    assert!(image.alignment.is_power_of_two() && image.alignment >= PAGE);
}

/// Makes layouts for `image`: in `len` bytes from `start` on with an initrd of `initrd_len` bytes,
/// and in some others; and all that is made for each.
pub fn check_layouts(image: &KernelImage, start: u64, len: u64, initrd_len: u64) {
    let down = |number: u64| number / RANGE_ALIGN * RANGE_ALIGN;
    for (start, len, initrd_len) in [
        (start, len, initrd_len),
        (down(start), down(len), initrd_len),
        (down(start) % (64 * G), 8 * G, initrd_len % G),
        (G, 128 * M, 0),
        (G, 2 * M, 1),
        (4 * G - 64 * M, 64 * M, 16 * M),
        (3 * G, 2 * G, 3 * M + 1),
        (8 * G, 4 * G, 64 * M),
        ((1 << 46) - G, 2 * G, 1),
    ] {
        // What is handed out ends at multiples of 2 MiB, so that nothing of it is low memory.
        let Some(range) = Range::new(start.max(RANGE_ALIGN), len) else {
            continue;
        };
        for has_bus in [false, true] {
            match plan(range, low(), image, initrd_len, has_bus) {
                Ok(layout) => check_layout(&layout, range, image, initrd_len, has_bus),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

fn low() -> Low {
    let range = |start, len| Range::new(start, len).unwrap();
    Low::new(range(0x2_0000, PAGE), range(0x2_1000, REAL_MODE_LEN)).unwrap()
}

fn check_layout(
    layout: &Layout,
    range: Range,
    image: &KernelImage,
    initrd_len: u64,
    has_bus: bool,
) {
    // The parts that are the range, and what is in them.
    assert_eq!(layout.firmware.start(), range.start());
    let bus_len = if has_bus { 2 * M } else { 0 };
    assert_eq!(layout.bus, Range::new(layout.firmware.end(), bus_len));
    assert_eq!(layout.firmware.end() + bus_len, layout.ram.start());
    assert_eq!(layout.ram.end(), range.end());
    check_parts(layout.firmware, parts::all(layout));
    check_parts(
        layout.ram,
        [Some(layout.kernel), layout.initrd].into_iter().flatten(),
    );

    assert_eq!(layout.kernel.start() % image.alignment, 0);
    assert!(layout.kernel.start() >= image.pref_address);
    assert_eq!(layout.kernel.len(), image.init_size);
    assert_eq!(layout.initrd.map_or(0, |initrd| initrd.len()), initrd_len);
    if image.mode == Mode::Protected {
        assert!(layout.kernel.end() <= END_32);
    }
    if limit(image).is_none() {
        assert!(image.above_4g);
    }
    if !image.above_4g {
        assert!(range.end() <= 4 * G);
        let last = layout.initrd.map_or(0, |initrd| initrd.end() - 1);
        assert!(last <= image.initrd_addr_max);
    }

    let map: Vec<_> = e820::map(layout, &[]).collect();
    assert!(map
        .windows(2)
        .all(|pair| pair[0].range.end() <= pair[1].range.start()));
    assert!(map
        .iter()
        .all(|entry| range.contains(&entry.range) || entry.range == layout.low.ram()));
    // With the ECAM, the bus is reserved; the window is in no entry.
    if let Some(area) = layout.bus {
        let bus = Bus::new(area).unwrap();
        let map: Vec<_> = e820::map(layout, &[bus.host_bridge(1)]).collect();
        let on_bus = map.iter().filter(|entry| entry.range.overlaps(&area));
        let on_bus: Vec<_> = on_bus.map(|entry| (entry.range, entry.kind)).collect();
        assert_eq!(on_bus, [(bus.ecam(), e820::Kind::Reserved)]);
    }

    let rsdp = layout.acpi.start();
    let (mut tables, mut memory_map) = ([0xa5; PAGE as usize], [0xa5; PAGE as usize]);
    let pointers = efi::Pointers {
        rsdp,
        smbios: layout.smbios.start(),
    };
    let [narrow, info] = [efi::Width::Bits32, efi::Width::Bits64]
        .map(|width| efi::write(&mut tables, &mut memory_map, layout, &pointers, width));
    assert_eq!(narrow.is_some(), layout.firmware.end() <= 4 * G);
    let mut page = [0xa5; boot_params::LEN];
    boot_params::write(&mut page, &image.setup_header, layout, &[], rsdp, info);
    check_boot_params(&page, layout, rsdp);

    // It is entered with page tables, or refused.
    let mapped = [Range::new(0, PAGE).unwrap(), layout.firmware, layout.kernel];
    let mut tables = vec![0; layout.page_tables.len() as usize];
    let built = identity_map::build(&mut tables, layout.page_tables.start(), &mapped);
    assert_eq!(built.is_some(), layout.kernel.end() <= 1 << 46);
}

/// All of `parts` are pages of `whole`, and no two have one in common.
fn check_parts(whole: Range, parts: impl IntoIterator<Item = Range>) {
    let mut seen: Vec<Range> = Vec::new();
    for part in parts {
        assert!(whole.contains(&part) && part.start() % PAGE == 0);
        assert!(seen.iter().all(|other| !other.overlaps(&part)));
        seen.push(part);
    }
}

/// What the kernel finds in its `boot_params` (Documentation/arch/x86/zero-page.rst, boot.rst).
fn check_boot_params(page: &[u8], layout: &Layout, rsdp: u64) {
    let u32_at = |offset| Input(&page[offset..]).u32();
    let u64_at = |offset| Input(&page[offset..]).u64();
    let two = |low, high| u64::from(u32_at(low)) | (u64::from(u32_at(high)) << 32);
    assert_eq!(u64_at(0x070), rsdp);
    assert_eq!(two(0x228, 0x0c8), layout.command_line.start());
    let initrd = layout
        .initrd
        .map_or((0, 0), |initrd| (initrd.start(), initrd.len()));
    assert_eq!((two(0x218, 0x0c0), two(0x21c, 0x0c4)), initrd);
    let map: Vec<_> = (0..usize::from(page[0x1e8]))
        .map(|index| 0x2d0 + 20 * index)
        .map(|at| (u64_at(at), u64_at(at + 8), u32_at(at + 16)))
        .collect();
    let entry = |range: Range, kind| (range.start(), range.len(), kind);
    assert_eq!(
        map,
        [
            entry(layout.low.ram(), 1),
            entry(layout.firmware, 3),
            entry(layout.ram, 1)
        ]
    );
}
