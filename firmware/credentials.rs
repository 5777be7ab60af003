// SPDX-License-Identifier: GPL-2.0

//! The credentials of a system, as a person writes them to the file of that name: a line for each,
//! `NAME=TEXT`, or `binary:NAME=BASE64` for contents that are not one line of text.
//!
//! The successor's SMBIOS has each as a string (`smbios.rs`), from which systemd takes it
//! (systemd.system-credentials(7), smbios-type-11(7)). systemd warns about strings that it can't use
//! and goes on without them (`parse_smbios_strings()` in its `src/core/import-creds.c`). So what
//! systemd would not take is refused here.

use core::fmt;

/// The maximum length of all credentials of a system, as written. The kernel copies each string to
/// memory of which it has 64 KiB for all of SMBIOS, and stops if that is too little (`dmi_alloc()` in
/// `arch/x86/include/asm/dmi.h`, `RESERVE_BRK(dmi_alloc)` in `arch/x86/kernel/setup.c`).
pub const MAX_LEN: usize = 16 << 10;
/// The maximum number of credentials of a system: as many as one SMBIOS structure has strings.
pub const MAX_CREDENTIALS: usize = u8::MAX as usize;

/// The maximum length of a name (`FDNAME_MAX` in systemd's `src/basic/fd-util.h`).
const MAX_NAME: usize = 255;
/// What precedes the name of a credential in Base64. No name has a colon.
const BINARY: &[u8] = b"binary:";

/// A credential.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credential<'a> {
    /// Whether the value is Base64 (RFC 4648, section 4).
    pub is_binary: bool,
    /// The name.
    pub name: &'a [u8],
    /// The contents, or their Base64.
    pub value: &'a [u8],
}

/// Why credentials can't be used, and the line, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The line that is wrong.
    pub line: usize,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has no `=`.
    NoValue,
    /// systemd takes no credential of this name.
    Name,
    /// A text has a control character.
    Control,
    /// The value behind `binary:` is not Base64.
    Base64,
    /// The name was there before.
    Twice,
    /// There are more than [`MAX_CREDENTIALS`].
    TooMany,
}

impl fmt::Display for Error {
    /// Says nothing of the contents, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::NoValue => "it takes NAME=TEXT, or binary:NAME=BASE64",
            Why::Name => {
                "a name has up to 255 printable ASCII characters, no '/' and no ':', and is not '.' or '..'"
            }
            Why::Control => "the text has a control character: write binary:NAME=BASE64",
            Why::Base64 => "what follows binary:NAME= is not Base64: see base64 -w0",
            Why::Twice => "this name is there twice",
            Why::TooMany => "a system has up to 255 credentials",
        };
        write!(f, "credentials: line {}: {why}", self.line)
    }
}

/// Checks all of `text`, a value of the file.
///
/// # Errors
///
/// The first line that is wrong, and why.
pub fn check(text: &[u8]) -> Result<(), Error> {
    for (index, item) in numbered(text).enumerate() {
        let (line, credential) = item?;
        let error = |why| Err(Error { line, why });
        if index >= MAX_CREDENTIALS {
            return error(Why::TooMany);
        }
        let is_same = |earlier: Credential<'_>| earlier.name == credential.name;
        if each(text).take(index).any(is_same) {
            return error(Why::Twice);
        }
    }
    Ok(())
}

/// Returns the credentials in `text`, without lines that are wrong.
pub fn each(text: &[u8]) -> impl Iterator<Item = Credential<'_>> + Clone {
    numbered(text).flatten().map(|(_, credential)| credential)
}

/// Returns the credentials in `text` with the numbers of their lines. Empty lines are left out.
fn numbered(text: &[u8]) -> impl Iterator<Item = Result<(usize, Credential<'_>), Error>> + Clone {
    let lines = (1..).zip(text.split(|&byte| byte == b'\n'));
    lines
        .filter(|(_, text)| !text.is_empty())
        .map(|(line, text)| match Credential::parse(text) {
            Ok(credential) => Ok((line, credential)),
            Err(why) => Err(Error { line, why }),
        })
}

impl<'a> Credential<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, Why> {
        let (is_binary, assignment) = match line.strip_prefix(BINARY) {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let mut parts = assignment.splitn(2, |&byte| byte == b'=');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            return Err(Why::NoValue);
        };
        if !is_name(name) {
            return Err(Why::Name);
        }
        match is_binary {
            true if !is_base64(value) => Err(Why::Base64),
            false if !value.iter().all(is_text) => Err(Why::Control),
            _ => Ok(Credential {
                is_binary,
                name,
                value,
            }),
        }
    }
}

/// Returns whether systemd takes `name` (`credential_name_valid()` in its
/// `src/shared/creds-util.c`).
fn is_name(name: &[u8]) -> bool {
    let is_allowed = |byte: &u8| matches!(byte, b' '..=b'~') && !b"/:".contains(byte);
    (1..=MAX_NAME).contains(&name.len())
        && name.iter().all(is_allowed)
        && name != b"."
        && name != b".."
}

fn is_text(byte: &u8) -> bool {
    *byte == b'\t' || !byte.is_ascii_control()
}

/// Returns whether `value` is Base64 with all its padding.
fn is_base64(value: &[u8]) -> bool {
    let digits = match value {
        [digits @ .., b'=', b'='] | [digits @ .., b'='] => digits,
        digits => digits,
    };
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    value.len() % 4 == 0 && digits.iter().all(is_digit)
}
