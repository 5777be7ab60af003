// SPDX-License-Identifier: GPL-2.0

//! AML, compared with what ACPICA's compiler makes of the same in ASL.

#[path = "common/iasl.rs"]
#[expect(dead_code, reason = "no whole tables here")]
mod iasl;

use mint_unit::firmware::aml::Writer;

/// What `write` writes.
fn aml(write: impl Fn(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = vec![0xa5; 0x1_0000];
    let mut writer = Writer::new(&mut out);
    write(&mut writer);
    let len = writer.finish().unwrap();
    out.truncate(len);
    out
}

/// `value` in ASL; iasl takes digits for a constant with a prefix.
fn asl_integer(value: u32) -> String {
    match value {
        0 => "Zero".to_string(),
        1 => "One".to_string(),
        _ => value.to_string(),
    }
}

/// What iasl makes of `asl`.
fn compiled(test: &str, asl: &str) -> Vec<u8> {
    let source = format!("DefinitionBlock (\"\", \"SSDT\", 2, \"A\", \"B\", 1) {{ {asl} }}");
    iasl::compile(test, &source)[36..].to_vec()
}

#[test]
fn integers() {
    for value in [
        0,
        1,
        2,
        0x7f,
        0xff,
        0x100,
        0xffff,
        0x1_0000,
        0x7fff_ffff,
        u32::MAX,
    ] {
        let ours = aml(|w| w.name(*b"INT_", |w| w.integer(value)));
        assert_eq!(
            ours,
            compiled("integers", &format!("Name (INT, {})", asl_integer(value))),
            "{value:#x}"
        );
    }
}

#[test]
fn eisa_ids() {
    for id in ["PNP0501", "PNP0A08", "ACPFFFF", "ZZZ9ABC"] {
        let ours = aml(|w| {
            w.name(*b"_HID", |w| w.eisa_id(id.as_bytes().try_into().unwrap()));
        });
        let asl = format!("Device (DEV0) {{ Name (_HID, EisaId (\"{id}\")) }}");
        let theirs = compiled("eisa-ids", &asl);
        // Behind ExtOpPrefix, DeviceOp, a PkgLength of one byte and the name.
        assert_eq!(ours, theirs[7..], "{id}");
    }
}

#[test]
fn packages() {
    for integers in [
        &[][..],
        &[0],
        &[5, 5, 0, 0],
        &[1, 0x12, 0x1234, 0x1234_5678],
        &[300; 255],
    ] {
        let ours = aml(|w| w.root_name(*b"PKG_", |w| w.package(integers)));
        let list: Vec<_> = integers
            .iter()
            .map(|&integer| asl_integer(integer))
            .collect();
        let asl = format!("Name (\\PKG, Package () {{ {} }})", list.join(", "));
        assert_eq!(ours, compiled("packages", &asl), "{integers:?}");
    }
}

#[test]
fn io_ports() {
    for (port, len) in [(0x2f8, 8), (0, 1), (0xfff8, 255)] {
        let ours = aml(|w| w.name(*b"_CRS", |w| w.io_resource(port, len)));
        let asl = format!(
            "Device (DEV0) {{ Name (_HID, EisaId (\"PNP0501\")) \
             Name (_CRS, ResourceTemplate () {{ IO (Decode16, {port}, {port}, 1, {len}) }}) }}"
        );
        assert!(compiled("io-ports", &asl).ends_with(&ours), "{port:#x}");
    }
}

/// The length before a body has one, two or three bytes, and counts them too.
#[test]
fn lengths_on_either_side_of_each_border() {
    const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let name = |i: usize| [b'N', DIGITS[i / 1296], DIGITS[i / 36 % 36], DIGITS[i % 36]];
    for body in [0x3d, 0x3e, 0x3f, 0x40, 0xffc, 0xffd, 0xffe, 0xfff, 0x5000] {
        // The name of the scope takes 5 bytes, a Name of Zero 6, and one of a byte 7.
        let count = (body - 5) / 6;
        let value = |i: usize| u32::from(i < (body - 5) % 6) * 2;
        let ours = aml(|w| {
            w.scope(*b"_SB_", |w| {
                for i in 0..count {
                    w.name(name(i), |w| w.integer(value(i)));
                }
            });
        });
        let names = (0..count).map(|i| {
            let (name, value) = (name(i), asl_integer(value(i)));
            format!("Name ({}, {value})", String::from_utf8_lossy(&name))
        });
        let asl = names.collect::<Vec<_>>().join("\n");
        let theirs = compiled("lengths", &format!("Scope (\\_SB) {{ {asl} }}"));
        assert_eq!(ours, theirs, "a body of {body:#x} bytes");
        let length_bytes = match body {
            0..=0x3e => 1,
            0x3f..=0xffd => 2,
            _ => 3,
        };
        assert_eq!(ours.len(), 1 + length_bytes + body);
    }
}

#[test]
fn what_does_not_fit_is_told_and_nothing_else_touched() {
    let write = |w: &mut Writer<'_>| {
        w.root_name(*b"_S5_", |w| w.package(&[5, 5, 0, 0]));
        w.scope(*b"_SB_", |w| {
            w.device(*b"UAR0", |w| w.name(*b"_CRS", |w| w.io_resource(0x2f8, 8)));
            w.integer(0);
        });
    };
    let whole = aml(write);
    for room in 0..=whole.len() {
        let mut out = vec![0xa5; whole.len() + 1];
        let mut writer = Writer::new(&mut out[..room]);
        write(&mut writer);
        let fits = room == whole.len();
        assert_eq!(writer.finish(), fits.then_some(room), "{room} bytes");
        assert!(out[room..].iter().all(|&byte| byte == 0xa5));
        assert_eq!(out.starts_with(&whole), fits);
    }
}
