// SPDX-License-Identifier: GPL-2.0

//! A unified kernel image, and the kernel, the initrd and the command line in it.
//!
//! The input is a whole file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mint_fuzz::image_checks::{check_image, check_layouts};
use mint_unit::image::{self, bzimage, elf_image, uki, Error};

fuzz_target!(|file: &[u8]| {
    let found = match uki::parse(file) {
        Ok(Some(found)) => found,
        Ok(None) => {
            // It is treated as a kernel alone.
            let parsed = image::parse(file).ok();
            assert!(parsed.is_none_or(|parsed| parsed.initrd.is_none() && parsed.cmdline.is_none()));
            return;
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(image::parse(file), Err(Error::Uki(error)));
            return;
        }
    };
    assert!(file.starts_with(b"MZ"));
    let sections = [Some(found.linux), found.initrd, found.cmdline];
    let mut ends: Vec<_> = sections.into_iter().flatten().collect();
    ends.sort_by_key(|section| section.start);
    // Behind at least one section header.
    let mut end = 40;
    for section in ends {
        assert!(section.start >= end && section.start < section.end);
        end = section.end;
    }
    assert!(end <= file.len());

    if let Some(line) = found
        .cmdline
        .and_then(|cmdline| uki::command_line(cmdline.data(file)))
    {
        assert!(line.is_ascii() && !line.contains(['\0', '\n']) && line.trim_start() == line);
    }

    let linux = found.linux.data(file);
    let alone = match linux.starts_with(&elf_image::MAGIC) {
        true => elf_image::parse(linux).map_err(Error::Elf),
        false => bzimage::parse(linux).map_err(Error::BzImage),
    };
    match (image::parse(file), alone) {
        (Ok(parsed), Ok(alone)) => {
            assert_eq!(
                (parsed.initrd, parsed.cmdline),
                (found.initrd, found.cmdline)
            );
            check_image(&parsed.kernel, file.len());
            let theirs = alone.segments.iter().map(|segment| segment.data(linux));
            let ours = parsed.kernel.segments.iter();
            assert!(ours.map(|segment| segment.data(file)).eq(theirs));
            let initrd_len = found.initrd.map_or(0, |initrd| initrd.end - initrd.start);
            check_layouts(&parsed.kernel, 1 << 30, 256 << 20, initrd_len as u64);
        }
        (parsed, alone) => assert_eq!(parsed.err(), alone.err()),
    }
});
