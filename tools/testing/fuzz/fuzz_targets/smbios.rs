// SPDX-License-Identifier: GPL-2.0

//! Credentials, whatever is written: what is accepted arrives in a successor's systemd.
//!
//! The input is a value of the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mint_unit::firmware::credentials::{check, each, MAX_CREDENTIALS, MAX_LEN};
use mint_unit::firmware::smbios::{write, System};

/// As much as the layout has.
const ROOM: usize = 32 << 10;
const AT: u64 = 0x4000_6000;

fuzz_target!(|bytes: &[u8]| {
    let text = &bytes[..bytes.len().min(MAX_LEN)];
    let checked = check(text);
    let lines = text.split(|&byte| byte == b'\n');
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    let found: Vec<_> = each(text).collect();
    if let Err(error) = checked {
        assert!(error.line <= text.split(|&byte| byte == b'\n').count());
        assert!(!error.to_string().contains('\n'));
    } else {
        assert!(lines.len() <= MAX_CREDENTIALS && found.len() == lines.len());
    }

    let mut area = vec![0xa5; ROOM];
    let system = System {
        serial_number: b"1",
        uuid: [0x77; 16],
        credentials: text,
    };
    if write(&mut area, AT, &system).is_none() {
        assert!(found.len() > MAX_CREDENTIALS);
        return;
    }
    let told = oem_strings(&area);
    assert_eq!(told.len(), found.len());
    let mut names = Vec::new();
    for (string, credential) in told.iter().zip(&found) {
        let (is_binary, name, value) = of_systemd(string);
        assert_eq!(
            (is_binary, name, value),
            (credential.is_binary, credential.name, credential.value)
        );
        names.push(name);
    }
    if checked.is_ok() {
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        let sent = lines
            .iter()
            .map(|line| line.strip_prefix(b"binary:").unwrap_or(line));
        let got = told
            .iter()
            .map(|string| string.splitn(2, |&byte| byte == b':').nth(1).unwrap());
        assert!(sent.eq(got));
    }
});

/// The strings of the structure of type 11, as `dmi_decode_table()` of the kernel finds it.
fn oem_strings(area: &[u8]) -> Vec<&[u8]> {
    let len = u32::from_le_bytes(area[12..16].try_into().unwrap()) as usize;
    let start = (u64::from_le_bytes(area[16..24].try_into().unwrap()) - AT) as usize;
    let mut rest = &area[start..][..len];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (fields, strings) = rest.split_at(rest[1].into());
        let end = strings.windows(2).position(|pair| pair == [0, 0]).unwrap();
        if fields[0] == 11 {
            found = strings[..end].split(|&byte| byte == 0).collect();
            assert_eq!(usize::from(fields[4]), found.len());
        }
        rest = &rest[fields.len() + end + 2..];
    }
    found
}

/// What `parse_smbios_strings()` of systemd takes from a string: whether it is Base64, the name, which
/// must be valid, and the value.
fn of_systemd(string: &[u8]) -> (bool, &[u8], &[u8]) {
    let (is_binary, rest) = match string.strip_prefix(b"io.systemd.credential:") {
        Some(rest) => (false, rest),
        None => (
            true,
            string
                .strip_prefix(b"io.systemd.credential.binary:")
                .unwrap(),
        ),
    };
    let equals = rest.iter().position(|&byte| byte == b'=').unwrap();
    let (name, value) = (&rest[..equals], &rest[equals + 1..]);
    // filename_is_valid() and fdname_is_valid().
    assert!(!matches!(name, b"" | b"." | b"..") && name.len() <= 255);
    assert!(name
        .iter()
        .all(|&byte| (b' '..0x7f).contains(&byte) && byte != b'/' && byte != b':'));
    (is_binary, name, value)
}
