// SPDX-License-Identifier: GPL-2.0

//! The bus made of memory: where its parts are, by the formulas of the specifications.

use mint_unit::image::kernel_image::Mode;
use mint_unit::memory::memmap::Range;
use mint_unit::memory_device::bus::{Bus, AREA_LEN, BAR_LEN, MAX_FUNCTIONS, ROM_LEN};

const M: u64 = 1 << 20;
const G: u64 = 1 << 30;

fn range(start: u64, len: u64) -> Range {
    Range::new(start, len).unwrap()
}

#[test]
fn areas() {
    for (start, len, is_one) in [
        (G + M, 2 * M, true),
        (G, 2 * M, true),
        (0, 2 * M, true),
        ((1 << 52) - 2 * M, 2 * M, true),
        (u64::MAX - 3 * M + 1, 2 * M, true),
        (G + M / 2, 2 * M, false),
        (G + 4096, 2 * M, false),
        (G + 1, 2 * M, false),
        (G, M, false),
        (G, 2 * M - 1, false),
        (G, 3 * M, false),
    ] {
        let area = range(start, len);
        let bus = Bus::new(area);
        assert_eq!(
            bus.map(|bus| bus.area()),
            is_one.then_some(area),
            "{area:x?}"
        );
    }
    assert_eq!(AREA_LEN, 2 * M);
}

/// PCI Express Base Specification, table 7-1: bits 20 to 27 of an address in the ECAM are the bus, 15 to
/// 19 the device, 12 to 14 the function.
#[test]
fn each_function_has_its_own_registers() {
    for start in [G + M, 0, 1 << 40, u64::MAX - 3 * M + 1] {
        let area = range(start, 2 * M);
        let bus = Bus::new(area).unwrap();
        assert_eq!(bus.ecam(), range(start, M));
        assert_eq!(bus.window(), range(start + M, M));
        let mut taken = Vec::new();
        for slot in 0..32 {
            let config = bus.config_page(slot).unwrap();
            assert_eq!(config, range(start + ((slot as u64) << 15), 4096));
            let (bar, rom) = (bus.bar(slot).unwrap(), bus.rom(slot).unwrap());
            assert_eq!((bar.len(), rom.len()), (16 << 10, 2 << 10));
            assert_eq!((bar.len(), rom.len()), (BAR_LEN, ROM_LEN));
            // As the hardware of a BAR and of a ROM would have it.
            assert_eq!((bar.start() % bar.len(), rom.start() % rom.len()), (0, 0));
            assert!(bus.window().contains(&bar) && bus.window().contains(&rom));
            taken.extend([config, bar, rom]);
        }
        for (index, one) in taken.iter().enumerate() {
            assert!(area.contains(one));
            assert!(taken[..index].iter().all(|other| !other.overlaps(one)));
        }
        for slot in [32, 33, 255, 256, 1 << 17, 1 << 49, usize::MAX] {
            assert_eq!(bus.config_page(slot), None);
            assert_eq!(bus.bar(slot), None);
            assert_eq!(bus.rom(slot), None);
        }
    }
    assert_eq!(MAX_FUNCTIONS, 32);
}

#[test]
fn host_bridges() {
    for (start, in_reach) in [
        (G, true),
        (4 * G - 2 * M, true),
        // The ECAM alone.
        (4 * G - M, false),
        (4 * G, false),
        (1 << 40, false),
    ] {
        let bus = Bus::new(range(start, 2 * M)).unwrap();
        let bridge = bus.host_bridge(7);
        assert_eq!(bridge.segment, 7);
        assert_eq!(bridge.ecam_range(), Some(bus.ecam()));
        assert_eq!(bridge.memory, Some(bus.window()));
        assert_eq!((bridge.io, bridge.prefetchable), (None, None));
        assert_eq!(bridge.is_reached_in(Mode::Protected), in_reach);
        assert!(bridge.is_reached_in(Mode::Long));
    }
}
