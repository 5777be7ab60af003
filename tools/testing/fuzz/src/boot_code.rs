// SPDX-License-Identifier: GPL-2.0

//! How the decompressor of Linux 7.3 (arch/x86/boot) reads a command line, which is not how the
//! kernel does.

use crate::kernel_code::simple_strtoull;

/// `__cmdline_find_option()` (cmdline.c) with a buffer of `size` bytes: the value of the last
/// `option`, as far as it has room there.
pub fn find_option<'a>(line: &'a [u8], option: &[u8], size: usize) -> Option<&'a [u8]> {
    let value = line
        .split(|&byte| byte <= b' ')
        .filter_map(|word| word.strip_prefix(option)?.strip_prefix(b"="))
        .last()?;
    Some(&value[..value.len().min(size - 1)])
}

/// `parse_console_uart8250()` (early_serial_console.c): the port that it would write to.
pub fn console_port(line: &[u8]) -> Option<u64> {
    let value = find_option(line, b"console", 64)?;
    let port = value
        .strip_prefix(b"uart8250,io,")
        .or(value.strip_prefix(b"uart,io,"))?;
    // C keeps it in an int.
    Some(simple_strtoull(port).value & 0xffff_ffff).filter(|&port| port != 0)
}
