// SPDX-License-Identifier: GPL-2.0

//! Bytes of a file that may be cut short.

use core::fmt;

/// A file ends before what its headers announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// How many bytes the headers announce.
    pub needed: u64,
    /// How many bytes the file has.
    pub len: u64,
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Truncated { needed, len } = self;
        write!(
            f,
            "file is cut short: {len} bytes where {needed} are announced"
        )
    }
}

/// Checks that `file` has at least `needed` bytes.
///
/// # Errors
///
/// [`Truncated`] if it has fewer.
pub fn check_len(file: &[u8], needed: u64) -> Result<(), Truncated> {
    let len = file.len() as u64;
    if len < needed {
        return Err(Truncated { needed, len });
    }
    Ok(())
}

/// The `N` bytes of `file` from `offset` on.
///
/// # Errors
///
/// [`Truncated`] if `file` ends before them.
pub fn bytes<const N: usize>(file: &[u8], offset: u64) -> Result<[u8; N], Truncated> {
    check_len(file, offset.saturating_add(N as u64))?;
    let mut bytes = [0; N];
    bytes.copy_from_slice(&file[offset as usize..][..N]);
    Ok(bytes)
}
