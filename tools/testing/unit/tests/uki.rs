// SPDX-License-Identifier: GPL-2.0

//! Unified kernel images: made by GNU objcopy and read as LLVM's reads them, and a file for each
//! error.

#[path = "common/kernels.rs"]
mod kernels;
#[path = "common/image.rs"]
mod minimal;

use kernels::kernels;
use mint_unit::image::bytes::Truncated;
use mint_unit::image::uki::{self, command_line, Error};
use mint_unit::image::{self, bzimage, elf_image};
use std::path::{Path, PathBuf};
use std::{fs, process::Command};

fn run(program: &str, arguments: &[String]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|_| panic!("{program}: run by scripts/in-root"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// An empty directory for test `name`.
fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Has GNU objcopy make an EFI application of a program that only returns, with `sections`.
fn objcopy(directory: &Path, sections: &[(&str, &Path)]) -> PathBuf {
    let path = |name: &str| directory.join(name).to_str().unwrap().to_string();
    fs::write(path("stub.s"), ".globl _start\n_start: ret\n").unwrap();
    run("as", &[path("stub.s"), "-o".into(), path("stub.o")]);
    run("ld", &[path("stub.o"), "-o".into(), path("stub")]);
    let mut arguments = vec!["-O".into(), "pei-x86-64".into(), "--subsystem=10".into()];
    for (index, (name, file)) in sections.iter().enumerate() {
        let address = (index + 1) << 28;
        arguments.extend([
            format!("--add-section={name}={}", file.display()),
            format!("--set-section-flags={name}=data,readonly"),
            format!("--change-section-vma={name}={address:#x}"),
        ]);
    }
    arguments.extend([path("stub"), path("uki.efi")]);
    run("objcopy", &arguments);
    path("uki.efi").into()
}

/// The contents of section `name` of `uki`, as LLVM's objcopy reads it.
fn dump(uki: &Path, name: &str) -> Vec<u8> {
    let dumped = uki.with_extension("dumped");
    let section = format!("--dump-section={name}={}", dumped.display());
    let unchanged = uki.with_extension("unchanged");
    let [from, to] = [uki, &unchanged].map(|path| path.to_str().unwrap().to_string());
    run("llvm-objcopy-19", &[section, from, to]);
    fs::read(dumped).unwrap()
}

#[test]
fn debian_kernels_are_found_in_what_objcopy_makes() {
    let directory = directory("uki");
    let (initrd, cmdline) = (directory.join("initrd"), directory.join("cmdline"));
    // Neither is a multiple of the alignment of sections.
    fs::write(
        &initrd,
        (0..70_001).map(|i| (i * 7 % 251) as u8).collect::<Vec<_>>(),
    )
    .unwrap();
    fs::write(&cmdline, "  root=/dev/vda1 quiet\n").unwrap();
    let all = kernels("vmlinuz").into_iter().chain(kernels("vmlinux"));
    for (name, path) in all.filter(|(name, _)| name.contains("amd64")) {
        let uki = objcopy(
            &directory,
            &[
                (".cmdline", &cmdline),
                (".linux", &path),
                (".initrd", &initrd),
            ],
        );
        let file = fs::read(&uki).unwrap();
        let found = uki::parse(&file).unwrap().expect(&name);
        let parts = [Some(found.linux), found.initrd, found.cmdline];
        for (section, part) in [".linux", ".initrd", ".cmdline"].iter().zip(parts) {
            let theirs = dump(&uki, section);
            assert!(part.unwrap().data(&file) == theirs, "{name}: {section}");
        }
        assert!(
            found.linux.data(&file) == fs::read(&path).unwrap(),
            "{name}"
        );

        // What is loaded is the same as from the kernel's own file.
        let alone = fs::read(&path).unwrap();
        let expected = match alone.starts_with(b"MZ") {
            true => bzimage::parse(&alone).unwrap(),
            false => elf_image::parse(&alone).unwrap(),
        };
        let parsed = image::parse(&file).unwrap();
        let segments = parsed.kernel.segments.iter().zip(expected.segments.iter());
        for (ours, theirs) in segments {
            assert!(ours.data(&file) == theirs.data(&alone), "{name}");
        }
        assert_eq!(parsed.kernel.segments.len(), expected.segments.len());
        let segments = expected.segments;
        let kernel = image::kernel_image::KernelImage {
            segments,
            ..parsed.kernel
        };
        assert_eq!(kernel, expected, "{name}");
        assert_eq!(
            (parsed.initrd, parsed.cmdline),
            (found.initrd, found.cmdline)
        );
        let line = found.cmdline.unwrap().data(&file);
        assert_eq!(command_line(line), Some("root=/dev/vda1 quiet"), "{name}");
    }
}

#[test]
fn a_bzimage_is_an_efi_executable_but_no_unified_kernel_image() {
    for (name, path) in kernels("vmlinuz") {
        let file = fs::read(path).unwrap();
        assert!(file.starts_with(b"MZ"), "{name}");
        assert_eq!(uki::parse(&file), Ok(None), "{name}");
        let parsed = image::parse(&file).unwrap();
        assert_eq!(Ok(parsed.kernel), bzimage::parse(&file), "{name}");
        assert_eq!((parsed.initrd, parsed.cmdline), (None, None), "{name}");
    }
}

/// Where the PE signature, the section table, and the contents of the first section are.
const PE: usize = 0x80;
const TABLE: usize = PE + 24 + 0xf0;
const ALIGN: usize = 512;

/// A PE file with `sections`, whose contents are padded.
fn pe(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = vec![0; (TABLE + 40 * sections.len()).next_multiple_of(ALIGN)];
    file[..2].copy_from_slice(b"MZ");
    file[0x3c] = PE as u8;
    file[PE..PE + 6].copy_from_slice(b"PE\0\0\x64\x86");
    file[PE + 6] = sections.len() as u8;
    file[PE + 20] = 0xf0;
    for (index, (name, contents)) in sections.iter().enumerate() {
        let header = TABLE + 40 * index;
        file[header..][..name.len()].copy_from_slice(name.as_bytes());
        let padded = contents.len().next_multiple_of(ALIGN);
        let fields = [contents.len(), 0x1000 * index, padded, file.len()];
        for (field, value) in fields.into_iter().enumerate() {
            set(&mut file, header + 8 + 4 * field, value as u32);
        }
        file.extend_from_slice(contents);
        file.resize(file.len() + padded - contents.len(), 0);
    }
    file
}

fn set(file: &mut [u8], offset: usize, value: u32) {
    file[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

/// The three contents of a `file` that is a unified kernel image.
fn contents(file: &[u8]) -> [Option<&[u8]>; 3] {
    let uki = uki::parse(file).unwrap().unwrap();
    let data = |section: Option<uki::Section>| section.map(|section| section.data(file));
    [Some(uki.linux), uki.initrd, uki.cmdline].map(data)
}

#[test]
fn of_profiles_the_first_is_taken() {
    let base: [(&str, &[u8]); 3] = [
        (".linux", b"Linux"),
        (".initrd", b"base"),
        (".cmdline", b"c"),
    ];
    let expected = |initrd, cmdline| [Some(&b"Linux"[..]), initrd, cmdline];
    let with = |more: &[(&str, &[u8])]| pe(&[&base, more].concat());
    let plain = with(&[]);
    assert_eq!(contents(&plain), expected(Some(b"base"), Some(b"c")));

    // What the first profile has comes before what all have; the others do not count.
    let file = with(&[
        (".profile", b"ID=first"),
        (".cmdline", b"first"),
        (".profile", b"ID=second"),
        (".cmdline", b"second"),
        (".initrd", b"second"),
    ]);
    assert_eq!(contents(&file), expected(Some(b"base"), Some(b"first")));
    // Nothing in the first profile means nothing.
    let file = with(&[(".profile", b""), (".initrd", b""), (".profile", b"")]);
    assert_eq!(contents(&file), expected(None, Some(b"c")));
    // A kernel in the second profile only is none.
    let file = pe(&[(".profile", b""), (".profile", b""), (".linux", b"Linux")]);
    assert_eq!(uki::parse(&file), Ok(None));
}

#[test]
fn other_files_are_none() {
    let uki = pe(&[(".linux", b"Linux")]);
    for end in 0..TABLE + 40 {
        assert_eq!(uki::parse(&uki[..end]), Ok(None));
    }
    for offset in [0, 1, PE, PE + 1, PE + 2, PE + 3, TABLE + 1, TABLE + 6] {
        let mut file = uki.clone();
        file[offset] = b'X';
        assert_eq!(uki::parse(&file), Ok(None), "{offset:#x}");
    }
    assert_eq!(uki::parse(&pe(&[])), Ok(None));
    // Kernel parts without a kernel, as in an add-on.
    assert_eq!(
        uki::parse(&pe(&[(".cmdline", b"c"), (".linuxe", b"")])),
        Ok(None)
    );
    // The headers are as far away, and as long, as they can be.
    let mut file = uki.clone();
    set(&mut file, 0x3c, u32::MAX);
    assert_eq!(uki::parse(&file), Ok(None));
    let mut file = uki.clone();
    file[PE + 6..PE + 8].fill(0xff);
    file[PE + 20..PE + 22].fill(0xff);
    assert_eq!(uki::parse(&file), Ok(None));
}

#[test]
fn errors_name_the_section() {
    let sections: [(&str, &[u8]); 3] = [
        (".linux", &[1; 600]),
        (".initrd", &[2; 5]),
        (".cmdline", b"c"),
    ];
    let file = pe(&sections);
    let [linux, initrd, cmdline] = [*b".linux\0\0", *b".initrd\0", *b".cmdline"];
    let header = |index: usize| TABLE + 40 * index;
    let raw_len = |index| header(index) + 16;
    let raw_offset = |index| header(index) + 20;
    let start = |index| u32::from_le_bytes(file[raw_offset(index)..][..4].try_into().unwrap());
    let error = |changes: &[(usize, u32)]| {
        let mut file = file.clone();
        for &(offset, value) in changes {
            set(&mut file, offset, value);
        }
        uki::parse(&file).unwrap_err()
    };

    // The padding of the last section may be missing, its contents may not.
    let end = start(2) as usize + 1;
    assert!(uki::parse(&file[..end]).unwrap().is_some());
    let (len, needed) = (end as u64 - 1, end as u64);
    let truncated = Error::Truncated(cmdline, Truncated { needed, len });
    assert_eq!(uki::parse(&file[..end - 1]), Err(truncated));
    assert_eq!(
        truncated.to_string(),
        format!("section .cmdline: file is cut short: {len} bytes where {needed} are announced")
    );
    let len = file.len() as u64;
    let far = Truncated {
        needed: u64::from(u32::MAX) + 5,
        len,
    };
    assert_eq!(
        error(&[(raw_offset(1), u32::MAX)]),
        Error::Truncated(initrd, far)
    );
    let long = Truncated {
        needed: u64::from(start(0)) + u64::from(u32::MAX),
        len,
    };
    let changes = [(header(0) + 8, u32::MAX), (raw_len(0), u32::MAX)];
    assert_eq!(error(&changes), Error::Truncated(linux, long));

    // The last byte of one, and the first of another.
    assert_eq!(
        error(&[(raw_offset(1), start(0) + 599)]),
        Error::Overlap(initrd)
    );
    assert_eq!(
        error(&[(raw_offset(2), start(1) + 4)]),
        Error::Overlap(cmdline)
    );
    assert_eq!(
        error(&[(raw_offset(1), start(2) - 4)]),
        Error::Overlap(cmdline)
    );
    let table_end = (TABLE + 40 * 3) as u32;
    assert_eq!(
        error(&[(raw_offset(1), table_end - 1)]),
        Error::Overlap(initrd)
    );
    assert_eq!(error(&[(raw_offset(0), 0)]), Error::Overlap(linux));
    assert_eq!(
        Error::Overlap(linux).to_string(),
        "section .linux: it overlaps the headers or another section"
    );
    let mut beside = file.clone();
    set(&mut beside, raw_offset(1), start(0) + 600);
    set(&mut beside, raw_offset(2), start(0) + 605);
    assert!(uki::parse(&beside).unwrap().is_some());

    for (profiles, index) in [(0, 0), (0, 1), (0, 2), (1, 1)] {
        let mut twice = sections.to_vec();
        twice.extend(vec![(".profile", &b""[..]); profiles]);
        twice.extend(vec![sections[index]; 1 + profiles]);
        let name = [linux, initrd, cmdline][index];
        assert_eq!(uki::parse(&pe(&twice)), Err(Error::Twice(name)));
    }
    assert_eq!(
        Error::Twice(initrd).to_string(),
        "section .initrd: there are two"
    );
}

#[test]
fn the_kernel_inside_is_checked() {
    let bzimage = minimal::minimal();
    let file = pe(&[(".initrd", b"initrd"), (".linux", &bzimage)]);
    let parsed = image::parse(&file).unwrap();
    let [segment] = &parsed.kernel.segments[..] else {
        panic!("a bzImage has one segment");
    };
    assert_eq!(segment.data(&file), &bzimage[minimal::CODE_START..]);
    // A byte is missing at its end, although the file goes on.
    let file = pe(&[
        (".linux", &bzimage[..bzimage.len() - 1]),
        (".initrd", b"initrd"),
    ]);
    let needed = bzimage.len() as u64;
    let cut = bzimage::Error::Truncated(Truncated {
        needed,
        len: needed - 1,
    });
    assert_eq!(image::parse(&file), Err(image::Error::BzImage(cut)));
    // A unified kernel image is no kernel.
    let file = pe(&[(".linux", &file)]);
    let none = image::Error::BzImage(bzimage::Error::NotBzImage);
    assert_eq!(image::parse(&file), Err(none));
    let file = pe(&[(".linux", &bzimage), (".linux", &bzimage)]);
    let twice = image::Error::Uki(Error::Twice(*b".linux\0\0"));
    assert_eq!(image::parse(&file), Err(twice));
}

#[test]
fn a_command_line_is_one_line() {
    for (contents, line) in [
        (&b""[..], Some("")),
        (b"\0\n \t\r", Some("")),
        (b"quiet", Some("quiet")),
        (b"\n a=\"b  c\"\td \n\0\0", Some("a=\"b  c\"\td")),
        (b"a\nb", None),
        (b"a\0b", None),
        (b"a\x7f", None),
        (b"\0a", None),
        ("a=\u{e4}".as_bytes(), None),
        (b"a=\xff\n", None),
    ] {
        assert_eq!(command_line(contents), line, "{contents:?}");
    }
}
