// SPDX-License-Identifier: GPL-2.0

//! Command lines, as the C functions of the kernel read them.

#[path = "common/rng.rs"]
mod rng;

use mint_unit::memory::kernel_params::{memparse, params};
use rng::Rng;

/// `_ctype` in lib/ctype.c marks these as spaces.
fn isspace(c: u8) -> bool {
    matches!(c, 9..=13 | 32 | 160)
}

/// lib/cmdline.c, line by line: indices into the zero-terminated `line` for its pointers.
fn next_arg(line: &mut [u8], mut args: usize) -> (usize, usize, Option<usize>) {
    let (mut i, mut equals, mut in_quote, mut quoted) = (0, 0, false, false);
    if line[args] == b'"' {
        args += 1;
        in_quote = true;
        quoted = true;
    }
    while line[args + i] != 0 {
        if isspace(line[args + i]) && !in_quote {
            break;
        }
        if equals == 0 && line[args + i] == b'=' {
            equals = i;
        }
        if line[args + i] == b'"' {
            in_quote = !in_quote;
        }
        i += 1;
    }
    let param = args;
    let mut val = None;
    if equals != 0 {
        line[args + equals] = 0;
        let mut at = args + equals + 1;
        if line[at] == b'"' {
            at += 1;
            if line[args + i - 1] == b'"' {
                line[args + i - 1] = 0;
            }
        }
        val = Some(at);
    }
    if quoted && i > 0 && line[args + i - 1] == b'"' {
        line[args + i - 1] = 0;
    }
    if line[args + i] != 0 {
        line[args + i] = 0;
        args += i + 1;
    } else {
        args += i;
    }
    while isspace(line[args]) {
        args += 1;
    }
    (args, param, val)
}

/// What `parse_args()` in kernel/params.c hands on.
fn parse_args(text: &str) -> Vec<(String, Option<String>)> {
    let mut line = [text.as_bytes(), &[0]].concat();
    let mut args = line.iter().take_while(|&&c| isspace(c)).count();
    let mut found = Vec::new();
    while line[args] != 0 {
        let (rest, param, val) = next_arg(&mut line, args);
        let string = |start: usize| {
            let bytes = line[start..].iter().copied().take_while(|&c| c != 0);
            String::from_utf8(bytes.collect()).unwrap()
        };
        let (param, val) = (string(param), val.map(string));
        if val.is_none() && param == "--" {
            break;
        }
        found.push((param, val));
        args = rest;
    }
    found
}

fn ours(text: &str) -> Vec<(String, Option<String>)> {
    params(text)
        .map(|param| (param.name.to_string(), param.value.map(str::to_string)))
        .collect()
}

#[test]
fn parameters_are_split_as_the_kernel_splits_them() {
    for (line, expected) in [
        ("", &[][..]),
        (" \t\n", &[]),
        ("quiet", &[("quiet", None)]),
        ("  a=1\tb  ", &[("a", Some("1")), ("b", None)]),
        ("a=", &[("a", Some(""))]),
        ("a=b=c", &[("a", Some("b=c"))]),
        ("=a", &[("=a", None)]),
        ("a=\"b c\" d", &[("a", Some("b c")), ("d", None)]),
        ("\"a=b c\" d", &[("a", Some("b c")), ("d", None)]),
        ("\"a b\"", &[("a b", None)]),
        ("a=\"b", &[("a", Some("b"))]),
        ("a=b\" c\"", &[("a", Some("b\" c\""))]),
        ("a=\"\" b", &[("a", Some("")), ("b", None)]),
        ("a -- b", &[("a", None)]),
        ("a \"--\" b", &[("a", None)]),
        (
            "a --b --=1",
            &[("a", None), ("--b", None), ("--", Some("1"))],
        ),
        ("a=1\u{b}b", &[("a", Some("1")), ("b", None)]),
    ] {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| (name.to_string(), value.map(str::to_string)))
            .collect();
        assert_eq!(parse_args(line), expected, "the oracle on {line:?}");
        assert_eq!(ours(line), expected, "{line:?}");
    }
}

#[test]
fn random_lines_are_split_as_the_kernel_splits_them() {
    const ALPHABET: &[char] = &[
        ' ', ' ', '\t', '\n', '\u{b}', '"', '"', '"', '=', '=', '-', '-', 'a', ',', '$', '\\', 'é',
    ];
    let mut rng = Rng(1);
    for _ in 0..200_000 {
        let len = rng.below(24);
        let line: String = (0..len)
            .map(|_| ALPHABET[rng.below(ALPHABET.len() as u64) as usize])
            .collect();
        assert_eq!(ours(&line), parse_args(&line), "{line:?}");
    }
}

/// A no-break space ends in 0xa0, and so does 'à': what follows is a parameter of its own.
#[test]
fn a_space_is_a_byte_to_the_kernel() {
    for line in [
        "quiet\u{a0}noapic",
        "x=à noapic",
        "x=ànoapic",
        "\u{a0}noapic",
    ] {
        assert!(params(line).any(|param| param.is("noapic")), "{line:?}");
    }
}

#[test]
fn text_is_what_was_written() {
    let line = " \"a=b c\"  d=\"e f\" g -- h";
    let texts: Vec<_> = params(line).map(|param| param.text).collect();
    assert_eq!(texts, ["\"a=b c\"", "d=\"e f\"", "g"]);
}

#[test]
fn names_are_compared_as_parameq_does() {
    let param = params("8250.nr-uarts=1").next().unwrap();
    for (name, same) in [
        ("8250.nr-uarts", true),
        ("8250.nr_uarts", true),
        ("8250.nr_uart", false),
        ("8250.nr_uarts2", false),
        ("8250.NR_uarts", false),
    ] {
        assert_eq!(param.is(name), same, "{name}");
    }
}

#[test]
fn numbers() {
    for (text, expected) in [
        ("0", Some((0, ""))),
        ("42", Some((42, ""))),
        ("017", Some((15, ""))),
        ("0x1f", Some((31, ""))),
        ("0XfF", Some((255, ""))),
        ("1K", Some((1 << 10, ""))),
        ("1m", Some((1 << 20, ""))),
        ("1G", Some((1 << 30, ""))),
        ("1t", Some((1 << 40, ""))),
        ("1P", Some((1 << 50, ""))),
        ("15e", Some((15 << 60, ""))),
        // E is a digit to a hexadecimal number.
        ("0x1E", Some((0x1e, ""))),
        ("0x1G", Some((1 << 30, ""))),
        ("010K", Some((8192, ""))),
        ("09", Some((0, "9"))),
        ("1KB", Some((1024, "B"))),
        ("64M$4G", Some((64 << 20, "$4G"))),
        ("18446744073709551615", Some((u64::MAX, ""))),
        ("0xffffffffffffffff", Some((u64::MAX, ""))),
        // The kernel wraps around or takes all it has; we refuse.
        ("18446744073709551616", None),
        ("0x10000000000000000", None),
        ("16E", None),
        ("0xffffffffffffffffK", None),
        // No number.
        ("", None),
        ("K", None),
        ("0x", None),
        ("-1", None),
        ("+1", None),
        (" 1", None),
        ("$1", None),
    ] {
        assert_eq!(memparse(text), expected, "{text:?}");
    }
}

/// `memparse()` and what it calls (lib/kstrtox.c), with room for numbers that overflow.
fn kernel_memparse(text: &str) -> Option<(u128, &str)> {
    let at = |i: usize| text.as_bytes().get(i).copied().unwrap_or(0);
    let (radix, start) = match (at(0), at(1) | 0x20) {
        (b'0', b'x') if at(2).is_ascii_hexdigit() => (16, 2),
        (b'0', _) => (8, 0),
        _ => (10, 0),
    };
    let (mut number, mut i) = (0u128, start);
    while let Some(digit) = (at(i) as char).to_digit(radix) {
        number = number * u128::from(radix) + u128::from(digit);
        i += 1;
    }
    if i == 0 {
        return None;
    }
    let shift = b"kmgtpe".iter().position(|&c| c == at(i) | 0x20);
    match shift {
        Some(shift) => Some((number << (10 * (shift + 1)), &text[i + 1..])),
        None => Some((number, &text[i..])),
    }
}

#[test]
fn random_numbers_are_read_as_the_kernel_reads_them() {
    const ALPHABET: &[u8] = b"0000123456789xXabcdefABCDEFkKmMgGtTpP$,@";
    let mut rng = Rng(2);
    let mut numbers = 0;
    for _ in 0..200_000 {
        // Short enough for 128 bits with any suffix.
        let len = rng.below(18);
        let text: String = (0..len)
            .map(|_| ALPHABET[rng.below(ALPHABET.len() as u64) as usize] as char)
            .collect();
        let expected = match kernel_memparse(&text) {
            // "0x" without digits: a 0 to the kernel, with the x behind it; no number to us.
            Some((0, rest)) if rest.len() + 1 == text.len() && rest.starts_with(['x', 'X']) => None,
            Some((number, rest)) => u64::try_from(number).ok().map(|number| (number, rest)),
            None => None,
        };
        let got = memparse(&text);
        assert_eq!(got, expected, "{text:?}");
        numbers += usize::from(got.is_some());
    }
    assert!(
        numbers > 50_000,
        "only {numbers} of the texts have a number"
    );
}
