// SPDX-License-Identifier: GPL-2.0

//! Parses a kernel command line as the kernel does.
//!
//! Reference: `next_arg()` and `memparse()` in `lib/cmdline.c`, and
//! Documentation/admin-guide/kernel-parameters.rst.

/// One parameter of a command line: `name`, or `name=value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// The text before the `=`.
    pub name: &'a str,
    /// The text after the `=`, without the quotes around it.
    pub value: Option<&'a str>,
    /// The whole parameter, as written.
    pub text: &'a str,
}

impl Param<'_> {
    /// Returns whether this is the parameter `name`. As in the kernel, `-` and `_` in names are the
    /// same (`parameq()` in `kernel/params.c`).
    pub fn is(&self, name: &str) -> bool {
        let fold = |byte: u8| if byte == b'-' { b'_' } else { byte };
        self.name.len() == name.len()
            && self
                .name
                .bytes()
                .zip(name.bytes())
                .all(|(a, b)| fold(a) == fold(b))
    }
}

/// Returns the kernel's parameters on `line`: those before `--`. The words after `--` are for
/// init.
pub fn params(line: &str) -> Params<'_> {
    Params { rest: line }
}

/// Iterator over a command line; see [`params`].
#[derive(Clone)]
pub struct Params<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Params<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        let line = self.rest.trim_start_matches(is_space);
        if line.is_empty() {
            return None;
        }
        let mut quoted = false;
        let end = line
            .find(|c: char| {
                quoted ^= c == '"';
                is_space(c) && !quoted
            })
            .unwrap_or(line.len());
        let (text, rest) = line.split_at(end);
        // The opening quote may be before the value or before the whole parameter. The closing one
        // is at the end.
        let (bare, quoted) = strip_quote(text);
        // A '=' at the start is part of the name.
        let equals = bare.bytes().skip(1).position(|byte| byte == b'=');
        let (name, value) = match equals {
            Some(behind_first) => {
                let (name, value) = bare.split_at(1 + behind_first);
                let (value, value_quoted) = strip_quote(&value[1..]);
                (name, Some(close_quote(value, quoted || value_quoted)))
            }
            None => (close_quote(bare, quoted), None),
        };
        if name == "--" && value.is_none() {
            self.rest = "";
            return None;
        }
        self.rest = rest;
        Some(Param { name, value, text })
    }
}

/// Returns whether `c` separates parameters. The kernel's `isspace()` looks at bytes, and takes
/// 0xa0 for a space even within a multi-byte character (`_ctype` in `lib/ctype.c`).
fn is_space(c: char) -> bool {
    c.is_ascii_whitespace()
        || c == '\x0b'
        || c.encode_utf8(&mut [0; 4]).bytes().any(|byte| byte == 0xa0)
}

/// Returns `text` without a quote at its start, and whether there was one.
fn strip_quote(text: &str) -> (&str, bool) {
    match text.strip_prefix('"') {
        Some(inner) => (inner, true),
        None => (text, false),
    }
}

/// Returns `text` without a quote at its end, if `quoted` says that one was opened.
fn close_quote(text: &str, quoted: bool) -> &str {
    match text.strip_suffix('"') {
        Some(inner) if quoted => inner,
        _ => text,
    }
}

/// Parses the number at the start of `text`, with an optional suffix (K, M, G, T, P, E: powers of
/// 1024), as `memparse()` does. Returns the number and the rest of `text`.
///
/// Returns [`None`] if there is no number, or if it does not fit in 64 bits. The kernel's
/// `memparse()` returns 0 for the first, and for the second wraps around or, in newer kernels,
/// returns the largest number.
pub fn memparse(text: &str) -> Option<(u64, &str)> {
    let (number, rest) = strtoull(text)?;
    let shift = match rest.bytes().next().map(|c| c.to_ascii_uppercase()) {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        Some(b'T') => 40,
        Some(b'P') => 50,
        Some(b'E') => 60,
        _ => return Some((number, rest)),
    };
    Some((number.checked_mul(1 << shift)?, &rest[1..]))
}

/// Parses the number at the start of `text`, as `simple_strtoull()` does with base 0. Returns the
/// number and the rest of `text`, or [`None`] as [`memparse`] does.
pub fn strtoull(text: &str) -> Option<(u64, &str)> {
    let (radix, digits) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(hex) => (16, hex),
        None if text.starts_with('0') => (8, text),
        None => (10, text),
    };
    let end = digits
        .find(|c: char| !c.is_digit(radix))
        .unwrap_or(digits.len());
    let number = u64::from_str_radix(&digits[..end], radix).ok()?;
    Some((number, &digits[end..]))
}
