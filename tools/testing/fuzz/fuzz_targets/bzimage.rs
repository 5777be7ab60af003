// SPDX-License-Identifier: GPL-2.0

//! A bzImage, and all that is made from its header up to the kernel's entry.
//!
//! The input is the start of a file whose rest is zeros, as long as its header says if that is
//! not absurd. The first 24 bytes, which are code of the boot sector, are also where the range is,
//! how long, and how long the initrd is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mint_fuzz::image_checks::{check_layouts, parse_and_check};
use mint_fuzz::input::Input;
use mint_unit::image::bzimage::{parse, Error};
use mint_unit::image::{kernel_image::KernelImage, setup_header};
use std::cell::RefCell;

/// The longest file that is made.
const FILE_MAX: usize = 256 << 20;

thread_local! {
    // Zeroed memory that nobody has written to costs nothing.
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
    // The jump over the header tells its end.
    let header_end = 0x202 + usize::from(file[0x201]);
    let (header, behind) = image
        .setup_header
        .split_at(header_end - setup_header::START);
    assert_eq!(header, &file[setup_header::START..header_end]);
    assert!(behind.iter().all(|&byte| byte == 0));
    let [code] = &image.segments[..] else {
        panic!("a bzImage has one segment");
    };
    assert!(header_end <= code.start && code.offset == 0);
    assert_eq!(code.memory_len, (code.end - code.start) as u64);

    let mut input = Input(file);
    check_layouts(image, input.u64(), input.u64(), input.u64());
}
