// SPDX-License-Identifier: GPL-2.0

//! The identity map, read back as a CPU would (Intel SDM volume 3, section 5.5).

use mint_unit::image::identity_map::{build, TABLE};
use mint_unit::memory::memmap::Range;
use std::collections::{BTreeMap, BTreeSet};

const LARGE: u64 = 2 << 20;
const M: u64 = 1 << 20;
const G: u64 = 1 << 30;
const T: u64 = 1 << 40;
const TABLES_AT: u64 = 0x12_3456_7000;

/// Page tables in memory from [`TABLES_AT`] on, the root first.
struct Memory {
    tables: Vec<u8>,
}

impl Memory {
    /// Tables for `ranges`, with room for `room` of them beside the root, and old bytes in them.
    fn build(ranges: &[Range], room: usize) -> Option<Self> {
        let mut memory = Memory {
            tables: vec![0xff; (1 + room) * TABLE],
        };
        build(&mut memory.tables, TABLES_AT, ranges)?;
        Some(memory)
    }

    /// The entry at `index` of the table at physical address `table`.
    fn entry(&self, table: u64, index: u64) -> u64 {
        let table = &self.tables[(table - TABLES_AT) as usize..][..TABLE];
        let at = index as usize * 8;
        u64::from_le_bytes(table[at..at + 8].try_into().unwrap())
    }

    /// What a CPU in 4-level paging makes of `address`; [`None`] is a fault.
    fn translate(&self, address: u64) -> Option<u64> {
        let sign = address >> 47;
        if sign != 0 && sign != 0x1_ffff {
            return None;
        }
        let mut table = TABLES_AT;
        for shift in [39, 30, 21, 12] {
            let entry = self.entry(table, (address >> shift) & 511);
            if entry & 1 == 0 {
                return None;
            }
            assert_ne!(entry & 2, 0, "written to, by the kernel");
            assert_eq!(entry >> 52, 0, "executed, and without what must be 0");
            let page_size = entry & (1 << 7) != 0;
            if page_size || shift == 12 {
                assert_eq!(shift, 21, "a large page of 2 MiB");
                assert_eq!(entry & 0x1f_f000, 0, "reserved bits, and PAT");
                return Some((entry & 0xf_ffff_ffe0_0000) | (address & 0x1f_ffff));
            }
            table = entry & 0xf_ffff_ffff_f000;
        }
        None
    }

    /// All entries that map a large page, by virtual address.
    fn mapped(&self) -> BTreeMap<u64, u64> {
        let mut found = BTreeMap::new();
        let present = |table, shift: u32| {
            (0..512)
                .map(move |index| (index << shift, self.entry(table, index)))
                .filter(|(_, entry)| entry & 1 != 0)
                .map(|(address, entry)| (address, entry & 0xf_ffff_ffff_f000))
        };
        for (top, table) in present(TABLES_AT, 39) {
            for (middle, table) in present(table, 30) {
                for (low, page) in present(table, 21) {
                    found.insert(top | middle | low, page);
                }
            }
        }
        found
    }
}

/// The large pages that hold a byte of `ranges`.
fn pages(ranges: &[Range]) -> BTreeSet<u64> {
    ranges
        .iter()
        .flat_map(|range| range.start() / LARGE..=(range.end() - 1) / LARGE)
        .map(|number| number * LARGE)
        .collect()
}

fn ranges(list: &[(u64, u64)]) -> Vec<Range> {
    list.iter()
        .map(|&(start, len)| Range::new(start, len).unwrap())
        .collect()
}

/// Lists of ranges, each with the number of tables that it takes beside the root.
fn cases() -> Vec<(Vec<Range>, usize)> {
    [
        (&[][..], 0),
        (&[(0, 4096)][..], 2),
        (&[(0, 4096), (G, M), (G + 4 * M, 100 * M)], 3),
        // Not aligned, and one byte on either side of a page's border.
        (&[(G + LARGE - 1, 2)], 2),
        // The same pages twice.
        (&[(G, 6 * M), (G + 2 * M, 6 * M), (G, 6 * M)], 2),
        (&[(4 * G - LARGE, 2 * LARGE)], 3),
        // A border of what a table of the third level covers.
        (&[(512 * G - LARGE, 2 * LARGE)], 4),
        (&[(T - G, 2 * G)], 4),
        (
            &[(0, 4096), (512 * G, LARGE), (T, LARGE), (50 * T, LARGE)],
            8,
        ),
        // The highest page that a kernel can have.
        (&[(64 * T - LARGE, LARGE)], 2),
    ]
    .iter()
    .map(|&(list, tables)| (ranges(list), tables))
    .collect()
}

#[test]
fn what_is_asked_for_is_mapped_to_itself_and_nothing_else() {
    for (list, tables) in cases() {
        let memory = Memory::build(&list, tables).unwrap();
        let expected: BTreeMap<_, _> = pages(&list).into_iter().map(|page| (page, page)).collect();
        // Bits 12 to 20 of an entry belong to the address, or are reserved and 0.
        assert_eq!(memory.mapped(), expected, "{list:x?}");
        for &page in expected.keys() {
            for address in [page, page + 0x1234, page + LARGE - 1] {
                assert_eq!(memory.translate(address), Some(address), "{list:x?}");
            }
            for neighbour in [page.wrapping_sub(1), page + LARGE] {
                let there = expected.contains_key(&(neighbour & !(LARGE - 1)));
                assert_eq!(
                    memory.translate(neighbour).is_some(),
                    there,
                    "{neighbour:#x}"
                );
            }
        }
    }
}

#[test]
fn too_little_room() {
    for (list, tables) in cases() {
        for room in 0..tables {
            assert!(Memory::build(&list, room).is_none(), "{list:x?} in {room}");
        }
        assert!(Memory::build(&list, tables + 3).is_some(), "{list:x?}");
    }
    // A last table that is not whole is none.
    let list = ranges(&[(0, 4096)]);
    let mut tables = vec![0; 3 * TABLE - 1];
    assert_eq!(build(&mut tables, TABLES_AT, &list), None);
    assert_eq!(build(&mut [0; TABLE - 1], TABLES_AT, &[]), None);
}

#[test]
fn addresses_that_no_kernel_can_have() {
    for (start, len) in [
        (64 * T, LARGE),
        (64 * T - LARGE, LARGE + 1),
        (128 * T, LARGE),
        (256 * T - LARGE, LARGE),
        (u64::MAX - LARGE, LARGE),
        (0, u64::MAX),
    ] {
        assert!(
            Memory::build(&ranges(&[(start, len)]), 64).is_none(),
            "{start:#x}"
        );
    }
}
