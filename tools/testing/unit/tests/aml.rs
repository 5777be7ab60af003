// SPDX-License-Identifier: GPL-2.0

//! AML, compared with what ACPICA's compiler makes of the same in ASL.

#[path = "common/iasl.rs"]
#[expect(dead_code, reason = "no whole tables here")]
mod iasl;

use mint_unit::firmware::aml::{Operand, Space, Writer};
use mint_unit::memory::memmap::Range;

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
fn asl_integer(value: u64) -> String {
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
        u32::MAX.into(),
        1 << 32,
        0xf_8000_0000,
        u64::MAX,
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
            .map(|&integer| asl_integer(integer.into()))
            .collect();
        let asl = format!("Name (\\PKG, Package () {{ {} }})", list.join(", "));
        assert_eq!(ours, compiled("packages", &asl), "{integers:?}");
    }
}

#[test]
fn io_ports() {
    for (port, len) in [(0x2f8, 8), (0, 1), (0xfff8, 255)] {
        let ours = aml(|w| w.name(*b"_CRS", |w| w.resource_template(|w| w.io(port, len))));
        let asl = format!(
            "Device (DEV0) {{ Name (_HID, EisaId (\"PNP0501\")) \
             Name (_CRS, ResourceTemplate () {{ IO (Decode16, {port}, {port}, 1, {len}) }}) }}"
        );
        assert!(compiled("io-ports", &asl).ends_with(&ours), "{port:#x}");
    }
}

/// A device whose `_CRS` has `descriptors`, in ASL.
fn device_with(descriptors: &str) -> String {
    format!(
        "Device (DEV0) {{ Name (_HID, EisaId (\"PNP0A08\")) \
         Name (_CRS, ResourceTemplate () {{ {descriptors} }}) }}"
    )
}

#[test]
fn address_spaces() {
    let last = |range: &Range| range.end() - 1;
    for (start, len) in [
        (0, 1),
        (0xc000, 0x1000),
        (0xfe80_0000, 0x20_0000),
        (0xffff_f000, 0x1000),
        (0x40_0000_0000, 0x10_0000_0000),
        (u64::MAX - 0xfff, 0xfff),
    ] {
        let range = Range::new(start, len).unwrap();
        let fields = format!("0, {start}, {}, 0, {len}", last(&range));
        for (space, asl) in [
            (
                Space::Memory,
                format!(
                    "QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, \
                     ReadWrite, {fields})"
                ),
            ),
            (
                Space::Prefetchable,
                format!(
                    "QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Prefetchable, \
                     ReadWrite, {fields})"
                ),
            ),
            (
                Space::Io,
                format!(
                    "QWordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, \
                     {fields})"
                ),
            ),
        ] {
            let ours = aml(|w| {
                w.name(*b"_CRS", |w| {
                    w.resource_template(|w| w.window(space, &range))
                })
            });
            let theirs = compiled("windows", &device_with(&asl));
            assert!(theirs.ends_with(&ours), "{space:?} {range:x?}");
        }
        let ours = aml(|w| w.name(*b"_CRS", |w| w.resource_template(|w| w.memory(&range))));
        let asl = format!(
            "QWordMemory (ResourceConsumer, PosDecode, MinFixed, MaxFixed, NonCacheable, \
             ReadWrite, {fields})"
        );
        let theirs = compiled("memory", &device_with(&asl));
        assert!(theirs.ends_with(&ours), "{range:x?}");
    }
    for (start, len) in [(0, 1), (0, 256), (1, 3), (255, 1)] {
        let buses = Range::new(start, len).unwrap();
        let ours = aml(|w| w.name(*b"_CRS", |w| w.resource_template(|w| w.bus_numbers(&buses))));
        let asl = format!(
            "WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, {start}, {}, 0, {len})",
            last(&buses)
        );
        let theirs = compiled("buses", &device_with(&asl));
        assert!(theirs.ends_with(&ours), "{buses:x?}");
    }
}

/// The size of the buffer is a constant that gets longer itself.
#[test]
fn resource_templates_of_any_length() {
    for count in [1, 2, 5, 6, 31, 32, 33, 64, 300] {
        let range = |i: u64| Range::new(0x1000_0000 * i, 0x10_0000).unwrap();
        let ours = aml(|w| {
            w.name(*b"_CRS", |w| {
                w.resource_template(|w| (1..=count).for_each(|i| w.memory(&range(i))));
            });
        });
        let descriptors = (1..=count).map(|i| {
            format!(
                "QWordMemory (ResourceConsumer, PosDecode, MinFixed, MaxFixed, NonCacheable, \
                 ReadWrite, 0, {}, {}, 0, 0x100000)\n",
                range(i).start(),
                range(i).end() - 1
            )
        });
        let theirs = compiled("templates", &device_with(&descriptors.collect::<String>()));
        assert!(theirs.ends_with(&ours), "{count}");
    }
}

#[test]
fn packages_of_packages() {
    for count in [0, 1, 128, 255] {
        let ours = aml(|w| {
            w.name(*b"PKG_", |w| {
                w.packages(count, |w| {
                    (0..count.into()).for_each(|i| w.package(&[i, 0xffff]))
                });
            });
        });
        let list =
            (0..count.into()).map(|i| format!("Package () {{ {}, 0xffff }}", asl_integer(i)));
        let list = list.collect::<Vec<_>>().join(", ");
        let theirs = compiled(
            "packages-of",
            &format!("Name (PKG, Package () {{ {list} }})"),
        );
        assert_eq!(ours, theirs, "{count}");
    }
}

#[test]
fn methods() {
    use Operand::{Arg, Buffer, Integer, Local, Name};
    let long = [0x5a; 300];
    let ours = aml(|w| {
        w.name(*b"VAL_", |w| w.integer(7));
        w.method(*b"MET0", 0, |w| w.return_value(Name(*b"VAL_")));
        w.method(*b"MET1", 7, |w| {
            w.store(Arg(6), Local(7));
            w.create_dword_field(Arg(6), 0, *b"FLD0");
            w.create_dword_field(Local(7), 300, *b"FLD1");
            w.if_equal(Arg(0), Buffer(b"0123456789abcdef"), |w| {
                w.and(Name(*b"FLD0"), Integer(0x1234_5678), Local(0));
                w.if_not_equal(Local(0), Name(*b"FLD1"), |w| {
                    w.or(Local(0), Integer(1), Name(*b"FLD1"));
                });
            });
            w.or_else(|w| w.store(Buffer(&long), Arg(1)));
            w.return_value(Arg(5));
        });
    });
    let bytes = ["0x5a"; 300].join(", ");
    let asl = format!(
        "Name (VAL, 7)
         Method (MET0, 0, Serialized) {{ Return (VAL) }}
         Method (MET1, 7, Serialized) {{
             Local7 = Arg6
             CreateDWordField (Arg6, Zero, FLD0)
             CreateDWordField (Local7, 300, FLD1)
             If (Arg0 == Buffer (16) {{
                 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37,
                 0x38, 0x39, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66
             }}) {{
                 Local0 = FLD0 & 0x12345678
                 If (Local0 != FLD1) {{ FLD1 = Local0 | One }}
             }} Else {{
                 Arg1 = Buffer (300) {{ {bytes} }}
             }}
             Return (Arg5)
         }}"
    );
    assert_eq!(ours, compiled("methods", &asl));
}

/// The length before a body has one, two or three bytes, and counts them too.
#[test]
fn lengths_on_either_side_of_each_border() {
    const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let name = |i: usize| [b'N', DIGITS[i / 1296], DIGITS[i / 36 % 36], DIGITS[i % 36]];
    for body in [0x3d, 0x3e, 0x3f, 0x40, 0xffc, 0xffd, 0xffe, 0xfff, 0x5000] {
        // The name of the scope takes 5 bytes, a Name of Zero 6, and one of a byte 7.
        let count = (body - 5) / 6;
        let value = |i: usize| u64::from(i < (body - 5) % 6) * 2;
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
            w.device(*b"UAR0", |w| {
                w.name(*b"_CRS", |w| w.resource_template(|w| w.io(0x2f8, 8)));
            });
            w.method(*b"MET0", 1, |w| w.return_value(Operand::Arg(0)));
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
