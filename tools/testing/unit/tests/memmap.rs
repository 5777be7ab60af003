// SPDX-License-Identifier: GPL-2.0

//! Ranges, and what `memmap=` reserves.

use mint_unit::memory::memmap::{parse_request, reserved, Range, Request};
use std::collections::BTreeSet;

const M: u64 = 1 << 20;
const G: u64 = 1 << 30;

fn range(start: u64, len: u64) -> Range {
    Range::new(start, len).unwrap()
}

#[test]
fn reserved_ranges() {
    for (line, expected) in [
        ("", &[][..]),
        ("quiet memmap", &[]),
        ("memmap=64M$4G", &[(4 * G, 64 * M)]),
        ("memmap=0x20000$0x20000", &[(0x2_0000, 0x2_0000)]),
        (
            "memmap=128K$128k quiet memmap=1G$010G",
            &[(0x2_0000, 0x2_0000), (8 * G, G)],
        ),
        (
            "memmap=1M$1G,2M$2G,3M$3G",
            &[(G, M), (2 * G, 2 * M), (3 * G, 3 * M)],
        ),
        (
            "memmap=1M@1G,2M$2G,3M#3G,4M!4G,5M$5G",
            &[(2 * G, 2 * M), (5 * G, 5 * M)],
        ),
        ("memmap=exactmap,1M$1G memmap=1G@0", &[(G, M)]),
        (
            "memmap=1M%1G-1+2 memmap=2M%0x80000000-1+2,3M$3G",
            &[(G, M), (2 * G, 2 * M), (3 * G, 3 * M)],
        ),
        // Other types, and what the kernel takes for a mistake.
        ("memmap=1M%1G+2 memmap=1M%1G-1 memmap=1M%1G", &[]),
        ("memmap=1M%1G-1+12 memmap=1M%1G-2+1", &[]),
        ("memmap=1M%1G-1+2x memmap=1M%-1+2 memmap=%1G-1+2", &[]),
        ("memmap=1M memmap=nopentium", &[]),
        // Without GRUB's own shell before it, the backslash arrives and means nothing.
        ("memmap=1M\\$1G", &[]),
        ("memmap=\"1M$1G\" \"memmap=1M$2G\"", &[(G, M), (2 * G, M)]),
        ("a=\"b memmap=1M$1G\"", &[]),
        ("memmap=1M$1G -- memmap=1M$2G", &[(G, M)]),
        ("xmemmap=1M$1G memmapx=1M$1G MEMMAP=1M$1G", &[]),
        // The kernel warns of what follows and has reserved it all the same.
        ("memmap=1M$1Gx", &[(G, M)]),
        ("memmap=$1G memmap=0$1G memmap=,, memmap=M$1G", &[]),
        // What wraps around, in the number or in the range.
        ("memmap=16E$0 memmap=2$0xffffffffffffffff", &[]),
        ("memmap=1$0xfffffffffffffffe", &[(u64::MAX - 1, 1)]),
    ] {
        let expected: Vec<_> = expected.iter().map(|&(at, len)| range(at, len)).collect();
        assert_eq!(reserved(line).collect::<Vec<_>>(), expected, "{line:?}");
    }
}

#[test]
fn requests() {
    for (text, expected) in [
        ("512M", Some((512 * M, None))),
        ("0x200000", Some((2 * M, None))),
        ("1G@4G", Some((G, Some(4 * G)))),
        ("1G@0", Some((G, Some(0)))),
        ("", None),
        ("0", None),
        ("0@1G", None),
        ("1G@", None),
        ("1G$4G", None),
        ("1G ", None),
        ("1G@4Gx", None),
        ("1G@4G@4G", None),
        ("-1G", None),
        ("16E", None),
        ("8E@8E", None),
        ("7E@8E", Some((7 << 60, Some(8 << 60)))),
    ] {
        let expected = expected.map(|(size, address)| Request { size, address });
        assert_eq!(parse_request(text), expected, "{text:?}");
    }
}

#[test]
fn ranges_are_not_empty_and_do_not_wrap_around() {
    for (start, len, there) in [
        (0, 0, false),
        (0, 1, true),
        (0, u64::MAX, true),
        (1, u64::MAX, false),
        (u64::MAX, 1, false),
        (u64::MAX - 1, 1, true),
        (5, 0, false),
    ] {
        let range = Range::new(start, len);
        assert_eq!(range.is_some(), there, "{len} from {start}");
        assert_eq!(Range::from_to(start, start.wrapping_add(len)), range);
        if let Some(range) = range {
            assert_eq!(
                (range.start(), range.len(), range.end()),
                (start, len, start + len)
            );
        }
    }
    assert_eq!(Range::from_to(2, 1), None);
}

/// Compares with sets of bytes, for all ranges within the first few.
#[test]
fn ranges_are_sets() {
    const END: u64 = 10;
    let all = || (0..END).flat_map(|start| (1..=END - start).map(move |len| range(start, len)));
    let set = |range: &Range| (range.start()..range.end()).collect::<BTreeSet<_>>();
    for a in all() {
        for b in all() {
            assert_eq!(a.contains(&b), set(&a).is_superset(&set(&b)), "{a:?} {b:?}");
            assert_eq!(
                a.overlaps(&b),
                !set(&a).is_disjoint(&set(&b)),
                "{a:?} {b:?}"
            );
        }
        for align in [1, 2, 4, 8, 16] {
            let blocks = (0..END).filter(|byte| {
                let block = byte / align * align;
                (block..block + align).all(|byte| set(&a).contains(&byte))
            });
            let expected: BTreeSet<_> = blocks.collect();
            let got = a.align_inwards(align).as_ref().map(set).unwrap_or_default();
            assert_eq!(got, expected, "{a:?} to {align}");
        }
    }
}

#[test]
fn alignment_at_the_end_of_the_address_space() {
    let last = range(u64::MAX - 4095, 4095);
    assert_eq!(last.align_inwards(4096), None);
    assert_eq!(range(u64::MAX - 4094, 4094).align_inwards(4096), None);
    assert_eq!(
        range(0, u64::MAX).align_inwards(1 << 63),
        Some(range(0, 1 << 63))
    );
}

#[test]
fn is_covered_by_several_in_any_order() {
    let range = |start, end| Range::from_to(start, end).unwrap();
    let ram = [range(30, 40), range(10, 20), range(20, 30), range(50, 60)];
    for (start, end, covered) in [
        (10, 40, true),
        (15, 35, true),
        (10, 11, true),
        (39, 40, true),
        (9, 11, false),
        (39, 41, false),
        (10, 60, false),
        (45, 46, false),
    ] {
        assert_eq!(
            range(start, end).is_covered_by(&ram),
            covered,
            "{start}-{end}"
        );
    }
    assert!(!range(10, 20).is_covered_by(&[]));
}

/// Compares with sets of bytes.
#[test]
fn largest_part_is_the_longest_run_of_blocks() {
    const END: u64 = 24;
    let ranges = |list: &[(u64, u64)]| -> Vec<_> {
        let range = |&(start, end)| Range::from_to(start, end).unwrap();
        list.iter().map(range).collect()
    };
    let rams = [
        &[][..],
        &[(0, 24)],
        &[(3, 9), (9, 14)],
        &[(12, 20), (1, 5)],
        &[(8, 12), (0, 8), (14, 24)],
    ];
    let takens = [
        &[][..],
        &[(0, 24)],
        &[(6, 7)],
        &[(10, 13), (2, 3)],
        &[(0, 4), (4, 8), (16, 17)],
    ];
    let asked = (0..END).flat_map(|start| (start + 1..=END).map(move |end| (start, end)));
    for (asked, ram, taken, align) in asked.flat_map(|asked| {
        rams.into_iter().flat_map(move |ram| {
            takens
                .into_iter()
                .flat_map(move |taken| [1, 2, 4, 8].map(|align| (asked, ram, taken, align)))
        })
    }) {
        let asked = Range::from_to(asked.0, asked.1).unwrap();
        let (ram, taken) = (ranges(ram), ranges(taken));
        let good = |byte: u64| {
            asked.has(byte)
                && ram.iter().any(|range| range.has(byte))
                && !taken.iter().any(|range| range.has(byte))
        };
        let mut longest = 0;
        let mut run = 0;
        for block in (0..END).step_by(align) {
            let all = (block..block + align as u64).all(good);
            run = if all { run + align as u64 } else { 0 };
            longest = longest.max(run);
        }
        let found = asked.largest_part(&ram, taken.iter().copied(), align as u64);
        let context = format!("{asked:?} {ram:?} {taken:?} {align}");
        assert_eq!(found.map_or(0, |part| part.len()), longest, "{context}");
        if let Some(part) = found {
            assert_eq!(part.align_inwards(align as u64), Some(part), "{context}");
            assert!((part.start()..part.end()).all(good), "{context}");
        }
    }
}
