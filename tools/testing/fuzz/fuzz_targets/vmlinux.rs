// SPDX-License-Identifier: GPL-2.0

//! A vmlinux, and all that is made from it up to the kernel's entry.
//!
//! The input is the start of a file whose rest is zeros, as long as its headers say if that is
//! not absurd. What of the ELF header is not looked at, the padding of e_ident, e_shoff and e_flags,
//! is also where the range is, how long, and how long the initrd is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mint_fuzz::image_checks::{check_layouts, parse_and_check};
use mint_fuzz::input::Input;
use mint_unit::image::elf_image::{parse, Error};
use mint_unit::image::kernel_image::KernelImage;
use std::cell::RefCell;

/// The longest file that is made; all of it is looked through.
const FILE_MAX: usize = 1 << 20;

thread_local! {
    static FILE: RefCell<Vec<u8>> = RefCell::new(vec![0; FILE_MAX]);
}

fuzz_target!(|bytes: &[u8]| {
    let truncated = |error: &Error| match error {
        Error::Truncated(truncated) => Some(*truncated),
        _ => None,
    };
    FILE.with_borrow_mut(|file| parse_and_check(file, bytes, parse, truncated, check));
});

/// What must hold of a `file` that was taken for a kernel.
fn check(file: &[u8], image: &KernelImage) {
    // Nothing is left between two segments, nor around them.
    let mut end = 0;
    for segment in image.segments.iter() {
        assert_eq!(segment.offset, end);
        end += segment.memory_len;
    }
    assert_eq!(end, image.init_size);

    // Each program header of something that is loaded is a segment, and the other way round.
    let at = |offset: usize| Input(&file[offset..]);
    let headers = at(32).u64() as usize;
    let mut loads: Vec<_> = (0..usize::from(at(56).u16()))
        .map(|index| headers + 56 * index)
        .filter(|&header| at(header).u32() == 1 && at(header + 40).u64() > 0)
        .map(|header| {
            let field = |offset| at(header + offset).u64();
            (
                field(24) - image.pref_address,
                field(8) as usize,
                field(32) as usize,
            )
        })
        .collect();
    loads.sort();
    let segments = image.segments.iter();
    let segments =
        segments.map(|segment| (segment.offset, segment.start, segment.end - segment.start));
    assert!(segments.eq(loads));
    assert_eq!(at(24).u64() - image.pref_address, image.entry);

    check_layouts(image, at(8).u64(), at(40).u64(), at(48).u32().into());
}
