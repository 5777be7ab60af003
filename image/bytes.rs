// SPDX-License-Identifier: GPL-2.0

//! Bounds-checked reads from a file that may be truncated.

use core::fmt;

/// The file is shorter than its headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// The length in bytes that the headers call for.
    pub needed: u64,
    /// The length of the file in bytes.
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
/// [`Truncated`] if `file` has fewer.
pub fn check_len(file: &[u8], needed: u64) -> Result<(), Truncated> {
    let len = file.len() as u64;
    if len < needed {
        return Err(Truncated { needed, len });
    }
    Ok(())
}

/// Returns the `N` bytes of `file` that start at `offset`.
///
/// # Errors
///
/// [`Truncated`] if `file` ends before the last of these bytes.
pub fn bytes<const N: usize>(file: &[u8], offset: u64) -> Result<[u8; N], Truncated> {
    check_len(file, offset.saturating_add(N as u64))?;
    let mut bytes = [0; N];
    bytes.copy_from_slice(&file[offset as usize..][..N]);
    Ok(bytes)
}
