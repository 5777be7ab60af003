// SPDX-License-Identifier: GPL-2.0

//! SMBIOS: as dmidecode decodes it, and as the kernel walks through it.

#[path = "common/image.rs"]
mod image;

use mint_unit::firmware::credentials::{self, MAX_CREDENTIALS, MAX_LEN};
use mint_unit::firmware::smbios::{write, System};
use mint_unit::image::bzimage::parse;
use mint_unit::image::layout::{plan, Low, PAGE};
use mint_unit::memory::memmap::Range;
use std::{fs, path::Path, process::Command};

const UUID: [u8; 16] = [
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x86, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
];

fn system(credentials: &[u8]) -> System<'_> {
    System {
        serial_number: b"85944171f73967e8",
        uuid: UUID,
        credentials,
    }
}

/// What is written for a system with these credentials, at the physical address `at`.
fn written(credentials: &[u8], at: u64) -> Vec<u8> {
    let mut area = vec![0xa5; 0x8000];
    assert_eq!(write(&mut area, at, &system(credentials)), Some(at));
    area
}

/// What dmidecode prints about `area`, which is at address 0: dmidecode writes such files itself
/// (`--dump-bin`).
fn dmidecode(test: &str, area: &[u8]) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("dmidecode-{test}"));
    fs::write(&path, area).unwrap();
    let output = Command::new("dmidecode")
        .args(["--from-dump", path.to_str().unwrap()])
        .output()
        .expect("dmidecode must be there: run by scripts/in-root");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{said}"
    );
    // The first two lines name dmidecode's version and the file.
    said.splitn(3, '\n').nth(2).unwrap().trim_end().to_owned()
}

const BIOS: &str = "\
SMBIOS 3.0.0 present.

Handle 0x0000, DMI type 0, 24 bytes
BIOS Information
\tVendor: Mint
\tVersion: 1
\tRelease Date: Not Specified
\tROM Size: 64 kB
\tCharacteristics:
\t\tBIOS characteristics not supported
\t\tUEFI is supported

Handle 0x0001, DMI type 1, 27 bytes
System Information
\tManufacturer: Mint
\tProduct Name: Successor
\tVersion: Not Specified
\tSerial Number: 85944171f73967e8
\tUUID: 00112233-4455-8677-8899-aabbccddeeff
\tWake-up Type: Unknown
\tSKU Number: Not Specified
\tFamily: Not Specified";

#[test]
fn dmidecode_reads_what_was_meant() {
    let text =
        b"system.hostname=web1\n\nbinary:ssh.authorized_keys.root=c3NoLWVkMjU1MTk=\na b=c=d ";
    assert_eq!(
        dmidecode("credentials", &written(text, 0)),
        BIOS.to_owned()
            + "

Handle 0x0002, DMI type 11, 5 bytes
OEM Strings
\tString 1: io.systemd.credential:system.hostname=web1
\tString 2: io.systemd.credential.binary:ssh.authorized_keys.root=c3NoLWVkMjU1MTk=
\tString 3: io.systemd.credential:a b=c=d 

Handle 0x0003, DMI type 127, 4 bytes
End Of Table"
    );
}

#[test]
fn a_system_without_credentials_has_no_oem_strings() {
    for text in [&b""[..], b"\n\n"] {
        let end = "\n\nHandle 0x0002, DMI type 127, 4 bytes\nEnd Of Table";
        let said = dmidecode("none", &written(text, 0));
        assert_eq!(said, BIOS.to_owned() + end);
    }
}

/// The structures as `dmi_smbios3_present()` and `dmi_decode_table()` of the kernel find them: the
/// fields, and the strings.
fn walk(area: &[u8], at: u64) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
    let entry = &area[..24];
    assert_eq!((&entry[..5], entry[6]), (&b"_SM3_"[..], 24));
    assert_eq!(entry.iter().fold(0u8, |sum, &b| sum.wrapping_add(b)), 0);
    let len = u32::from_le_bytes(entry[12..16].try_into().unwrap()) as usize;
    let base = u64::from_le_bytes(entry[16..24].try_into().unwrap());
    let mut rest = &area[(base - at) as usize..][..len];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (fields, strings) = rest.split_at(rest[1].into());
        assert!(fields.len() >= 4);
        let end = strings.windows(2).position(|pair| pair == [0, 0]).unwrap();
        let strings = match &strings[..end] {
            [] => Vec::new(),
            all => all.split(|&b| b == 0).map(<[u8]>::to_vec).collect(),
        };
        rest = &rest[fields.len() + end + 2..];
        found.push((fields.to_vec(), strings));
    }
    assert_eq!(found.last().unwrap().0[0], 127);
    let handles = found.iter().map(|(fields, _)| fields[2..4].to_vec());
    let expected = (0..found.len() as u16).map(|handle| handle.to_le_bytes().to_vec());
    assert!(handles.eq(expected));
    found
}

/// The most credentials that are allowed, with as many bytes as are allowed.
fn largest() -> Vec<u8> {
    let mut text = Vec::new();
    for index in 0..MAX_CREDENTIALS {
        let name = format!("binary:{index:03}=");
        let line_len = MAX_LEN / MAX_CREDENTIALS;
        let value = "A".repeat((line_len - name.len() - 1) / 4 * 4);
        text.extend(format!("{name}{value}\n").bytes());
    }
    // The last is of text, and as long as possible.
    text.extend(vec![b'x'; MAX_LEN - text.len()]);
    let last = text.iter().rposition(|&byte| byte == b'\n').unwrap();
    text[last] = b'A';
    let tail = text.len() - text.iter().rposition(|&byte| byte == b'=').unwrap() - 1;
    let end = text.len() - tail % 4;
    text.truncate(end);
    text
}

#[test]
fn the_kernel_has_room_for_the_largest() {
    let text = largest();
    assert_eq!(credentials::check(&text), Ok(()));
    assert!(text.len() > MAX_LEN - 4);
    let range = |start, len| Range::new(start, len).unwrap();
    let low = Low::new(range(0x3_0000, PAGE), range(0x3_2000, 0x8000)).unwrap();
    let image = parse(&image::minimal()).unwrap();
    let layout = plan(range(1 << 30, 256 << 20), low, &image, 0, false).unwrap();
    let (at, len) = (layout.smbios.start(), layout.smbios.len());

    let mut area = vec![0xa5; len as usize];
    let longest = System {
        serial_number: &[b'9'; 255],
        ..system(&text)
    };
    assert_eq!(write(&mut area, at, &longest), Some(at));
    let found = walk(&area, at);
    assert_eq!(found[2].1.len(), MAX_CREDENTIALS);

    // dmi_alloc() aligns to 4 bytes; of each string there is a copy, and of each OEM string a struct
    // dmi_device (include/linux/dmi.h), which has five pointers' size.
    let strings = found.iter().flat_map(|(_, strings)| strings);
    let copies: usize = strings.map(|s| (s.len() + 1).next_multiple_of(4)).sum();
    let uuid = (16 * 2 + 4 + 1usize).next_multiple_of(4);
    assert!(copies + uuid + 40 * MAX_CREDENTIALS < 65536);
    // early_memremap() maps NR_FIX_BTMAPS pages (arch/x86/include/asm/fixmap.h).
    assert!(len < 64 * PAGE);
}

#[test]
fn it_may_lie_anywhere() {
    for at in [0x6000, (1 << 32) + 0x6000, (1 << 52) - 0x8000] {
        assert_eq!(walk(&written(b"a=b", at), at).len(), 4);
    }
    let mut area = vec![0; 0x8000];
    assert_eq!(write(&mut area, u64::MAX - 31, &system(b"")), None);
}

#[test]
fn what_does_not_fit_is_refused() {
    let whole = written(b"a=b\nbinary:c=AAAA", 0);
    let len = u32::from_le_bytes(whole[12..16].try_into().unwrap()) as usize + 32;
    for room in 0..len {
        let mut area = vec![0xa5; room];
        assert_eq!(write(&mut area, 0, &system(b"a=b\nbinary:c=AAAA")), None);
    }
    let mut area = vec![0xa5; len];
    assert!(write(&mut area, 0, &system(b"a=b\nbinary:c=AAAA")).is_some());
    assert_eq!(area[..24], whole[..24]);
    assert_eq!(area[32..], whole[32..len]);
}

#[test]
fn strings_that_smbios_cannot_have_are_refused() {
    let mut area = vec![0; 0x8000];
    for serial_number in [&b""[..], b"a\0b"] {
        let system = System {
            serial_number,
            ..system(b"")
        };
        assert_eq!(write(&mut area, 0, &system), None);
    }
    let many: Vec<_> = (0..256).map(|index| format!("{index}=\n")).collect();
    assert_eq!(write(&mut area, 0, &system(many.concat().as_bytes())), None);
}
