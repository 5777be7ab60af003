// SPDX-License-Identifier: GPL-2.0

//! Parameters, numbers and ranges on a command line, against how the kernel reads them.
//!
//! The input is a text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mint_fuzz::input::text;
use mint_fuzz::kernel_code;
use mint_unit::memory::kernel_params::{memparse, params};
use mint_unit::memory::memmap::{parse_request, reserved, Range, Request};

fuzz_target!(|bytes: &[u8]| {
    let line = text(bytes);
    check_number(line);
    check_request(line);
    let ranges: Vec<_> = reserved(line).map(|r| (r.start(), r.len())).collect();
    assert!(ranges
        .iter()
        .all(|&(start, len)| Range::new(start, len).is_some()));
    let ours: Vec<_> = params(line).collect();
    assert!(ours.iter().all(|param| line.contains(param.text)));
    // The kernel splits a line in the middle of some characters, which is of no use to anybody.
    if line.is_ascii() {
        let (theirs, _) = kernel_code::parse_args(line.as_bytes());
        let ours = ours.iter().map(|param| {
            let bytes = |text: &str| text.as_bytes().to_vec();
            (bytes(param.name), param.value.map(bytes))
        });
        assert_eq!(ours.collect::<Vec<_>>(), theirs);
        assert_eq!(ranges, kernel_code::plain_reserved(line.as_bytes()));
    }
});

fn check_number(text: &str) {
    let theirs = kernel_code::memparse(text.as_bytes());
    match memparse(text) {
        Some((value, rest)) => {
            assert!(theirs.plain);
            assert_eq!((value, rest.as_bytes()), (theirs.value, theirs.rest));
        }
        None => assert!(!theirs.plain),
    }
}

fn check_request(text: &str) {
    let Some(request) = parse_request(text) else {
        return;
    };
    let Request { size, address } = request;
    assert!(Range::new(address.unwrap_or(0), size).is_some());
    let again = match address {
        Some(address) => format!("{size}@{address:#x}"),
        None => size.to_string(),
    };
    assert_eq!(parse_request(&again), Some(request));
}
