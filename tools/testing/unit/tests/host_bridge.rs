// SPDX-License-Identifier: GPL-2.0

//! Host bridges, and MCFG tables as iasl makes them, as machines have them, and broken.

#[path = "common/iasl.rs"]
#[expect(dead_code, reason = "data tables alone")]
mod iasl;

use mint_unit::firmware::host_bridge::{ecam_of, HostBridge};
use mint_unit::image::kernel_image::Mode;
use mint_unit::memory::memmap::Range;

fn bridge(first_bus: u8, last_bus: u8, ecam: u64) -> HostBridge {
    HostBridge {
        segment: 1,
        first_bus,
        last_bus,
        ecam,
        io: None,
        memory: None,
        prefetchable: None,
    }
}

#[test]
fn the_ecam_of_its_buses() {
    for (first, last, ecam, expected) in [
        (0, 255, 0xe000_0000, Some((0xe000_0000, 256 << 20))),
        (1, 1, 0xb000_0000, Some((0xb010_0000, 1 << 20))),
        (255, 255, 0xe000_0000, Some((0xeff0_0000, 1 << 20))),
        (0x40, 0x43, 1 << 40, Some(((1 << 40) + (64 << 20), 4 << 20))),
        (0, 0, u64::MAX << 21, Some((u64::MAX << 21, 1 << 20))),
        // Beyond the last address, or up to it, by its end or its start.
        (0, 0, u64::MAX << 20, None),
        (1, 1, u64::MAX << 21, None),
        (255, 255, u64::MAX << 20, None),
        (2, 1, 0xb000_0000, None),
        (255, 0, 0xb000_0000, None),
    ] {
        let expected = expected.and_then(|(start, len)| Range::new(start, len));
        let bridge = bridge(first, last, ecam);
        assert_eq!(bridge.ecam_range(), expected, "{bridge:x?}");
    }
}

#[test]
fn what_a_32_bit_kernel_reaches() {
    for (first, last, ecam, reached) in [
        (0, 255, 0xe000_0000, true),
        (0, 255, 0xf000_0000, true),
        (0, 255, 0xf010_0000, false),
        (0, 254, 0xf010_0000, true),
        (0, 0, 1 << 32, false),
        (0, 0, 1 << 40, false),
        (1, 0, 0xe000_0000, false),
    ] {
        let bridge = bridge(first, last, ecam);
        assert_eq!(
            bridge.is_reached_in(Mode::Protected),
            reached,
            "{bridge:x?}"
        );
        assert_eq!(bridge.is_reached_in(Mode::Long), first <= last);
    }
    for (start, len, reached) in [
        (0xfe80_0000, 0x20_0000, true),
        (0xfff0_0000, 0x10_0000, true),
        (0xfff0_0000, 0x10_0001, false),
        (1 << 32, 0x10_0000, false),
    ] {
        let bridge = HostBridge {
            memory: Range::new(start, len),
            ..bridge(0, 0, 0xe000_0000)
        };
        assert_eq!(
            bridge.is_reached_in(Mode::Protected),
            reached,
            "{bridge:x?}"
        );
        assert!(bridge.is_reached_in(Mode::Long));
    }
}

/// An MCFG table with these addresses, segments, first and last buses, as iasl makes it.
fn mcfg(test: &str, allocations: &[(u64, u16, u8, u8)]) -> Vec<u8> {
    let mut source = String::from(
        "[0004] Signature : \"MCFG\"\n[0004] Table Length : 00000000\n[0001] Revision : 01\n\
         [0001] Checksum : 00\n[0006] Oem ID : \"A\"\n[0008] Oem Table ID : \"B\"\n\
         [0004] Oem Revision : 00000001\n[0004] Asl Compiler ID : \"INTL\"\n\
         [0004] Asl Compiler Revision : 00000001\n[0008] Reserved : 0000000000000000\n",
    );
    for (ecam, segment, first, last) in allocations {
        source += &format!(
            "[0008] Base Address : {ecam:016X}\n[0002] Segment Group Number : {segment:04X}\n\
             [0001] Start Bus Number : {first:02X}\n[0001] End Bus Number : {last:02X}\n\
             [0004] Reserved : 00000000\n"
        );
    }
    iasl::compile(test, &source)
}

#[test]
fn the_ecam_of_a_machine() {
    let q35 = mcfg("mcfg-q35", &[(0xb000_0000, 0, 0, 255)]);
    let server = mcfg(
        "mcfg-server",
        &[
            (0x8000_0000, 0, 0, 0x7f),
            (0x9000_0000, 0, 0x80, 0xff),
            (0x30_0000_0000, 1, 0, 0xff),
            (0xffff_ffff_f000_0000, 0xffff, 0x10, 0x1f),
            // The first one counts.
            (0xdead_0000, 1, 0, 0xff),
            // No addresses, or no buses.
            (0, 2, 0, 0xff),
            (0xa000_0000, 3, 2, 1),
        ],
    );
    for (table, segment, bus, expected) in [
        (&q35, 0, 0, Some(0xb000_0000)),
        (&q35, 0, 255, Some(0xb000_0000)),
        (&q35, 1, 0, None),
        (&server, 0, 0x7f, Some(0x8000_0000)),
        (&server, 0, 0x80, Some(0x9000_0000)),
        (&server, 1, 0x12, Some(0x30_0000_0000)),
        (&server, 0xffff, 0x0f, None),
        (&server, 0xffff, 0x10, Some(0xffff_ffff_f000_0000)),
        (&server, 0xffff, 0x1f, Some(0xffff_ffff_f000_0000)),
        (&server, 0xffff, 0x20, None),
        (&server, 2, 0, None),
        (&server, 3, 1, None),
        (&server, 3, 2, None),
    ] {
        assert_eq!(
            ecam_of(table, segment, bus),
            expected,
            "{segment:x}:{bus:x}"
        );
    }
    let none = mcfg("mcfg-none", &[]);
    assert_eq!(ecam_of(&none, 0, 0), None);
}

#[test]
fn broken_tables() {
    let good = mcfg(
        "mcfg-good",
        &[(0xb000_0000, 0, 0, 127), (0xc000_0000, 0, 128, 255)],
    );
    for len in 0..good.len() {
        assert_eq!(ecam_of(&good[..len], 0, 0), None, "{len} bytes");
    }
    // What is behind it is no part of it.
    let longer = [&good[..], &[0xff; 20]].concat();
    assert_eq!(ecam_of(&longer, 0, 0), Some(0xb000_0000));
    // By its length it ends in, before, or far behind its structures.
    for (len, first, second) in [
        (76, Some(0xb000_0000), Some(0xc000_0000)),
        (75, Some(0xb000_0000), None),
        (60, Some(0xb000_0000), None),
        (59, None, None),
        (44, None, None),
        (43, None, None),
        (0, None, None),
        (77, None, None),
        (u32::MAX, None, None),
    ] {
        let mut table = good.clone();
        table[4..8].copy_from_slice(&len.to_le_bytes());
        assert_eq!(ecam_of(&table, 0, 0), first, "{len}");
        assert_eq!(ecam_of(&table, 0, 200), second, "{len}");
    }
    let mut table = good.clone();
    table[..4].copy_from_slice(b"APIC");
    assert_eq!(ecam_of(&table, 0, 0), None);
}
