// SPDX-License-Identifier: GPL-2.0

//! Layouts: what holds for every one, whatever the range, the kernel and the initrd.

#[path = "common/image.rs"]
mod image;
#[path = "common/parts.rs"]
mod parts;
#[path = "common/rng.rs"]
mod rng;

use mint_unit::image::bzimage::parse;
use mint_unit::image::identity_map;
use mint_unit::image::kernel_image::{KernelImage, Mode};
use mint_unit::image::layout::{
    self, limit, Error, Layout, Low, END_32, LOW_END, LOW_RAM_START, PAGE, RANGE_ALIGN,
    REAL_MODE_LEN,
};
use mint_unit::memory::memmap::Range;
use rng::Rng;

const M: u64 = 1 << 20;
const G: u64 = 1 << 30;

fn range(start: u64, len: u64) -> Range {
    Range::new(start, len).unwrap()
}

fn low() -> Low {
    Low::new(range(0x2_0000, PAGE), range(0x2_1000, REAL_MODE_LEN)).unwrap()
}

/// A kernel like Debian's.
fn kernel() -> KernelImage {
    kernel_but(|_| ())
}

/// A kernel like Debian's, but for what `change` does to it.
fn kernel_but(change: impl FnOnce(&mut KernelImage)) -> KernelImage {
    let mut image = parse(&image::minimal()).unwrap();
    image.init_size = 60 * M;
    change(&mut image);
    image
}

/// A layout without a bus.
fn plan(range: Range, low: Low, image: &KernelImage, initrd_len: u64) -> Result<Layout, Error> {
    layout::plan(range, low, image, initrd_len, false)
}

/// All that must be true of `layout`.
fn check(layout: &Layout, range: Range, image: &KernelImage, initrd_len: u64, has_bus: bool) {
    // The parts, which together are the range.
    assert_eq!(layout.firmware.start(), range.start());
    let bus_end = match layout.bus {
        Some(bus) => {
            assert_eq!(bus.start(), layout.firmware.end());
            assert_eq!((bus.start() % M, bus.len()), (0, 2 * M), "{layout:x?}");
            bus.end()
        }
        None => layout.firmware.end(),
    };
    assert_eq!(layout.bus.is_some(), has_bus);
    assert_eq!(bus_end, layout.ram.start());
    assert_eq!(layout.ram.end(), range.end());
    assert_eq!(layout.range(), range);

    let firmware: Vec<_> = parts::all(layout).collect();
    let ram: Vec<_> = [Some(layout.kernel), layout.initrd]
        .into_iter()
        .flatten()
        .collect();
    for (whole, parts) in [(layout.firmware, &firmware[..]), (layout.ram, &ram)] {
        for (index, part) in parts.iter().enumerate() {
            assert!(whole.contains(part), "{layout:x?}");
            assert_eq!(part.start() % PAGE, 0, "{layout:x?}");
            assert!(
                parts[..index].iter().all(|other| !other.overlaps(part)),
                "{layout:x?}"
            );
        }
    }
    for page in parts::pages(layout) {
        assert_eq!(page.len(), PAGE);
    }
    assert_eq!(layout.page_tables.len() % PAGE, 0);

    // Documentation/arch/x86/boot.rst: where the kernel runs, and what it needs there.
    assert_eq!(layout.kernel.start() % image.alignment, 0);
    assert!(layout.kernel.start() >= image.pref_address);
    assert_eq!(layout.kernel.len(), image.init_size);
    assert_eq!(layout.initrd.map_or(0, |initrd| initrd.len()), initrd_len);
    if !image.above_4g {
        assert!(range.end() <= 4 * G);
        assert!(layout
            .initrd
            .is_none_or(|initrd| initrd.end() - 1 <= image.initrd_addr_max));
    }

    // The page tables that it is entered with have room, however large it is.
    let mapped = [Range::new(0, PAGE).unwrap(), layout.firmware, layout.kernel];
    if range.end() <= 1 << 46 {
        let mut tables = vec![0; layout.page_tables.len() as usize];
        let at = layout.page_tables.start();
        identity_map::build(&mut tables, at, &mapped).unwrap();
    }
}

#[test]
fn whatever_is_asked_for() {
    let mut rng = Rng(3);
    let (mut fits, mut too_small, mut other) = (0, 0, 0);
    for _ in 0..50_000 {
        // A few bits of any magnitude, so that borders are met often.
        let mut number = |bits: u64| {
            let wide = rng.next() >> (64 - bits) >> rng.below(bits);
            wide & (!0 << rng.below(bits))
        };
        let mut image = kernel();
        image.alignment = 1 << (12 + number(8) % 20);
        image.pref_address = number(48);
        image.init_size = number(32).max(1);
        image.above_4g = number(2) != 0;
        if number(2) == 0 {
            image.mode = Mode::Protected;
            image.above_4g = false;
        }
        image.initrd_addr_max = number(32);
        let initrd_len = number(40);
        let start = number(48) / RANGE_ALIGN * RANGE_ALIGN;
        let len = number(42) / RANGE_ALIGN * RANGE_ALIGN;
        let Some(range) = Range::new(start, len) else {
            continue;
        };
        let has_bus = rng.below(2) == 0;
        match layout::plan(range, low(), &image, initrd_len, has_bus) {
            Ok(layout) => {
                check(&layout, range, &image, initrd_len, has_bus);
                fits += 1;
            }
            Err(Error::TooSmall { needed, len: told }) => {
                assert!(told == len && needed > len);
                exact(start, needed, &image, initrd_len, has_bus);
                too_small += 1;
            }
            Err(Error::Above4G) => {
                assert!(!image.above_4g && range.end() > 4 * G);
                other += 1;
            }
            Err(Error::TooHighFor32Bit) => {
                assert!(image.mode == Mode::Protected && range.end() > END_32);
                other += 1;
            }
            Err(Error::InitrdTooHigh { max }) => {
                assert!(!image.above_4g && max == image.initrd_addr_max);
                assert!(range.end() > max && initrd_len > 0);
                other += 1;
            }
            Err(Error::Unaligned) => panic!("{range:x?} is aligned"),
        }
    }
    assert!(
        fits > 2000 && too_small > 2000 && other > 500,
        "{fits} {too_small} {other}"
    );
}

/// `needed` bytes from `start` on are enough, and 2 MiB less are not.
fn exact(start: u64, needed: u64, image: &KernelImage, initrd_len: u64, has_bus: bool) {
    let with = |len| {
        let range = Range::new(start, len)?;
        let layout = layout::plan(range, low(), image, initrd_len, has_bus);
        Some((range, layout))
    };
    match with(needed).unwrap() {
        (range, Ok(layout)) => check(&layout, range, image, initrd_len, has_bus),
        (_, Err(Error::Above4G | Error::TooHighFor32Bit | Error::InitrdTooHigh { .. })) => {}
        (_, Err(error)) => panic!("{needed:#x} bytes from {start:#x} on: {error:?}"),
    }
    match with(needed - RANGE_ALIGN) {
        None | Some((_, Err(Error::TooSmall { .. } | Error::Above4G))) => {}
        Some((range, result)) => panic!("{range:x?}: {result:x?}"),
    }
}

#[test]
fn least_length() {
    // 1 MiB for the firmware, up to the next multiple of 2 MiB, 60 MiB for the kernel; then the
    // initrd's pages. A bus takes 2 MiB more.
    for (initrd_len, has_bus, needed) in [
        (0, false, 62 * M),
        (0, true, 64 * M),
        (1, false, 64 * M),
        (1, true, 66 * M),
        (2 * M, false, 64 * M),
        (2 * M + 1, false, 66 * M),
        (100 * M - 1, false, 162 * M),
        (100 * M - 1, true, 164 * M),
    ] {
        let error = Error::TooSmall { needed, len: 2 * M };
        assert_eq!(
            layout::plan(range(G, 2 * M), low(), &kernel(), initrd_len, has_bus),
            Err(error)
        );
        exact(G, needed, &kernel(), initrd_len, has_bus);
    }
}

/// A kernel that lies below its `pref_address` moves there by itself, so it is put there.
#[test]
fn below_the_preferred_address() {
    let image = kernel();
    assert_eq!(image.pref_address, 16 * M);
    let layout = plan(range(2 * M, 126 * M), low(), &image, 0).unwrap();
    assert_eq!(layout.kernel.start(), 16 * M);
    let error = Error::TooSmall {
        needed: 74 * M,
        len: 72 * M,
    };
    assert_eq!(plan(range(2 * M, 72 * M), low(), &image, 0), Err(error));
}

#[test]
fn above_4_gib() {
    let low_kernel = kernel_but(|image| image.above_4g = false);
    for (start, len, high, low_only) in [
        (3 * G, G, Ok(()), Ok(())),
        (3 * G, G + 2 * M, Ok(()), Err(Error::Above4G)),
        (4 * G, G, Ok(()), Err(Error::Above4G)),
        (1 << 46, G, Ok(()), Err(Error::Above4G)),
    ] {
        let plan = |image: &KernelImage| plan(range(start, len), low(), image, 0).map(|_| ());
        assert_eq!(plan(&kernel()), high);
        assert_eq!(plan(&low_kernel), low_only);
    }
    // The last byte of the initrd may be at the highest address, and not above.
    let kernel_end = 3 * G + 62 * M;
    for (max, end) in [
        (4 * G - 1, Some(4 * G)),
        (4 * G - 2, Some(4 * G - PAGE)),
        (kernel_end + PAGE - 1, Some(kernel_end + PAGE)),
        (kernel_end + PAGE - 2, None),
        (2 * G - 1, None),
        (0, None),
    ] {
        let image = kernel_but(|image| {
            image.above_4g = false;
            image.initrd_addr_max = max;
        });
        let result = plan(range(3 * G, G), low(), &image, PAGE);
        let result = result.map(|layout| layout.initrd.unwrap().end());
        assert_eq!(result, end.ok_or(Error::InitrdTooHigh { max }));
        assert!(
            plan(range(3 * G, G), low(), &image, 0).is_ok(),
            "none, so none too high"
        );
    }
}

#[test]
fn a_32_bit_kernel_below_896_mib() {
    let image = kernel_but(|image| {
        image.mode = Mode::Protected;
        image.above_4g = false;
        image.initrd_addr_max = END_32 - 1;
    });
    assert_eq!(limit(&image), Some(END_32));
    let plan = |start, len, initrd_len| plan(range(start, len), low(), &image, initrd_len);
    for (start, len, initrd_len, result) in [
        (END_32 - 62 * M, 62 * M, 0, Ok(None)),
        (END_32 - 64 * M, 64 * M, PAGE, Ok(Some(END_32))),
        // Its other RAM may lie higher; the initrd may not.
        (END_32 - 62 * M, G, 0, Ok(None)),
        (END_32 - 64 * M, G, PAGE, Ok(Some(END_32))),
        (
            END_32 - 62 * M,
            G,
            PAGE,
            Err(Error::InitrdTooHigh { max: END_32 - 1 }),
        ),
        (END_32 - 60 * M, G, 0, Err(Error::TooHighFor32Bit)),
        (G, G, 0, Err(Error::TooHighFor32Bit)),
    ] {
        let planned = plan(start, len, initrd_len);
        let end = planned.map(|layout| {
            layout
                .initrd
                .map(|initrd| initrd.end().next_multiple_of(PAGE))
        });
        assert_eq!(end, result, "{len:#x} from {start:#x} on");
    }
}

#[test]
fn where_a_range_is_looked_for() {
    assert_eq!(limit(&kernel()), None);
    assert_eq!(
        limit(&kernel_but(|image| image.above_4g = false)),
        Some(4 * G)
    );
}

#[test]
fn absurd_numbers() {
    let top = u64::MAX / RANGE_ALIGN * RANGE_ALIGN;
    let huge = kernel_but(|image| image.init_size = u64::MAX);
    let far = kernel_but(|image| image.pref_address = u64::MAX);
    for range in [
        range(G, G),
        range(top - G, G),
        range(0, top),
        range(top - 2 * M, 2 * M),
    ] {
        let nothing_is_enough = Err(Error::TooSmall {
            needed: u64::MAX,
            len: range.len(),
        });
        for initrd_len in [u64::MAX, u64::MAX - PAGE] {
            assert_eq!(plan(range, low(), &kernel(), initrd_len), nothing_is_enough);
        }
        assert_eq!(plan(range, low(), &huge, 0), nothing_is_enough);
        assert_eq!(plan(range, low(), &far, 0), nothing_is_enough);
    }
    let text = plan(range(G, 2 * M), low(), &huge, 0)
        .unwrap_err()
        .to_string();
    assert_eq!(
        text,
        "2 MiB of memory are too few: kernel and initrd need at least 17592186044416 MiB"
    );
}

#[test]
fn unaligned_ranges() {
    for (start, len) in [(G + PAGE, G), (G, G + PAGE), (G + M, G - M), (G, M), (1, 1)] {
        let result = plan(range(start, len), low(), &kernel(), 0);
        assert_eq!(result, Err(Error::Unaligned), "{len:#x} from {start:#x} on");
    }
}

#[test]
fn low_memory() {
    let page = |start| range(start, PAGE);
    let ram = |start| range(start, REAL_MODE_LEN);
    for (trampoline, ram, there) in [
        (page(0x2_0000), ram(0x2_1000), true),
        (page(0x1000), ram(LOW_RAM_START), true),
        (
            page(LOW_END - PAGE),
            ram(LOW_END - PAGE - REAL_MODE_LEN),
            true,
        ),
        (page(LOW_END), ram(0x2_0000), false),
        (page(0x2_0000), ram(LOW_END - REAL_MODE_LEN + PAGE), false),
        (page(0x2_0000), ram(LOW_RAM_START - PAGE), false),
        (page(0x2_0800), ram(0x3_0000), false),
        (page(0x2_0000), ram(0x3_0800), false),
        (range(0x2_0000, 2 * PAGE), ram(0x3_0000), false),
        (page(0x2_1000), ram(0x2_0000), false),
    ] {
        let low = Low::new(trampoline, ram);
        assert_eq!(low.is_some(), there, "{trampoline:x?} {ram:x?}");
        let Some(low) = low else { continue };
        // A SIPI has 8 bits for the number of the page.
        assert_eq!(low.trampoline() % PAGE, 0);
        assert!(low.trampoline() < M);
        assert_eq!((low.trampoline(), low.ram()), (trampoline.start(), ram));
        // Register select at 0x00, data at 0x10, EOI at 0x40 (82093AA, and ICH9 for the last).
        let ioapic = range(low.ioapic().into(), 0x100);
        assert!(trampoline.contains(&ioapic));
    }
}

#[test]
fn errors_say_what_would_do() {
    for (error, text) in [
        (
            Error::TooSmall {
                needed: 62 * M,
                len: 2 * M,
            },
            "2 MiB of memory are too few: kernel and initrd need at least 62 MiB",
        ),
        (Error::Above4G, "this kernel needs a range below 4 GiB"),
        (
            Error::TooHighFor32Bit,
            "a 32-bit kernel must lie below 896 MiB: reserve memory there with memmap=, and write it to 'memory' as SIZE@ADDRESS",
        ),
        (
            Error::InitrdTooHigh { max: 0x7fff_ffff },
            "this kernel needs its initrd below 0x7fffffff",
        ),
        (
            Error::Unaligned,
            "memory must start and end at multiples of 2 MiB",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
