// SPDX-License-Identifier: GPL-2.0

//! Fields of commands and answers, little-endian. What is outside of an entry reads as 0.

/// Reads the byte at `at`.
pub(super) fn u8_at(entry: &[u8], at: usize) -> u8 {
    entry.get(at).copied().unwrap_or(0)
}

/// Reads the 16-bit field at `at`.
pub(super) fn u16_at(entry: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([u8_at(entry, at), u8_at(entry, at.saturating_add(1))])
}

/// Reads the 32-bit field at `at`.
pub(super) fn u32_at(entry: &[u8], at: usize) -> u32 {
    u32::from(u16_at(entry, at)) | (u32::from(u16_at(entry, at.saturating_add(2))) << 16)
}

/// Reads the address at `at`: struct ena_common_mem_addr, 48 bits.
pub(super) fn address_at(entry: &[u8], at: usize) -> u64 {
    u64::from(u32_at(entry, at)) | (u64::from(u16_at(entry, at.saturating_add(4))) << 32)
}

/// Sets the field at `at`; does nothing if the entry ends before the field.
pub(super) fn put(entry: &mut [u8], at: usize, field: &[u8]) {
    let to = entry.get_mut(at..).and_then(|to| to.get_mut(..field.len()));
    if let Some(to) = to {
        to.copy_from_slice(field);
    }
}
