// SPDX-License-Identifier: GPL-2.0

//! How Linux 7.3 reads a command line, told a second time and by bytes.
//!
//! Each function is what the C function does that it names, whatever it was meant to do.

/// A parameter as `parse_args()` passes it on: its name, and its value if it has one.
pub type Param = (Vec<u8>, Option<Vec<u8>>);

/// `isspace()` (lib/ctype.c).
fn is_space(byte: u8) -> bool {
    matches!(byte, 9..=13 | b' ' | 0xa0)
}

fn skip_spaces(line: &[u8]) -> &[u8] {
    let spaces = line.iter().take_while(|&&byte| is_space(byte)).count();
    &line[spaces..]
}

/// `parse_args()` (kernel/params.c): the parameters up to `--`, and what is behind it.
pub fn parse_args(line: &[u8]) -> (Vec<Param>, &[u8]) {
    let mut params = Vec::new();
    let mut args = skip_spaces(line);
    while !args.is_empty() {
        let (param, rest) = next_arg(args);
        args = rest;
        if param == (b"--".to_vec(), None) {
            break;
        }
        params.push(param);
    }
    (params, args)
}

/// `next_arg()` (lib/cmdline.c).
fn next_arg(args: &[u8]) -> (Param, &[u8]) {
    let quoted = args[0] == b'"';
    let args = &args[usize::from(quoted)..];
    let mut in_quote = quoted;
    let mut equals = 0;
    let mut end = 0;
    while let Some(&byte) = args.get(end) {
        if is_space(byte) && !in_quote {
            break;
        }
        if equals == 0 && byte == b'=' {
            equals = end;
        }
        in_quote ^= byte == b'"';
        end += 1;
    }

    // Where the zero is that C puts behind the name and the value.
    let mut zero = end;
    let mut start = 0;
    if equals != 0 {
        start = equals + 1;
        if args.get(start) == Some(&b'"') {
            start += 1;
            if args[end - 1] == b'"' {
                zero = end - 1;
            }
        }
    }
    if quoted && end > 0 && zero == end && args[end - 1] == b'"' {
        zero = end - 1;
    }
    let param = if equals == 0 {
        (args[..zero].to_vec(), None)
    } else {
        // A zero before the value's start was that of an opening quote, taken for the closing one.
        let value = args.get(start..zero).unwrap_or(b"");
        (args[..equals].to_vec(), Some(value.to_vec()))
    };
    (param, skip_spaces(args.get(end + 1..).unwrap_or(b"")))
}

/// `parameq()` (kernel/params.c).
pub fn same_name(a: &[u8], b: &[u8]) -> bool {
    let dash = |byte: &u8| if *byte == b'-' { b'_' } else { *byte };
    a.iter().map(dash).eq(b.iter().map(dash))
}

/// A number as C reads it.
pub struct Number<'a> {
    /// What it is; the highest there is if it was too large.
    pub value: u64,
    /// What follows it.
    pub rest: &'a [u8],
    /// Whether all of that is as one would expect: there was a digit behind any prefix, and the
    /// number was not too large.
    pub plain: bool,
}

/// `simple_strtoull()` with base 0 (lib/vsprintf.c, lib/kstrtox.c).
pub fn simple_strtoull(text: &[u8]) -> Number<'_> {
    let hex_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let prefix = text.len() > 1 && text[0] == b'0' && text[1] | 0x20 == b'x';
    let (radix, digits) = match text {
        [b'0', ..] if prefix && hex_digit(text.get(2)) => (16, &text[2..]),
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let digit = |byte: &u8| (*byte as char).to_digit(radix);
    let len = digits.iter().map_while(digit).count();
    let value = digits[..len]
        .iter()
        .filter_map(digit)
        .try_fold(0u64, |sum, digit| {
            sum.checked_mul(radix.into())?.checked_add(digit.into())
        });
    Number {
        value: value.unwrap_or(u64::MAX),
        rest: &digits[len..],
        plain: value.is_some() && len > 0 && (!prefix || radix == 16),
    }
}

/// `memparse()` (lib/cmdline.c).
pub fn memparse(text: &[u8]) -> Number<'_> {
    let number = simple_strtoull(text);
    let letter = number.rest.first().map(u8::to_ascii_uppercase);
    let Some(power) = letter.and_then(|letter| b"KMGTPE".iter().position(|&c| c == letter)) else {
        return number;
    };
    if number.rest.len() == text.len() {
        return number;
    }
    let shift = 10 * (power as u32 + 1);
    let fits = number.value.leading_zeros() >= shift || number.value == 0;
    Number {
        value: if fits {
            number.value << shift
        } else {
            u64::MAX
        },
        rest: &number.rest[1..],
        plain: number.plain && fits,
    }
}

/// The ranges, as (start, length), that `parse_memmap_opt()` (arch/x86/kernel/e820.c) reserves on
/// `line`: those of plain numbers that are not empty and do not wrap around. Of the ranges whose type
/// is changed, those that were RAM and become reserved, in these words.
pub fn plain_reserved(line: &[u8]) -> Vec<(u64, u64)> {
    let (params, _) = parse_args(line);
    let values = params
        .iter()
        .filter(|(name, _)| same_name(name, b"memmap"))
        .filter_map(|(_, value)| value.as_ref());
    values
        .flat_map(|value| value.split(|&byte| byte == b','))
        .filter_map(|one| {
            let size = memparse(one);
            let (&form, rest) = size.rest.split_first()?;
            let start = memparse(rest);
            if form != b'$' && (form != b'%' || start.rest != b"-1+2") {
                return None;
            }
            let plain = size.plain && start.plain && size.value > 0;
            (plain && start.value.checked_add(size.value).is_some())
                .then_some((start.value, size.value))
        })
        .collect()
}
