// SPDX-License-Identifier: GPL-2.0

//! The MCFG table of a machine, whatever is in it.
//!
//! The input is a segment (16 bits), a bus (8 bits), and the table.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mint_fuzz::input::Input;
use mint_unit::firmware::host_bridge::ecam_of;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let (segment, bus, table) = (input.u16(), input.u8(), input.0);
    assert_eq!(ecam_of(table, segment, bus), expected(table, segment, bus));
});

/// PCI Firmware Specification 3.3, 4.1.2, by offset.
fn expected(table: &[u8], segment: u16, bus: u8) -> Option<u64> {
    let at = |offset: usize| Input(&table[offset..]);
    let len = match table.get(..8)? {
        [b'M', b'C', b'F', b'G', ..] => at(4).u32() as usize,
        _ => return None,
    };
    if len > table.len() {
        return None;
    }
    let starts = (44..).step_by(16).take_while(|start| start + 16 <= len);
    let covering = starts.filter(|&start| {
        at(start + 8).u16() == segment && at(start + 10).u8() <= bus && bus <= at(start + 11).u8()
    });
    covering
        .map(|start| at(start).u64())
        .find(|&ecam| ecam != 0)
}
