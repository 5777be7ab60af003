// SPDX-License-Identifier: GPL-2.0

//! The file `credentials`: what is accepted, and what is said about the rest.

use mint_unit::firmware::credentials::{check, each, Error, Why, MAX_CREDENTIALS};

fn read(text: &[u8]) -> Vec<(bool, &[u8], &[u8])> {
    assert_eq!(check(text), Ok(()));
    each(text)
        .map(|credential| (credential.is_binary, credential.name, credential.value))
        .collect()
}

#[test]
fn a_line_is_a_credential() {
    assert_eq!(
        read(b"system.hostname=web1\n\nbinary:network.network.50-net=W01hdGNoXQo=\n"),
        [
            (false, &b"system.hostname"[..], &b"web1"[..]),
            (true, b"network.network.50-net", b"W01hdGNoXQo="),
        ]
    );
    for nothing in [&b""[..], b"\n", b"\n\n"] {
        assert_eq!(read(nothing), []);
    }
}

#[test]
fn a_value_is_taken_as_it_is() {
    for value in ["", " a b ", "a=b=", "binary:x=y", "\t", "f\u{fc}r"] {
        let line = format!("name={value}");
        assert_eq!(
            read(line.as_bytes()),
            [(false, &b"name"[..], value.as_bytes())]
        );
    }
    // Not UTF-8, which SMBIOS and systemd do not ask for.
    assert_eq!(read(b"name=\xff"), [(false, &b"name"[..], &b"\xff"[..])]);
}

#[test]
fn base64_has_its_padding() {
    for good in ["", "QQ==", "QUI=", "QUJD", "+/+/", "QUJDRA=="] {
        let line = format!("binary:a={good}");
        assert_eq!(read(line.as_bytes()), [(true, &b"a"[..], good.as_bytes())]);
    }
    for bad in [
        "Q",
        "QQ",
        "QQ=",
        "Q===",
        "====",
        "=",
        "Q=QQ",
        "QQ =",
        "QQ-_",
        "QUJ\u{fc}",
        "QUJD\r",
    ] {
        assert_eq!(
            why(format!("binary:a={bad}").as_bytes()),
            Why::Base64,
            "{bad}"
        );
    }
}

/// What is wrong with the line of `text` that [`check`] tells, and the others are not wrong.
fn why(text: &[u8]) -> Why {
    let Error { line, why } = check(text).unwrap_err();
    assert_eq!(line, 1);
    let moved = [b"good=1\n\nbinary:also=\n", text, b"\nlast=1"].concat();
    assert_eq!(check(&moved), Err(Error { line: 4, why }));
    why
}

#[test]
fn names_are_those_that_systemd_takes() {
    let longest = "n".repeat(255);
    for good in ["a", "...", " ", "network.network.50-a b", "~!$%", &longest] {
        assert_eq!(read(format!("{good}=").as_bytes()).len(), 1, "{good}");
    }
    let too_long = "n".repeat(256);
    for bad in [
        "", ".", "..", "a/b", "a:b", "text:a", "f\u{fc}r", "\t", &too_long,
    ] {
        assert_eq!(why(format!("{bad}=x").as_bytes()), Why::Name, "{bad}");
    }
}

#[test]
fn what_is_wrong_is_told_without_the_value() {
    for (text, expected) in [
        (&b"secret"[..], Why::NoValue),
        (b"binary:secret", Why::NoValue),
        (b"io.systemd.credential:a=secret", Why::Name),
        (b"a=secret\r", Why::Control),
        (b"a=secret\x1b", Why::Control),
        (b"a=secret\0", Why::Control),
        (b"a=secret\x7f", Why::Control),
        (b"binary:a=secret", Why::Base64),
    ] {
        assert_eq!(why(text), expected);
        let said = check(text).unwrap_err().to_string();
        assert!(said.starts_with("credentials: line 1: ") && !said.contains("secret"));
    }
}

#[test]
fn a_name_is_there_once() {
    let error = |line, why| Err(Error { line, why });
    assert_eq!(check(b"a=1\nb=2\na=3"), error(3, Why::Twice));
    assert_eq!(check(b"a=1\n\nbinary:a=AAAA"), error(3, Why::Twice));
    let all: Vec<_> = (0..MAX_CREDENTIALS).map(|n| format!("{n}=\n")).collect();
    let all = all.concat();
    assert_eq!(check(all.as_bytes()), Ok(()));
    let more = all + "more=1";
    assert_eq!(
        check(more.as_bytes()),
        error(MAX_CREDENTIALS + 1, Why::TooMany)
    );
}
