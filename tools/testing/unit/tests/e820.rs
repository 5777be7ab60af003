// SPDX-License-Identifier: GPL-2.0

//! The memory map: what is in it, and each entry as linux-loader reads it.

#[path = "common/image.rs"]
mod image;
#[path = "common/parts.rs"]
mod parts;

use linux_loader::loader::bootparam::boot_e820_entry;
use mint_unit::firmware::e820::{map, Entry, Kind, ENTRY_LEN};
use mint_unit::firmware::host_bridge::{HostBridge, MAX_BRIDGES};
use mint_unit::image::layout::{plan, Low};
use mint_unit::memory::memmap::Range;

fn range(start: u64, len: u64) -> Range {
    Range::new(start, len).unwrap()
}

#[test]
fn entries() {
    // E820_TYPE_RAM, _RESERVED and _ACPI of arch/x86/include/asm/e820/types.h.
    for (kind, type_) in [(Kind::Ram, 1), (Kind::Reserved, 2), (Kind::Acpi, 3)] {
        for (start, len) in [(0, 1), (0x1234_5678_9abc_d000, 0xfed_cba9_8765_4000)] {
            let entry = Entry {
                range: range(start, len),
                kind,
            };
            let (addr, size) = (start, len);
            let expected = boot_e820_entry { addr, size, type_ };
            let bytes = entry.to_bytes();
            assert_eq!(bytes.len(), size_of::<boot_e820_entry>());
            assert_eq!(bytes.len(), ENTRY_LEN);
            let got = boot_e820_entry {
                addr: u64::from_le_bytes(bytes[0..8].try_into().unwrap()),
                size: u64::from_le_bytes(bytes[8..16].try_into().unwrap()),
                type_: u32::from_le_bytes(bytes[16..20].try_into().unwrap()),
            };
            assert_eq!(got, expected);
        }
    }
}

#[test]
fn a_successor_is_told_of_its_own_memory_and_nothing_else() {
    let image = mint_unit::image::bzimage::parse(&image::minimal()).unwrap();
    let (trampoline, low) = (range(0x3_0000, 0x1000), range(0x5_0000, 0x8000));
    for (start, len) in [(1 << 30, 256 << 20), (1 << 40, 1 << 36)] {
        let whole = range(start, len);
        let layout = plan(
            whole,
            Low::new(trampoline, low).unwrap(),
            &image,
            12345,
            false,
        )
        .unwrap();
        let entries: Vec<_> = map(&layout, &[]).collect();
        for pair in entries.windows(2) {
            assert!(pair[0].range.end() <= pair[1].range.start(), "{entries:x?}");
        }
        let told: u64 = entries.iter().map(|entry| entry.range.len()).sum();
        assert_eq!(told, low.len() + len);
        for entry in &entries {
            assert!(low.contains(&entry.range) || whole.contains(&entry.range));
        }

        let kind = |what: Range| {
            let entry = entries.iter().find(|entry| entry.range.contains(&what));
            entry.map(|entry| entry.kind)
        };
        assert_eq!(kind(layout.kernel), Some(Kind::Ram));
        assert_eq!(kind(layout.initrd.unwrap()), Some(Kind::Ram));
        // What the kernel would otherwise give away before it has read it.
        for ours in parts::all(&layout) {
            assert_eq!(kind(ours), Some(Kind::Acpi));
        }
        assert!(entries
            .iter()
            .all(|entry| !entry.range.overlaps(&trampoline)));
    }
}

#[test]
fn the_configuration_space_of_its_devices_is_reserved() {
    let image = mint_unit::image::bzimage::parse(&image::minimal()).unwrap();
    let low = Low::new(range(0x3_0000, 0x1000), range(0x5_0000, 0x8000)).unwrap();
    let layout = plan(range(1 << 30, 256 << 20), low, &image, 12345, false).unwrap();
    let memory: Vec<_> = map(&layout, &[]).collect();
    let bridge = |i: u8| HostBridge {
        segment: 1 + u16::from(i),
        first_bus: 2 * i,
        last_bus: 2 * i + 1,
        ecam: 0xb000_0000,
        io: Some(range(0x1000, 0x1000)),
        memory: Some(range(0xc000_0000, 1 << 20)),
        prefetchable: Some(range(1 << 40, 1 << 30)),
    };
    let bridges: Vec<_> = (0..MAX_BRIDGES as u8).map(bridge).collect();
    for count in [0, 1, 2, MAX_BRIDGES] {
        let entries: Vec<_> = map(&layout, &bridges[..count]).collect();
        let (before, ecam) = entries.split_at(memory.len());
        assert_eq!(before, memory);
        assert_eq!(ecam.len(), count);
        for (i, entry) in (0..).zip(ecam) {
            let expected = range(0xb000_0000 + (i << 21), 2 << 20);
            assert_eq!((entry.range, entry.kind), (expected, Kind::Reserved));
        }
    }
}
