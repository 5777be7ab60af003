// SPDX-License-Identifier: GPL-2.0

//! Virtual addresses of kernels that never ran, translated by their page tables.

#[path = "common/kernel.rs"]
mod kernel;

use kernel::{note, Kernel, Paging, ALL_PAGING, IMAGE_MAP, PAGE, TOP_TABLE};
use mint_unit::postmortem::page_walk::{AddressSpace, Error};
use mint_unit::postmortem::vmcoreinfo::{self, VmcoreInfo};

const M: u64 = 1 << 20;
const G: u64 = 1 << 30;

fn space(kernel: &mut Kernel) -> Result<AddressSpace, Error> {
    let note = kernel.write_note("");
    AddressSpace::new(&mut kernel.memory, &VmcoreInfo::parse(&note).unwrap())
}

#[test]
fn image_and_direct_map() {
    for paging in ALL_PAGING {
        let mut kernel = Kernel::new(paging);
        let space = space(&mut kernel).unwrap();
        let start = kernel.memory.start;
        for at in [0, 1, 0x1000, 0x1_fffe] {
            let address = kernel.image(at);
            let got = space.translate(&mut kernel.memory, address);
            assert_eq!(got, Ok(kernel.image_physical(at)), "{paging:?}");
        }
        for at in [0, 1, 0x1f_ffff, 0x20_0000, 0x3f_ffff] {
            let got = space.translate(&mut kernel.memory, kernel.page_offset + start + at);
            assert_eq!(got, Ok(start + at), "{paging:?}");
        }
        let holes = [
            kernel.page_offset + start - 1,
            kernel.page_offset + start + 4 * M,
        ];
        for hole in holes {
            let got = space.translate(&mut kernel.memory, hole);
            assert_eq!(got, Err(Error::NotMapped(hole)), "{paging:?}");
        }
    }
}

#[test]
fn pages_of_all_sizes() {
    // Where in the address space, the page's size, and what it is mapped to: more than there is.
    let cases: &[(Paging, u64, u32, u64)] = &[
        (
            Paging::FiveLevels,
            0xffa1_2345_6789_a000,
            12,
            0xf_edcb_a987_6000,
        ),
        (
            Paging::FiveLevels,
            0xffd2_3456_7820_0000,
            21,
            0xf_edcb_a9a0_0000,
        ),
        (
            Paging::FiveLevels,
            0xff11_0000_4000_0000,
            30,
            0xf_edcb_8000_0000,
        ),
        (Paging::FiveLevels, 0x00ff_ffff_ffff_f000, 12, 0x1234_5000),
        (
            Paging::FourLevels,
            0xffff_c900_0000_1000,
            12,
            0xf_edcb_a987_6000,
        ),
        (
            Paging::FourLevels,
            0xffff_ea00_0020_0000,
            21,
            0xf_edcb_a9a0_0000,
        ),
        (
            Paging::FourLevels,
            0xffff_8880_4000_0000,
            30,
            0xf_edcb_8000_0000,
        ),
        (Paging::FourLevels, 0x0000_7fff_ffff_f000, 12, 0x1234_5000),
        (Paging::Pae, 0xf7e0_1000, 12, 0xf_edcb_a987_6000),
        (Paging::Pae, 0xffe0_0000, 21, 0xf_edcb_a9a0_0000),
        (Paging::Pae, 0x0000_0000, 12, 0x1234_5000),
        (Paging::TwoLevels, 0xf7e0_1000, 12, 0xfedc_b000),
        (Paging::TwoLevels, 0xffc0_0000, 22, 0xfec0_0000),
    ];
    for &(paging, address, bits, physical) in cases {
        let mut kernel = Kernel::new(paging);
        kernel.map(address, physical, bits);
        let space = space(&mut kernel).unwrap();
        for at in [0, 1, (1 << bits) - 1] {
            let got = space.translate(&mut kernel.memory, address + at);
            assert_eq!(got, Ok(physical + at), "{paging:?} {address:#x}");
        }
        // PAT is bit 12 where a page is large, and bit 7 where not.
        kernel.entry(address, bits, |memory, at, _| {
            let at = (at - memory.start) as usize;
            memory.bytes[at] |= 0x80;
            memory.bytes[at + 1] |= if bits > 12 { 0x10 } else { 0 };
        });
        let got = space.translate(&mut kernel.memory, address + 5);
        assert_eq!(got, Ok(physical + 5), "{paging:?} {address:#x}");
        // Not present, whatever else is in the entry.
        kernel.entry(address, bits, |memory, at, _| {
            let at = (at - memory.start) as usize;
            memory.bytes[at] &= !1;
        });
        let got = space.translate(&mut kernel.memory, address + 5);
        assert_eq!(got, Err(Error::NotMapped(address + 5)));
    }
}

#[test]
fn a_bit_that_means_large_elsewhere_is_reserved() {
    // In the top table of PAE, and of 4 levels.
    for (paging, bits) in [(Paging::Pae, 30), (Paging::FourLevels, 39)] {
        let mut kernel = Kernel::new(paging);
        let space = space(&mut kernel).unwrap();
        kernel.entry(kernel.page_offset, bits, |memory, at, _| {
            let at = (at - memory.start) as usize;
            memory.bytes[at] |= 0x80;
        });
        let address = kernel.page_offset + kernel.memory.start;
        let got = space.translate(&mut kernel.memory, address);
        assert_eq!(got, Ok(kernel.memory.start), "{paging:?}");
    }
}

#[test]
fn addresses_that_no_processor_knows() {
    for (paging, addresses) in [
        (
            Paging::FiveLevels,
            [1 << 56, 0xfeff_ffff_ffff_ffff, 0x8000_0000_0000_0000],
        ),
        (
            Paging::FourLevels,
            [1 << 47, 0xffff_7fff_ffff_ffff, 0xff80_0000_0000_0000],
        ),
        (Paging::Pae, [1 << 32, u64::MAX, IMAGE_MAP]),
        (Paging::TwoLevels, [1 << 32, u64::MAX, IMAGE_MAP]),
    ] {
        let mut kernel = Kernel::new(paging);
        let space = space(&mut kernel).unwrap();
        for address in addresses {
            let got = space.translate(&mut kernel.memory, address);
            assert_eq!(got, Err(Error::NotCanonical(address)), "{paging:?}");
        }
    }
}

#[test]
fn tables_outside_the_memory() {
    for paging in ALL_PAGING {
        let mut kernel = Kernel::new(paging);
        let space = space(&mut kernel).unwrap();
        let address = kernel.page_offset + kernel.memory.start;
        let top = match paging {
            Paging::FiveLevels => 48,
            Paging::FourLevels => 39,
            Paging::Pae => 30,
            Paging::TwoLevels => 22,
        };
        kernel.entry(address, top, |memory, at, len| {
            memory.put(at, &0x7fff_f067u64.to_le_bytes()[..len as usize]);
        });
        let got = space.translate(&mut kernel.memory, address);
        assert!(
            matches!(got, Err(Error::Outside(at)) if at & !0xfff == 0x7fff_f000),
            "{paging:?} {got:x?}"
        );
    }
}

#[test]
fn page_offset() {
    for paging in ALL_PAGING {
        let mut kernel = Kernel::new(paging);
        let space = space(&mut kernel).unwrap();
        let reads = kernel.memory.reads;
        let got = space.page_offset(&mut kernel.memory);
        assert_eq!(got, Some(paging.page_offset()), "{paging:?}");
        assert!(kernel.memory.reads - reads < 12_000);
    }
    // Any that kernel_randomize_memory() could choose.
    for (paging, page_offset) in [
        (Paging::FiveLevels, 0xff11_0000_0000_0000),
        (Paging::FiveLevels, 0xffd0_ffff_c000_0000),
        (Paging::FourLevels, 0xffff_8880_0000_0000),
        (Paging::FourLevels, 0xffff_f000_4000_0000),
    ] {
        let mut kernel = Kernel::at(paging, 0x40_0000, page_offset);
        let space = space(&mut kernel).unwrap();
        let got = space.page_offset(&mut kernel.memory);
        assert_eq!(got, Some(page_offset), "{paging:?}");
    }
    // All choices of CONFIG_VMSPLIT_*.
    for paging in [Paging::Pae, Paging::TwoLevels] {
        for page_offset in [
            0xc000_0000,
            0xb000_0000,
            0x8000_0000,
            0x7800_0000,
            0x4000_0000,
        ] {
            let mut kernel = Kernel::at(paging, 0x100_0000, page_offset);
            let space = space(&mut kernel).unwrap();
            let got = space.page_offset(&mut kernel.memory);
            assert_eq!(got, Some(page_offset), "{paging:?}");
        }
    }
}

#[test]
fn page_offset_that_can_not_be_found() {
    for paging in [Paging::FiveLevels, Paging::FourLevels] {
        // Something else lies lower.
        let mut kernel = Kernel::new(paging);
        kernel.map(kernel.page_offset - 512 * G, 0x1000, 12);
        let space = space(&mut kernel).unwrap();
        assert_eq!(space.page_offset(&mut kernel.memory), None, "{paging:?}");

        // The tables of the direct map are gone, and each entry of the top table leads to itself.
        let mut kernel = Kernel::new(paging);
        let note = kernel.write_note("");
        let info = VmcoreInfo::parse(&note).unwrap();
        let space = AddressSpace::new(&mut kernel.memory, &info).unwrap();
        for entry in 256..512 {
            let at = kernel.root + entry * 8;
            let itself = kernel.root | 0x67;
            kernel.memory.put(at, &itself.to_le_bytes());
        }
        let reads = kernel.memory.reads;
        assert_eq!(space.page_offset(&mut kernel.memory), None, "{paging:?}");
        assert!(kernel.memory.reads - reads < 12_000);
    }
}

#[test]
fn reads_across_pages() {
    for paging in ALL_PAGING {
        let mut kernel = Kernel::new(paging);
        // Neighbours that are not neighbours in memory.
        let address = if paging.is_64() {
            0xffff_ffff_ff00_0000
        } else {
            0xff00_0000
        };
        let start = kernel.memory.start;
        kernel.map(address, start + 0x30_0000, 12);
        kernel.map(address + PAGE, start + 0x20_0000, 12);
        let whole: Vec<u8> = (0..2 * PAGE).map(|at| (at % 251) as u8).collect();
        kernel.memory.put(start + 0x30_0000, &whole[..4096]);
        kernel.memory.put(start + 0x20_0000, &whole[4096..]);
        let space = space(&mut kernel).unwrap();
        for (at, len) in [
            (0, 8192),
            (0, 0),
            (4095, 2),
            (4090, 6),
            (4096, 1),
            (1, 8191),
        ] {
            let mut out = vec![0; len];
            let got = space.read(&mut kernel.memory, address + at as u64, &mut out);
            assert_eq!(got, Ok(()));
            assert_eq!(out, whole[at..at + len]);
        }
        let mut out = [0; 2];
        let end = address + 2 * PAGE;
        let got = space.read(&mut kernel.memory, end - 1, &mut out);
        assert_eq!(got, Err(Error::NotMapped(end)));
    }
}

#[test]
fn reads_at_the_end_of_all_addresses() {
    let mut kernel = Kernel::new(Paging::FourLevels);
    let start = kernel.memory.start;
    kernel.map(0u64.wrapping_sub(PAGE), start, 12);
    let space = space(&mut kernel).unwrap();
    let got = space.read(&mut kernel.memory, u64::MAX, &mut [0; 2]);
    assert_eq!(got, Err(Error::NotMapped(0)));
}

#[test]
fn kernels_that_are_refused() {
    let new = |kernel: &mut Kernel, text: &str| {
        let note = note(text.as_bytes());
        AddressSpace::new(&mut kernel.memory, &VmcoreInfo::parse(&note).unwrap())
    };
    for paging in [Paging::FiveLevels, Paging::FourLevels] {
        let mut kernel = Kernel::new(paging);
        let good = kernel.paging_info();
        let address = kernel.image(TOP_TABLE);
        assert!(new(&mut kernel, &good).is_ok());
        let bad = good.replace("sme_mask)=0", "sme_mask)=140737488355328");
        assert_eq!(
            new(&mut kernel, &bad).err(),
            Some(Error::Encrypted(1 << 47))
        );
        // Kernels before 4.20 did not say.
        assert!(new(&mut kernel, &good.replace("sme_mask", "other")).is_ok());
        for base in [0, 0x1000, i64::MIN, i64::MAX, -0x7fff_ffff] {
            let was = format!("phys_base)={}", kernel.phys_base);
            let bad = good.replace(&was, &format!("phys_base)={base}"));
            assert_ne!(bad, good);
            assert_eq!(
                new(&mut kernel, &bad).err(),
                Some(Error::NoTables { address })
            );
        }
        let levels = u8::from(paging == Paging::FiveLevels);
        let bad = good.replace(
            &format!("enabled)={levels}"),
            &format!("enabled)={}", 1 - levels),
        );
        assert_ne!(bad, good);
        assert_eq!(
            new(&mut kernel, &bad).err(),
            Some(Error::NoTables { address })
        );
        let bad = good.replace(&format!("init_top_pgt)={address:x}"), "init_top_pgt)=1000");
        assert_eq!(
            new(&mut kernel, &bad).err(),
            Some(Error::NoTables { address: 0x1000 })
        );
    }
    for paging in [Paging::Pae, Paging::TwoLevels] {
        let mut kernel = Kernel::new(paging);
        let good = kernel.paging_info();
        let address = kernel.image(TOP_TABLE);
        let bad = if paging == Paging::Pae {
            good.replace("CONFIG_X86_PAE=y\n", "")
        } else {
            good.clone() + "CONFIG_X86_PAE=y\n"
        };
        assert!(new(&mut kernel, &good).is_ok());
        assert_eq!(
            new(&mut kernel, &bad).err(),
            Some(Error::NoTables { address })
        );
    }
    let mut kernel = Kernel::new(Paging::Pae);
    assert_eq!(
        new(&mut kernel, "OSRELEASE=1\n").err(),
        Some(Error::Info(vmcoreinfo::Error::Architecture))
    );
}
