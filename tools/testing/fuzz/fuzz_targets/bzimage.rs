// SPDX-License-Identifier: GPL-2.0

//! A kernel image, and all that is made from its header up to the kernel's entry.
//!
//! The input is the start of a file whose rest is zeros, as long as its header says if that is
//! not absurd. The first 24 bytes, which are code of the boot sector, are also where the range is,
//! how long, and how long the initrd is.

#![no_main]

#[path = "../../unit/tests/common/parts.rs"]
mod parts;

use libfuzzer_sys::fuzz_target;
use mint_fuzz::input::Input;
use mint_unit::bzimage::{parse, Error};
use mint_unit::firmware::{boot_params, e820, efi};
use mint_unit::identity_map;
use mint_unit::kernel_image::{KernelImage, Mode, SETUP_HEADER_START};
use mint_unit::layout::{limit, plan, Layout, LowSlice, END_32, LOW_SLICE_LEN, PAGE, RANGE_ALIGN};
use mint_unit::memmap::Range;
use std::cell::RefCell;

/// The longest file that is made.
const FILE_MAX: usize = 256 << 20;
const M: u64 = 1 << 20;
const G: u64 = 1 << 30;

thread_local! {
    // Zeroed memory that nobody has written to costs nothing.
    static FILE: RefCell<Vec<u8>> = RefCell::new(vec![0; FILE_MAX]);
}

fuzz_target!(|bytes: &[u8]| {
    FILE.with_borrow_mut(|file| {
        let len = bytes.len().min(FILE_MAX);
        file[..len].copy_from_slice(&bytes[..len]);
        let mut end = len;
        if let Err(Error::Truncated { needed, len }) = parse(&file[..len]) {
            assert!(needed > len);
            if needed <= FILE_MAX as u64 {
                end = needed as usize;
            }
        }
        match parse(&file[..end]) {
            Ok(image) => check(&file[..end], &image),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        file[..len].fill(0);
    });
});

/// What must hold of a `file` that was taken for a kernel.
fn check(file: &[u8], image: &KernelImage) {
    let header = &image.setup_header;
    let [segment] = &image.segments[..] else {
        panic!("a bzImage has one segment");
    };
    let code = segment.data(file);
    // Within the file, one behind the other.
    let header_end = SETUP_HEADER_START + header.len();
    assert_eq!(header[..], file[SETUP_HEADER_START..header_end]);
    assert!(header_end <= segment.start && segment.end <= file.len());
    assert_eq!(segment.offset, 0);
    assert!(code.len() as u64 > image.entry && code.len() as u64 <= image.init_size);
    assert!(image.alignment.is_power_of_two() && image.alignment >= PAGE);

    let mut input = Input(file);
    let (start, len, initrd_len) = (input.u64(), input.u64(), input.u64());
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
        ((1 << 47) - G, 2 * G, 1),
    ] {
        // What is handed out ends at multiples of 2 MiB, so that nothing of it is low memory.
        let Some(range) = Range::new(start.max(RANGE_ALIGN), len) else {
            continue;
        };
        match plan(range, low(), image, initrd_len) {
            Ok(layout) => check_layout(&layout, range, image, initrd_len, header, code),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn low() -> LowSlice {
    LowSlice::new(Range::new(0x2_0000, LOW_SLICE_LEN).unwrap()).unwrap()
}

fn check_layout(
    layout: &Layout,
    range: Range,
    image: &KernelImage,
    initrd_len: u64,
    header: &[u8],
    code: &[u8],
) {
    // Two parts that are the range, and what is in them.
    assert_eq!(layout.firmware.start(), range.start());
    assert_eq!(layout.firmware.end(), layout.ram.start());
    assert_eq!(layout.ram.end(), range.end());
    check_parts(layout.firmware, parts::all(layout));
    check_parts(
        layout.ram,
        [Some(layout.kernel), layout.initrd].into_iter().flatten(),
    );

    assert_eq!(layout.kernel.start() % image.alignment, 0);
    assert!(layout.kernel.start() >= image.pref_address);
    assert_eq!(layout.kernel.len(), image.init_size);
    assert!(code.len() as u64 <= layout.kernel.len());
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

    let map = e820::map(layout);
    assert!(map
        .windows(2)
        .all(|pair| pair[0].range.end() <= pair[1].range.start()));
    assert!(map
        .iter()
        .all(|entry| range.contains(&entry.range) || entry.range == layout.low.ram()));

    let rsdp = layout.acpi.start();
    let (mut tables, mut memory_map) = ([0xa5; PAGE as usize], [0xa5; PAGE as usize]);
    let [narrow, info] = [efi::Width::Bits32, efi::Width::Bits64]
        .map(|width| efi::write(&mut tables, &mut memory_map, layout, rsdp, width));
    assert_eq!(narrow.is_some(), layout.firmware.end() <= 4 * G);
    let mut page = [0xa5; boot_params::LEN];
    boot_params::write(&mut page, header, layout, rsdp, info);
    check_boot_params(&page, layout, rsdp);

    // It is entered with page tables, or refused.
    let mapped = [Range::new(0, PAGE).unwrap(), layout.firmware, layout.kernel];
    let mut tables = vec![0; layout.page_tables.len() as usize];
    let mut root = [0; identity_map::TABLE];
    let built = identity_map::build(&mut root, &mut tables, layout.page_tables.start(), &mapped);
    assert_eq!(built.is_some(), layout.kernel.end() <= 1 << 47);
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
