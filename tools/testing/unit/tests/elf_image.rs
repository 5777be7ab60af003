// SPDX-License-Identifier: GPL-2.0

//! vmlinux: Debian's kernels as linux-loader loads them, and as their own bzImages tell of them; and
//! a file for each error.

#[path = "common/kernels.rs"]
mod kernels;
#[path = "common/rng.rs"]
mod rng;
#[path = "common/vmlinux.rs"]
mod vmlinux;

use kernels::kernels;
use linux_loader::loader::{elf, KernelLoader};
use mint_unit::image::elf_image::{parse, Error};
use mint_unit::image::{
    self as any,
    bytes::Truncated,
    kernel_image::{KernelImage, Mode},
    setup_header,
};
use mint_unit::{image::bzimage, memory::memmap::Range};
use rng::Rng;
use std::{fs, io::Cursor};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmlinux::{
    minimal, vmlinux, Segment, BANNER, BASE, ENTRY, MAP, PROGRAM_HEADERS, PROGRAM_HEADER_LEN,
    SEGMENTS,
};

/// The memory that `image` says `file` makes, with something old in it before.
fn memory(file: &[u8], image: &KernelImage) -> Vec<u8> {
    let mut memory = vec![0xa5; image.init_size as usize];
    let mut end = 0;
    for segment in image.segments.iter() {
        let data = segment.data(file);
        let start = segment.offset as usize;
        // None has anything of another's, nor of what was there before.
        assert_eq!(start, end);
        end = start + segment.memory_len as usize;
        memory[start..end].fill(0);
        memory[start..start + data.len()].copy_from_slice(data);
    }
    assert_eq!(end, memory.len());
    memory
}

/// All that must be true of an image that was taken.
fn check(name: &str, file: &[u8], image: &KernelImage) {
    // linux-loader loads it to where it was linked to.
    let all = Range::new(image.pref_address, image.init_size).unwrap();
    let guest =
        GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(all.start()), all.len() as usize)])
            .unwrap();
    // It looks for another entry in the notes, unless an offset is given.
    let loaded = elf::Elf::load(&guest, Some(GuestAddress(0)), &mut Cursor::new(file), None)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut theirs = vec![0; all.len() as usize];
    guest
        .read_slice(&mut theirs, GuestAddress(all.start()))
        .unwrap();
    assert!(memory(file, image) == theirs, "{name}: memory");
    assert_eq!(
        loaded.kernel_load.0,
        all.start() + image.entry,
        "{name}: entry"
    );
    // Empty segments are none to us.
    assert!(loaded.kernel_end <= all.end(), "{name}: end");

    assert_eq!(image.alignment, 2 << 20, "{name}");
    assert_eq!(image.pref_address % image.alignment, 0, "{name}");
    assert!(image.mode == Mode::Long && image.above_4g, "{name}");
    assert!(
        any::parse(file).map(|parsed| parsed.kernel) == Ok(*image),
        "{name}: by its magic"
    );
}

#[test]
fn debian_kernels_are_loaded_as_linux_loader_loads_them() {
    for (name, path) in kernels("vmlinux") {
        let file = fs::read(path).unwrap();
        if !name.ends_with("-amd64") {
            assert_eq!(parse(&file), Err(Error::Is32Bit), "{name}");
            continue;
        }
        let image = parse(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        check(&name, &file, &image);

        // It ends with its last segment; what follows are names of sections, and relocations.
        let end = image
            .segments
            .iter()
            .map(|segment| segment.end)
            .max()
            .unwrap();
        assert_eq!(parse(&file[..end]), Ok(image), "{name}");
        for len in (0..0x1000).chain(end - 0x1000..end) {
            let error = parse(&file[..len]).unwrap_err();
            assert!(
                is_truncated(error, len, end),
                "{name}, {len} bytes: {error:?}"
            );
        }
    }
}

fn is_truncated(error: Error, len: usize, end: usize) -> bool {
    match error {
        Error::NotElf => len < 4,
        Error::Truncated(Truncated { needed, len: told }) => {
            len >= 4 && told == len as u64 && told < needed && needed <= end as u64
        }
        _ => false,
    }
}

/// The header made for a vmlinux is that of the bzImage that it is from.
#[test]
fn debian_kernels_are_told_what_their_bzimages_say() {
    for (name, path) in kernels("vmlinux") {
        if !name.ends_with("-amd64") {
            continue;
        }
        let vmlinux = fs::read(&path).unwrap();
        let bzimage = fs::read(path.with_file_name("vmlinuz")).unwrap();
        let theirs = bzimage::parse(&bzimage).unwrap();
        let ours = parse(&vmlinux).unwrap();
        assert_eq!(
            (
                ours.pref_address,
                ours.above_4g,
                ours.efi,
                ours.cmdline_size,
                ours.initrd_addr_max
            ),
            (
                theirs.pref_address,
                theirs.above_4g,
                theirs.efi,
                theirs.cmdline_size,
                theirs.initrd_addr_max
            ),
            "{name}"
        );
        // They have the relocations and the decompressor in it, too.
        assert!(ours.init_size <= theirs.init_size, "{name}");

        // Documentation/arch/x86/boot.rst: what the boot loader writes, or what is true of the bzImage
        // alone: setup_sects, syssize, the jump, realmode_swtch to kernel_version, setup_move_size,
        // code32_start, heap_end_ptr, xloadflags, payload, init_size, and all behind that.
        let not_compared = [
            0x1f1..0x1f2,
            0x1f4..0x1f8,
            0x200..0x202,
            0x208..0x210,
            0x212..0x214,
            0x214..0x218,
            0x224..0x226,
            0x236..0x238,
            0x248..0x250,
            0x260..0x290,
        ];
        for offset in setup_header::START..0x290 {
            if not_compared.iter().all(|range| !range.contains(&offset)) {
                let at = offset - setup_header::START;
                assert_eq!(
                    ours.setup_header[at], theirs.setup_header[at],
                    "{name}: {offset:#x}"
                );
            }
        }
        let xloadflags = |image: &KernelImage| {
            let at = 0x236 - setup_header::START;
            u16::from_le_bytes([image.setup_header[at], image.setup_header[at + 1]])
        };
        // A 64-bit entry, above 4 GiB, EFI; theirs are also of EFI's other ways in and 5-level paging.
        assert_eq!(xloadflags(&ours), 0x13, "{name}");
        assert_eq!(xloadflags(&theirs) & 0x13, 0x13, "{name}");
        let init_size = &ours.setup_header[0x260 - setup_header::START..][..4];
        assert_eq!(init_size, (ours.init_size as u32).to_le_bytes(), "{name}");
    }
}

#[test]
fn smallest_vmlinux() {
    let file = minimal();
    let image = parse(&file).unwrap();
    check("minimal", &file, &image);
    assert_eq!(image.segments.len(), 4);
    assert_eq!(
        (image.pref_address, image.init_size, image.entry),
        (BASE, 0x3800, 0x2010)
    );
    assert!(image.efi);
    let longer = [&file[..], &[0; 100]].concat();
    assert_eq!(parse(&longer), Ok(image), "sections may follow");
    for len in 0..file.len() {
        let error = parse(&file[..len]).unwrap_err();
        assert!(is_truncated(error, len, file.len()), "{len}: {error:?}");
    }
}

/// Both signatures are in a kernel that knows EFI, each in one piece, and in what is loaded.
#[test]
fn efi() {
    let without = vmlinux(&SEGMENTS, BASE);
    assert!(!parse(&without).unwrap().efi);
    for (bytes, at, efi) in [
        (&b"EL64EL32"[..], 0x240, true),
        (b"EL64EL32", 0x31b, true),
        (b"EL64EL32", 0x31c, false),
        (b"EL64EL32", 0x5f8, true),
        (b"EL64-EL32", 0x241, true),
        (b"EL64--EL32", 0x242, true),
        (b"EL64---EL32", 0x243, true),
        (b"EL64EL64", 0x240, false),
        (b"EL32EL32", 0x240, false),
        (b"EL3264", 0x240, false),
        (b"el64el32", 0x240, false),
    ] {
        let mut file = without.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        let image = parse(&file).unwrap();
        assert_eq!(image.efi, efi, "{bytes:?} at {at:#x}");
        // XLF_EFI_KEXEC.
        assert_eq!(
            image.setup_header[0x236 - setup_header::START] & 0x10 != 0,
            efi
        );
    }
    let mut file = without.clone();
    file[0x240..0x244].copy_from_slice(b"EL32");
    file[0x5fc..0x600].copy_from_slice(b"EL64");
    assert!(parse(&file).unwrap().efi, "in two segments");
}

/// It tells its version, wherever it does, or is not Linux.
#[test]
fn versions() {
    let result = |at: usize, banner: &[u8]| {
        let mut file = minimal();
        file[0x200..0x200 + BANNER.len()].fill(0x80);
        file[at..at + banner.len()].copy_from_slice(banner);
        parse(&file).map(|_| ())
    };
    for at in (0x200..0x210).chain(0x500..0x504).chain([0x600 - 18]) {
        assert_eq!(result(at, b"Linux version 6.1."), Ok(()), "{at:#x}");
    }
    for (banner, expected) in [
        (&b"Linux version 5.13.0-rc1 ("[..], Ok(())),
        (b"Linux version 5.12.99", Ok(())),
        (b"Linux version 3.8\0", Ok(())),
        (b"Linux version 3.7.99", Err(Error::OldKernel((3, 7)))),
        (b"Linux version 2.6.39", Err(Error::OldKernel((2, 6)))),
        (b"Linux version %s", Err(Error::NotLinux)),
        (b"Linux version 7", Err(Error::NotLinux)),
        (b"Linux Version 7.3", Err(Error::NotLinux)),
        (b"LLinux version 7.3", Ok(())),
        (b"Linux version Linux version 7.3", Ok(())),
        (b"", Err(Error::NotLinux)),
    ] {
        assert_eq!(result(0x200, banner), expected, "{banner:?}");
    }
    // It must be in what is loaded.
    assert_eq!(result(0x4c0, b"Linux version 7.3"), Err(Error::NotLinux));
}

/// `minimal()` with `bytes` at `offset`.
fn with(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = minimal();
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn one_mutation_for_each_error() {
    let len = minimal().len() as u64;
    let truncated = |needed| Error::Truncated(Truncated { needed, len });
    let headers = |count, len| Error::ProgramHeaders { count, len, at: 64 };
    for (offset, bytes, expected) in [
        (0, &b"\x7fELf"[..], Error::NotElf),
        (4, &[1], Error::Is32Bit),
        (4, &[0], Error::Machine(62)),
        (4, &[3], Error::Machine(62)),
        (5, &[2], Error::Machine(62)),
        (16, &[3], Error::Type(3)),
        (16, &[4], Error::Type(4)),
        (17, &[1], Error::Type(0x102)),
        (18, &[183], Error::Machine(183)),
        (54, &[55], headers(5, 55)),
        (
            32,
            &[63],
            Error::ProgramHeaders {
                count: 5,
                len: 56,
                at: 63,
            },
        ),
        (56, &[0], headers(0, 56)),
        (56, &[17], headers(17, 56)),
        (56, &[0xff, 0xff], headers(0xffff, 56)),
        (32, &(len - 10).to_le_bytes(), truncated(len + 6)),
        (32, &u64::MAX.to_le_bytes(), truncated(u64::MAX)),
        (ENTRY, &(BASE - 1).to_le_bytes(), Error::Entry(BASE - 1)),
        (
            ENTRY,
            &(BASE + 0x123).to_le_bytes(),
            Error::Entry(BASE + 0x123),
        ),
        (
            ENTRY,
            &(BASE + 0x2100).to_le_bytes(),
            Error::Entry(BASE + 0x2100),
        ),
        (ENTRY, &(MAP + BASE).to_le_bytes(), Error::Entry(MAP + BASE)),
    ] {
        assert_eq!(
            parse(&with(offset, bytes)),
            Err(expected),
            "{bytes:x?} at {offset:#x}"
        );
        assert!(!expected.to_string().is_empty());
        let also = any::parse(&with(offset, bytes)).unwrap_err();
        let by_magic = if expected == Error::NotElf {
            any::Error::BzImage(bzimage::Error::NotBzImage)
        } else {
            any::Error::Elf(expected)
        };
        assert_eq!(also, by_magic);
    }
}

/// `minimal()`, but for what `change` does to the segments.
fn changed(change: impl FnOnce(&mut Vec<Segment>)) -> Result<KernelImage, Error> {
    let mut segments = SEGMENTS.to_vec();
    change(&mut segments);
    let longest = minimal().len() as u64;
    let mut file = vmlinux(
        &segments
            .iter()
            .map(|segment| Segment {
                // What is not there shall not make the file longer.
                filesz: segment.filesz.min(longest.saturating_sub(segment.offset)),
                offset: segment.offset.min(longest),
                ..*segment
            })
            .collect::<Vec<_>>(),
        BASE,
    );
    for (index, segment) in segments.iter().enumerate() {
        let header = PROGRAM_HEADERS + PROGRAM_HEADER_LEN * index;
        file[header + 8..header + 16].copy_from_slice(&segment.offset.to_le_bytes());
        file[header + 32..header + 40].copy_from_slice(&segment.filesz.to_le_bytes());
    }
    let result = parse(&file);
    if let Ok(image) = &result {
        check("changed", &file, image);
    }
    result
}

#[test]
fn segments() {
    let len = minimal().len() as u64;
    let truncated = |needed| Err(Error::Truncated(Truncated { needed, len }));
    let segment = |address| Err(Error::Segment(address));
    let init_size = |change: fn(&mut Vec<Segment>)| changed(change).map(|image| image.init_size);

    // In any order.
    let image = changed(|_| ()).unwrap();
    for shift in 1..5 {
        assert_eq!(changed(|s| s.rotate_left(shift)), Ok(image));
    }
    // One is enough; none, or more than there is room for, are not.
    assert_eq!(init_size(|s| s.truncate(1)), Ok(0x123));
    assert_eq!(init_size(|s| *s = vec![s[4]]), Err(Error::Segments));
    let loads = |count: u64| (0..count).map(|n| Segment::load(0x480, 0x1000 * n, 0x40, 0x1000));
    assert_eq!(
        changed(|s| *s = loads(8).collect()).map(|image| image.init_size),
        Ok(0x8000)
    );
    assert_eq!(changed(|s| *s = loads(9).collect()), Err(Error::Segments));
    assert_eq!(changed(|s| *s = loads(16).collect()), Err(Error::Segments));
    // Empty ones don't count; behind as many headers there is room for the others.
    let mut many = SEGMENTS.to_vec();
    many.iter_mut().for_each(|segment| segment.offset += 0x400);
    many.extend([Segment::load(0x400, 0, 0, 0); 11]);
    let image = parse(&vmlinux(&many, BASE)).unwrap();
    assert_eq!((image.segments.len(), image.init_size), (4, 0x3800));

    // As long in memory as in the file at least, and all in the file.
    assert_eq!(init_size(|s| s[3].memsz = 0x100), Ok(0x2100));
    assert_eq!(init_size(|s| s[3].memsz = 0xff), segment(BASE + 0x2000));
    assert_eq!(
        init_size(|s| (s[3].filesz, s[3].memsz) = (0, 0x100)),
        Ok(0x2100)
    );
    assert_eq!(init_size(|s| s[3].filesz = 0x101), truncated(0x601));
    assert_eq!(init_size(|s| s[3].offset = 0x501), truncated(0x601));
    assert_eq!(init_size(|s| s[3].offset = u64::MAX), truncated(u64::MAX));
    assert_eq!(
        init_size(|s| (s[3].filesz, s[3].memsz) = (u64::MAX, u64::MAX)),
        truncated(u64::MAX)
    );

    // One behind the other, not one in the other.
    assert_eq!(
        init_size(|s| s[2].paddr = BASE + 0x107f),
        segment(BASE + 0x107f)
    );
    assert_eq!(init_size(|s| s[2].paddr = BASE + 0x1fc0), Ok(0x3800));
    assert_eq!(
        init_size(|s| s[2].paddr = BASE + 0x1fc1),
        segment(BASE + 0x2000)
    );
    assert_eq!(
        init_size(|s| s[2].paddr = BASE + 0x1000),
        segment(BASE + 0x1000)
    );
    assert_eq!(init_size(|s| s[1].memsz = u64::MAX), segment(BASE + 0x1080));

    // Not longer than KERNEL_IMAGE_SIZE, arch/x86/include/asm/page_64_types.h.
    const G: u64 = 1 << 30;
    assert_eq!(init_size(|s| s[3].memsz = G), Err(Error::Span));
    assert_eq!(init_size(|s| s[3].memsz = u64::MAX), Err(Error::Span));
    assert_eq!(
        init_size(|s| s[3].paddr = u64::MAX - 0xff),
        Err(Error::Span)
    );

    // Linked as Linux is.
    assert_eq!(init_size(|s| s[0].vaddr = BASE), Err(Error::NotLinux));
    assert_eq!(init_size(|s| s[0].vaddr += 1), Err(Error::NotLinux));
    let moved = |by| {
        changed(|s| {
            s.iter_mut()
                .for_each(|s| (s.paddr, s.vaddr) = (s.paddr + by, s.vaddr.wrapping_add(by)))
        })
    };
    assert_eq!(moved(0x1000), Err(Error::NotLinux), "not aligned");
    // The entry stays behind.
    assert_eq!(moved(2 << 20), Err(Error::Entry(BASE)));
}

/// 1 GiB is not too long.
#[test]
fn longest() {
    let mut segments = SEGMENTS;
    segments[3].memsz = (1 << 30) - 0x2000;
    let file = vmlinux(&segments, BASE);
    let image = parse(&file).unwrap();
    assert_eq!(image.init_size, 1 << 30);
    assert_eq!(
        image.setup_header[0x260 - setup_header::START..][..4],
        [0, 0, 0, 0x40]
    );
    segments[3].memsz += 1;
    assert_eq!(parse(&vmlinux(&segments, BASE)), Err(Error::Span));
}

/// Whatever value a byte of the headers is given, and whatever values some bytes are: what is taken
/// is loaded as linux-loader does it.
#[test]
fn mutations() {
    let headers = PROGRAM_HEADERS + PROGRAM_HEADER_LEN * SEGMENTS.len();
    let mut taken = 0;
    let mut parsed = |file: &[u8]| {
        // A megabyte is enough to see it.
        if let Some(image) = parse(file).ok().filter(|image| image.init_size < 1 << 20) {
            check("mutated", file, &image);
            taken += 1;
        }
    };
    for offset in 0..headers {
        for byte in 0..=255 {
            parsed(&with(offset, &[byte]));
        }
    }
    let mut rng = Rng(11);
    for _ in 0..100_000 {
        let mut file = minimal();
        for _ in 0..=rng.below(4) {
            // In the program headers, numbers near to those that are there.
            let field = rng.below((headers - PROGRAM_HEADERS) as u64 / 8) as usize * 8;
            let at = &mut file[PROGRAM_HEADERS + field..][..8];
            let value = u64::from_le_bytes(at.try_into().unwrap());
            let change = (rng.next() >> (64 - 16) >> rng.below(16)) as u16;
            let value = if rng.below(2) == 0 {
                value.wrapping_add(change.into())
            } else {
                value.wrapping_sub(change.into())
            };
            at.copy_from_slice(&value.to_le_bytes());
        }
        parsed(&file);
    }
    assert!(taken > 20_000, "{taken}");
}

#[test]
fn errors_say_what_would_do() {
    for (error, text) in [
        (
            Error::Truncated(Truncated { needed: 2, len: 1 }),
            "file is cut short: 1 bytes where 2 are announced",
        ),
        (
            Error::Is32Bit,
            "a 32-bit vmlinux, which can't be loaded elsewhere: give the bzImage made of it",
        ),
        (
            Error::Type(4),
            "an ELF file of type 4, not an executable: give vmlinux itself",
        ),
        (Error::Segments, "not 1 to 8 segments to load"),
        (
            Error::OldKernel((3, 7)),
            "Linux 3.7 is too old: 3.8 or newer is needed",
        ),
        (Error::Span, "segments reach over more than 1024 MiB"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
