// SPDX-License-Identifier: GPL-2.0

//! ACPI tables and page tables of whatever CPUs, host bridges and ranges.
//!
//! The input is what [`Numbers`] lists, and APIC IDs of 32 bits each.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mint_fuzz::input::Input;
use mint_unit::firmware::acpi::{decoy, write, Machine, XAPIC_ID_MAX};
use mint_unit::firmware::host_bridge::{ecam_of, HostBridge, MAX_BRIDGES};
use mint_unit::image::identity_map::{build, TABLE};
use mint_unit::image::kernel_image::Mode;
use mint_unit::memory::memmap::Range;
use mint_unit::memory_device::bus::{Bus, MAX_FUNCTIONS};
use std::collections::BTreeSet;

/// More than the tables of as many CPUs and host bridges need as an input has room for.
const ROOM: usize = 64 << 10;
const PAGE: u64 = 4096;
const LARGE_PAGE: u64 = 2 << 20;
/// A physical address has no more (Intel SDM volume 3, section 5.1.4).
const PHYSICAL_BITS: u32 = 52;
/// As many as the layout has room for.
const TABLES_MAX: usize = 32;

struct Numbers {
    at: u64,
    room: usize,
    ioapic: u32,
    sleep_register: u64,
    console: Option<u16>,
    tables_at: u64,
    tables: usize,
    ranges: Vec<Range>,
    bridges: Vec<HostBridge>,
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let numbers = Numbers {
        at: input.u64() >> (64 - PHYSICAL_BITS),
        room: input.u16().into(),
        ioapic: input.u32(),
        sleep_register: input.u64(),
        console: Some(input.u16()).filter(|&port| port != 0),
        tables_at: (input.u64() >> (64 - PHYSICAL_BITS)) & !(PAGE - 1),
        tables: usize::from(input.u8()) % (TABLES_MAX + 1),
        ranges: (0..input.u8() % 8)
            .filter_map(|_| Range::new(input.u64(), input.u64()))
            .collect(),
        bridges: (0..usize::from(input.u8()) % (MAX_BRIDGES + 2))
            .map(|_| host_bridge(&mut input))
            .collect(),
    };
    let mut cpus = Vec::new();
    while !input.is_empty() {
        cpus.push(input.u32());
    }
    check_acpi(&numbers, &cpus);
    check_identity_map(&numbers);
    check_bus(numbers.at);
    numbers.bridges.iter().for_each(check_reach);
});

fn host_bridge(input: &mut Input<'_>) -> HostBridge {
    HostBridge {
        segment: input.u16(),
        first_bus: input.u8(),
        last_bus: input.u8(),
        ecam: input.u64(),
        io: Range::new(input.u64(), input.u64()),
        memory: Range::new(input.u64(), input.u64()),
        prefetchable: Range::new(input.u64(), input.u64()),
    }
}

/// A bus made of memory at `at`, if one can be there, is where its host bridge says, and the functions
/// on it do not overlap.
fn check_bus(at: u64) {
    let area = Range::new(at, 2 << 20).unwrap();
    let bus = Bus::new(area);
    assert_eq!(bus.is_some(), at % (1 << 20) == 0);
    let Some(bus) = bus else {
        return;
    };
    let bridge = bus.host_bridge(1);
    check_reach(&bridge);
    let (ecam, window) = (ecam(&bridge).unwrap(), bridge.memory.unwrap());
    assert!(area.contains(&ecam) && area.contains(&window) && !ecam.overlaps(&window));
    let mut end = window.start();
    for slot in 0..=MAX_FUNCTIONS {
        let parts = [bus.config_page(slot), bus.bar(slot), bus.rom(slot)];
        let [Some(page), Some(bar), Some(rom)] = parts else {
            assert!(slot == MAX_FUNCTIONS && parts == [None; 3]);
            return;
        };
        assert_eq!(page.start() - ecam.start(), (slot as u64) << 15);
        assert!(ecam.contains(&page));
        assert!(end <= bar.start() && bar.end() <= rom.start());
        end = rom.end();
        assert!(end <= window.end());
    }
}

/// A 32-bit kernel has 32-bit addresses.
fn check_reach(bridge: &HostBridge) {
    let ecam = ecam(bridge);
    let last_bytes = [ecam, bridge.memory.or(ecam)].map(|range| range.map(|range| range.end() - 1));
    let in_reach = last_bytes.map(|last| last.is_some_and(|last| last <= u32::MAX.into()));
    assert_eq!(bridge.is_reached_in(Mode::Protected), in_reach == [true; 2]);
    assert_eq!(bridge.is_reached_in(Mode::Long), ecam.is_some());
}

/// The ECAM of all buses of `bridge`, if it has any.
fn ecam(bridge: &HostBridge) -> Option<Range> {
    let buses = (u64::from(bridge.last_bus) + 1).checked_sub(bridge.first_bus.into())?;
    let before = u64::from(bridge.first_bus) << 20;
    Range::new(bridge.ecam.checked_add(before)?, buses << 20)
}

fn check_acpi(numbers: &Numbers, cpus: &[u32]) {
    let decoy = decoy(|id| cpus.contains(&id));
    assert!(!cpus.contains(&decoy) && decoy != 255);
    let machine = Machine {
        cpus: cpus.iter().copied(),
        decoy,
        ioapic: numbers.ioapic,
        sleep_register: numbers.sleep_register,
        console: numbers.console,
        bridges: &numbers.bridges,
        power: None,
    };
    let mut memory = vec![0xa5; ROOM];
    let mut bridges = numbers.bridges.iter();
    let rsdp = write(&mut memory, numbers.at, &machine);
    let can_be = bridges.len() <= MAX_BRIDGES
        && bridges.all(|bridge| bridge.segment != 0 && ecam(bridge).is_some());
    assert_eq!(rsdp.is_some(), can_be);
    let Some(rsdp) = rsdp else {
        return;
    };
    let tables = Tables {
        memory: &memory,
        at: numbers.at,
    };
    let used = tables.check(rsdp, &machine, cpus);

    // With less room they are the same or none.
    let mut small = vec![0xa5; numbers.room];
    match write(&mut small, numbers.at, &machine) {
        Some(again) => {
            assert_eq!(again, rsdp);
            assert_eq!(small[..used], memory[..used]);
        }
        None => assert!(numbers.room < used),
    }
}

/// Tables in memory, from `at` on.
struct Tables<'a> {
    memory: &'a [u8],
    at: u64,
}

impl<'a> Tables<'a> {
    fn bytes(&self, address: u64, len: usize) -> &'a [u8] {
        &self.memory[(address - self.at) as usize..][..len]
    }

    /// The table at `address`, and where it ends.
    fn table(&self, signature: &[u8; 4], address: u64) -> (&'a [u8], usize) {
        let len = Input(self.bytes(address + 4, 4)).u32() as usize;
        let table = self.bytes(address, len);
        assert_eq!(&table[..4], signature);
        assert_eq!(sum(table), 0);
        (table, (address - self.at) as usize + len)
    }

    /// Checks all tables, by way of the addresses in them; returns where the last one ends.
    fn check<I>(&self, rsdp: u64, machine: &Machine<'_, I>, cpus: &[u32]) -> usize {
        let rsdp = self.bytes(rsdp, 36);
        assert_eq!((sum(&rsdp[..20]), sum(rsdp)), (0, 0));
        let (xsdt, xsdt_end) = self.table(b"XSDT", address(rsdp, 24));
        let in_mcfg = |bridge: &&HostBridge| bridge.ecam < 0xffff_ffff;
        let in_mcfg: Vec<_> = machine.bridges.iter().filter(in_mcfg).collect();
        let mut mcfg_end = 0;
        if in_mcfg.is_empty() {
            assert_eq!(xsdt.len(), 36 + 2 * 8);
        } else {
            assert_eq!(xsdt.len(), 36 + 3 * 8);
            let (mcfg, end) = self.table(b"MCFG", address(xsdt, 52));
            check_mcfg(mcfg, &in_mcfg);
            mcfg_end = end;
        }
        let (fadt, fadt_end) = self.table(b"FACP", address(xsdt, 36));
        let (madt, madt_end) = self.table(b"APIC", address(xsdt, 44));
        let (dsdt, dsdt_end) = self.table(b"DSDT", address(fadt, 140));
        assert_eq!(address(fadt, 248), machine.sleep_register);
        assert_eq!(address(fadt, 260), machine.sleep_register);
        if let Some(port) = machine.console {
            let port = port.to_le_bytes();
            let io = [&[0x47, 1][..], &port, &port, &[1, 8]].concat();
            assert!(dsdt.windows(io.len()).any(|window| window == io));
        }
        check_madt(madt, machine, cpus);
        check_bridges(dsdt, machine.bridges);
        [xsdt_end, fadt_end, madt_end, dsdt_end, mcfg_end]
            .into_iter()
            .max()
            .unwrap()
    }
}

/// The MCFG lists `bridges`, and nothing else.
fn check_mcfg(mcfg: &[u8], bridges: &[&HostBridge]) {
    let mut entries = Input(&mcfg[36..]);
    assert_eq!(entries.u64(), 0);
    for bridge in bridges {
        assert_eq!(entries.u64(), bridge.ecam);
        assert_eq!(entries.u16(), bridge.segment);
        assert_eq!(entries.u8(), bridge.first_bus);
        assert_eq!(entries.u8(), bridge.last_bus);
        assert_eq!(entries.u32(), 0);
    }
    assert!(entries.is_empty());
    // As Mint would find it there.
    for bridge in bridges {
        let mut same = bridges.iter().filter(|other| {
            other.segment == bridge.segment
                && (other.first_bus..=other.last_bus).contains(&bridge.first_bus)
                && other.ecam != 0
        });
        assert_eq!(
            ecam_of(mcfg, bridge.segment, bridge.first_bus),
            same.next().map(|bridge| bridge.ecam)
        );
    }
}

/// The DSDT has the ECAM of all bridges, then each one's name, buses and windows, in their order.
fn check_bridges(dsdt: &[u8], bridges: &[HostBridge]) {
    let mut rest = dsdt;
    let mut expect = |bytes: &[u8]| {
        let mut windows = rest.windows(bytes.len());
        let at = windows.position(|window| window == bytes).unwrap();
        rest = &rest[at + bytes.len()..];
    };
    for bridge in bridges {
        expect(&qword_space([0, 0x0d, 1], &ecam(bridge).unwrap()));
    }
    for (index, bridge) in bridges.iter().enumerate() {
        expect(format!("PC{index:02X}").as_bytes());
        let (first, last) = (bridge.first_bus, bridge.last_bus);
        let count = (u16::from(last - first) + 1).to_le_bytes();
        let bus = [0x88, 13, 0, 2, 0x0c, 0, 0, 0, first, 0, last, 0, 0, 0];
        expect(&[&bus[..], &count].concat());
        for (kind, window) in [
            ([1, 0x0c, 3], bridge.io),
            ([0, 0x0c, 1], bridge.memory),
            ([0, 0x0c, 7], bridge.prefetchable),
        ] {
            if let Some(window) = window {
                expect(&qword_space(kind, &window));
            }
        }
    }
}

/// ACPI specification, 6.4.3.5.1, "QWord Address Space Descriptor".
fn qword_space(kind: [u8; 3], range: &Range) -> Vec<u8> {
    let mut bytes = [&[0x8a, 43, 0][..], &kind].concat();
    for field in [0, range.start(), range.end() - 1, 0, range.len()] {
        bytes.extend(field.to_le_bytes());
    }
    bytes
}

/// The MADT lists the decoy, each CPU once in its order, and one I/O APIC.
fn check_madt<I>(madt: &[u8], machine: &Machine<'_, I>, cpus: &[u32]) {
    let mut entries = Input(&madt[44..]);
    let mut listed = Vec::new();
    loop {
        let (kind, len) = (entries.u8(), entries.u8());
        match (kind, len) {
            (0, 8) => {
                let (uid, id, flags) = (entries.u8(), entries.u8(), entries.u32());
                assert!(uid == id && u32::from(id) <= XAPIC_ID_MAX);
                listed.push((u32::from(id), flags));
            }
            (9, 16) => {
                assert_eq!(entries.u16(), 0);
                let (id, flags, uid) = (entries.u32(), entries.u32(), entries.u32());
                assert!(uid == id && id > XAPIC_ID_MAX);
                listed.push((id, flags));
            }
            _ => {
                assert_eq!((kind, len, entries.u16()), (1, 12, 0));
                assert_eq!((entries.u32(), entries.u32()), (machine.ioapic, 0));
                assert!(entries.is_empty());
                break;
            }
        }
    }
    let enabled = cpus.iter().map(|&id| (id, 1));
    let expected: Vec<_> = std::iter::once((machine.decoy, 2)).chain(enabled).collect();
    assert_eq!(listed, expected);
}

fn check_identity_map(numbers: &Numbers) {
    let Numbers {
        tables_at,
        tables,
        ranges,
        ..
    } = numbers;
    // They are memory.
    if tables_at + (tables * TABLE) as u64 > 1 << PHYSICAL_BITS {
        return;
    }
    let mut memory = vec![0xa5; tables * TABLE];
    let built = build(&mut memory, *tables_at, ranges);
    let mappable = ranges.iter().all(|range| range.end() <= 1 << 46);
    assert_eq!(built.is_some(), mappable && tables_needed(ranges) < *tables);
    if built.is_none() {
        return;
    }
    let walk = |address| walk(&memory, *tables_at, address);
    for range in ranges {
        for address in [
            range.start(),
            range.start() + range.len() / 2,
            range.end() - 1,
        ] {
            assert_eq!(walk(address), Some(address));
        }
        // And nothing on either side, but for a page that another range is in.
        let page = range.start() / LARGE_PAGE;
        for page in [
            page.checked_sub(1),
            Some((range.end() - 1) / LARGE_PAGE + 1),
        ] {
            let Some(page) = page.and_then(|page| Range::new(page * LARGE_PAGE, LARGE_PAGE)) else {
                continue;
            };
            let mapped = page.end() <= 1 << 46 && walk(page.start()).is_some();
            assert_eq!(mapped, ranges.iter().any(|range| range.overlaps(&page)));
        }
    }
}

/// Tables below the root for `ranges`: one for each 512 GiB, one for each 1 GiB; or too many.
fn tables_needed(ranges: &[Range]) -> usize {
    let mut tables = BTreeSet::new();
    for range in ranges {
        for shift in [39, 30] {
            for number in range.start() >> shift..=(range.end() - 1) >> shift {
                tables.insert((shift, number));
                if tables.len() > TABLES_MAX {
                    return tables.len();
                }
            }
        }
    }
    tables.len()
}

/// Where `address` is translated to (Intel SDM volume 3, section 5.5 "4-level paging").
fn walk(tables: &[u8], tables_at: u64, address: u64) -> Option<u64> {
    let mut table = &tables[..TABLE];
    for shift in [39, 30, 21] {
        let entry = Input(&table[(address >> shift) as usize % 512 * 8..]).u64();
        if entry & 1 == 0 {
            return None;
        }
        assert_eq!(entry & 0xfff, if shift == 21 { 0x83 } else { 0x03 });
        let at = entry & !0xfff;
        if shift == 21 {
            return Some(at | address & (LARGE_PAGE - 1));
        }
        table = &tables[(at - tables_at) as usize..][..TABLE];
    }
    None
}

fn address(table: &[u8], offset: usize) -> u64 {
    Input(&table[offset..]).u64()
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}
