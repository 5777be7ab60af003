// SPDX-License-Identifier: GPL-2.0

//! bzImage headers: Debian's kernels as linux-loader reads them, and a file for each error.

#[path = "common/image.rs"]
mod image;
#[path = "common/kernels.rs"]
mod kernels;

use image::{minimal, CODE_START, CODE_UNITS};
use kernels::kernels;
use linux_loader::loader::{bootparam::setup_header, bzimage, KernelLoader};
use mint_unit::image::bytes::Truncated;
use mint_unit::image::bzimage::{parse, Error};
use mint_unit::image::kernel_image::{KernelImage, Mode};
use std::{fs, io::Cursor};
use vm_memory::{ByteValued, Bytes, GuestAddress, GuestMemoryMmap};

const LOAD_ADDRESS: GuestAddress = GuestAddress(0x20_0000);

/// What linux-loader makes of `file`: the header, and the code as it copies it to memory.
fn load(file: &[u8]) -> (setup_header, Vec<u8>) {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(LOAD_ADDRESS, file.len())]).unwrap();
    let mut reader = Cursor::new(file);
    let loaded = bzimage::BzImage::load(&memory, Some(LOAD_ADDRESS), &mut reader, None).unwrap();
    let mut code = vec![0; (loaded.kernel_end - LOAD_ADDRESS.0) as usize];
    memory.read_slice(&mut code, LOAD_ADDRESS).unwrap();
    let mut header = loaded.setup_header.unwrap();
    // linux-loader writes the load address there.
    header.code32_start = u32::from_le_bytes(file[0x214..0x218].try_into().unwrap());
    (header, code)
}

/// The one segment, which is the protected-mode code.
fn code<'a>(image: &KernelImage, file: &'a [u8]) -> &'a [u8] {
    let [code] = &image.segments[..] else {
        panic!("{:x?}", image.segments);
    };
    assert_eq!(
        (code.offset, code.memory_len),
        (0, (code.end - code.start) as u64)
    );
    code.data(file)
}

fn compare(name: &str, file: &[u8]) {
    let image = parse(file).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (header, copied) = load(file);
    let code = code(&image, file);
    // The fields of a packed struct are copied before they are compared.
    let number = |field: u64, ours: u64, what: &str| assert_eq!(ours, field, "{name}: {what}");
    number(header.kernel_alignment.into(), image.alignment, "alignment");
    number(header.pref_address, image.pref_address, "pref_address");
    number(header.init_size.into(), image.init_size, "init_size");
    number(
        header.cmdline_size.into(),
        image.cmdline_size as u64,
        "cmdline_size",
    );
    number(
        header.initrd_addr_max.into(),
        image.initrd_addr_max,
        "initrd_addr_max",
    );
    number(
        u64::from(header.syssize) * 16,
        code.len() as u64,
        "length of the code",
    );
    // XLF_KERNEL_64 and XLF_CAN_BE_LOADED_ABOVE_4G of arch/x86/include/uapi/asm/bootparam.h.
    let (mode, entry) = match header.xloadflags & 1 {
        0 => (Mode::Protected, 0),
        _ => (Mode::Long, 0x200),
    };
    assert_eq!(image.mode, mode, "{name}: mode");
    number(entry, image.entry, "entry");
    assert_eq!(
        image.above_4g,
        header.xloadflags & 3 == 3,
        "{name}: above_4g"
    );
    // XLF_EFI_KEXEC.
    assert_eq!(
        image.efi,
        header.xloadflags & 0x10 != 0 || file.starts_with(b"MZ"),
        "{name}: efi"
    );

    let ours = &image.setup_header;
    assert_eq!(
        &ours[..header.as_slice().len()],
        header.as_slice(),
        "{name}: setup_header"
    );
    // The operand of the jump at 0x200 tells the end; what the file has behind it is code.
    let (there, behind) = ours.split_at(0x202 + usize::from(file[0x201]) - 0x1f1);
    assert!(file[0x1f1..].starts_with(there), "{name}: setup_header");
    assert!(behind.iter().all(|&byte| byte == 0), "{name}: setup_header");

    // linux-loader copies all the file has; what follows the code is padding and signatures.
    assert!(copied.starts_with(code), "{name}: code");
    let payload_end = header.payload_offset + header.payload_length;
    assert!(
        u64::from(payload_end) <= code.len() as u64,
        "{name}: payload"
    );
}

#[test]
fn debian_kernels_are_read_as_linux_loader_reads_them() {
    for (name, path) in kernels("vmlinuz") {
        let file = fs::read(path).unwrap();
        compare(&name, &file);
        let image = parse(&file).unwrap();
        assert!(image.efi, "{name}");
        // Debian's 64-bit kernels can be loaded anywhere.
        let is_64 = name.ends_with("-amd64");
        assert_eq!(image.mode == Mode::Long, is_64, "{name}");
        assert_eq!(image.above_4g, is_64, "{name}");
    }
}

#[test]
fn debian_kernels_cut_short_are_refused() {
    for (name, path) in kernels("vmlinuz") {
        let file = fs::read(path).unwrap();
        let image = parse(&file).unwrap();
        let end = (code(&image, &file).as_ptr() as usize - file.as_ptr() as usize) as u64
            + code(&image, &file).len() as u64;
        assert_eq!(parse(&file[..end as usize]), Ok(image), "{name}");
        for len in (0..0x1000).chain(end - 0x1000..end) {
            let result = parse(&file[..len as usize]);
            match result {
                Err(Error::NotBzImage) => assert!(len < 0x206, "{name}, {len} bytes"),
                Err(Error::Truncated(Truncated { needed, len: told })) => {
                    assert!(
                        len >= 0x206 && told == len && len < needed && needed <= end,
                        "{name}"
                    )
                }
                _ => panic!("{name}, {len} bytes: {result:?}"),
            }
        }
    }
}

#[test]
fn smallest_image() {
    compare("minimal", &minimal());
    let file = minimal();
    let image = parse(&file).unwrap();
    assert_eq!(code(&image, &file).len(), 0x210);
    assert_eq!(code(&image, &file).as_ptr(), file[CODE_START..].as_ptr());
}

#[test]
fn truncation_at_every_length() {
    let file = minimal();
    for len in 0..file.len() {
        let result = parse(&file[..len]);
        let told = matches!(result, Err(Error::Truncated(Truncated { needed, len: told }))
            if told == len as u64 && told < needed && needed <= file.len() as u64);
        assert!(
            told || len < 0x206 && result == Err(Error::NotBzImage),
            "{len}: {result:?}"
        );
    }
    let whole = parse(&file).unwrap();
    let longer = [&file[..], &[0; 100]].concat();
    assert_eq!(parse(&longer), Ok(whole), "a signature may follow");
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
    let code = u64::from(CODE_UNITS) * 16;
    let init_size = code as u32 - 1;
    let cases: &[(usize, &[u8], Error)] = &[
        (0x1fe, &[0], Error::NotBzImage),
        (0x202, b"hdrS", Error::NotBzImage),
        (0x206, &[0x0b], Error::OldProtocol(0x020b)),
        (0x207, &[1], Error::OldProtocol(0x010f)),
        // 0x264 is the end of init_size, 0x290 that of the room in boot_params.
        (0x201, &[0x61], Error::HeaderLength(0x263)),
        (0x201, &[0x8f], Error::HeaderLength(0x291)),
        (0x211, &[0xfe], Error::NotLoadedHigh),
        (0x234, &[0], Error::NotRelocatable),
        (0x230, &0u32.to_le_bytes(), Error::Alignment(0)),
        (0x230, &0x800u32.to_le_bytes(), Error::Alignment(0x800)),
        (
            0x230,
            &0x30_0000u32.to_le_bytes(),
            Error::Alignment(0x30_0000),
        ),
        (0x1f4, &[0], Error::CodeLength(0)),
        (0x1f4, &[0x20], Error::CodeLength(0x200)),
        (
            0x1f4,
            &[0x22],
            Error::Truncated(Truncated {
                needed: len + 16,
                len,
            }),
        ),
        (
            0x1f4,
            &[0xff; 4],
            Error::Truncated(Truncated {
                needed: 0xf_ffff_fff0 + 1024,
                len,
            }),
        ),
        // No setup sectors mean 4, for the sake of old boot loaders.
        (
            0x1f1,
            &[0],
            Error::Truncated(Truncated {
                needed: len + 3 * 512,
                len,
            }),
        ),
        (
            0x1f1,
            &[255],
            Error::Truncated(Truncated {
                needed: len + 254 * 512,
                len,
            }),
        ),
        (
            0x260,
            &init_size.to_le_bytes(),
            Error::InitSize { init_size, code },
        ),
        (0x238, &[0; 4], Error::CommandLineSize(0)),
        (0x238, &[0, 0, 1, 0], Error::CommandLineSize(0x1_0000)),
    ];
    for (offset, bytes, expected) in cases {
        assert_eq!(
            parse(&with(*offset, bytes)),
            Err(*expected),
            "{bytes:x?} at {offset:#x}"
        );
        assert!(!expected.to_string().is_empty());
    }
}

#[test]
fn boundary_values() {
    let parsed = |offset, bytes: &[u8]| parse(&with(offset, bytes)).unwrap();
    parsed(0x206, &[0x0c]);
    parsed(0x207, &[3]);
    for end in [0x264, 0x290] {
        let mut file = with(0x201, &[(end - 0x202) as u8]);
        file[0x264..0x290].fill(0x77);
        let header = parse(&file).unwrap().setup_header;
        assert_eq!(header[..end - 0x1f1], file[0x1f1..end]);
        assert!(header[end - 0x1f1..].iter().all(|&byte| byte == 0));
    }
    assert_eq!(parsed(0x230, &4096u32.to_le_bytes()).alignment, 4096);
    assert_eq!(
        parsed(0x230, &0x8000_0000u32.to_le_bytes()).alignment,
        1 << 31
    );
    assert_eq!(parsed(0x238, &[1, 0, 0, 0]).cmdline_size, 1);
    assert_eq!(parsed(0x238, &[0xff, 0xff, 0, 0]).cmdline_size, 0xffff);
    assert_eq!(parsed(0x260, &[0xff; 4]).init_size, 0xffff_ffff);
    assert_eq!(parsed(0x258, &[0xff; 8]).pref_address, u64::MAX);
    assert_eq!(parsed(0x22c, &[0xff; 4]).initrd_addr_max, 0xffff_ffff);
    assert!(!parsed(0x236, &[1]).above_4g);
    // A 32-bit kernel lies low, whatever it says.
    for flags in [0, 2, 0xfe] {
        let image = parsed(0x236, &[flags]);
        assert_eq!((image.mode, image.entry), (Mode::Protected, 0));
        assert!(!image.above_4g);
    }
    // Its entry is the first byte.
    let mut file = with(0x236, &[0]);
    file[0x1f4] = 1;
    assert_eq!(code(&parse(&file).unwrap(), &file).len(), 16);
    // All other flags say nothing of it: EFI handover, say, is a protocol that is not used here.
    for (offset, bytes, efi) in [
        (0x236, &[0x01][..], false),
        (0x236, &[0x11], true),
        (0x236, &[0xef, 0xff], false),
        (0, b"MZ", true),
        (0, b"ZM", false),
        (1, b"MZ", false),
    ] {
        assert_eq!(parsed(offset, bytes).efi, efi, "{bytes:x?} at {offset:#x}");
    }
    // Four setup sectors, whether 4 or 0 says so.
    for sectors in [0, 4] {
        let mut file = with(0x1f1, &[sectors]);
        file.resize(file.len() + 3 * 512, 0x5a);
        let image = parse(&file).unwrap();
        assert_eq!(code(&image, &file).as_ptr(), file[5 * 512..].as_ptr());
        assert_eq!(code(&image, &file).len(), 16 * CODE_UNITS as usize);
    }
}

/// Whatever value a byte is given: an error is one of the field that the byte is in, and bytes of
/// no field that is checked never make one.
#[test]
fn errors_come_from_their_own_field() {
    for offset in 0..minimal().len() {
        for byte in 0..=255 {
            let Err(error) = parse(&with(offset, &[byte])) else {
                continue;
            };
            let right = match offset {
                0x1f1 => matches!(error, Error::Truncated(_)),
                0x1f4..0x1f8 => matches!(error, Error::Truncated(_) | Error::CodeLength(_)),
                0x1fe..=0x1ff | 0x202..=0x205 => error == Error::NotBzImage,
                0x201 => matches!(error, Error::HeaderLength(_)),
                0x206..0x208 => matches!(error, Error::OldProtocol(_)),
                0x211 => error == Error::NotLoadedHigh,
                0x230..0x234 => matches!(error, Error::Alignment(_)),
                0x234 => error == Error::NotRelocatable,
                0x238..0x23c => matches!(error, Error::CommandLineSize(_)),
                0x260..0x264 => matches!(error, Error::InitSize { .. }),
                _ => false,
            };
            assert!(right, "{byte:#x} at {offset:#x}: {error:?}");
        }
    }
}
