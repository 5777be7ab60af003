// SPDX-License-Identifier: GPL-2.0

//! The names by which a system knows a disk again (/dev/disk/by-id). They depend on the path alone, so
//! that they are the same whatever other disks the system has, and at each start. A system's own names
//! are made in the same way, from the machine's UUID and the system's name.

/// The model of all disks.
pub const MODEL: &[u8] = b"Mint memory disk";
/// The firmware revision of all disks.
pub const FIRMWARE: &[u8] = b"1";

/// The offset basis and the prime of the 64-bit FNV-1a hash (draft-eastlake-fnv, section 5).
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// Returns the serial number of the disk with the contents at `path`, or of something else that
/// `path` stands for: 16 hexadecimal digits.
pub fn serial(path: &[u8]) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hash = fnv_1a(FNV_BASIS, path);
    core::array::from_fn(|index| {
        let nibble = (hash >> (4 * (15 - index))) & 0xf;
        DIGITS[nibble as usize]
    })
}

/// Returns the UUID of the disk with the contents at `path`, or of something else that `path` stands
/// for: a version 8 UUID (RFC 9562, 5.8).
pub fn uuid(path: &[u8]) -> [u8; 16] {
    let first = fnv_1a(FNV_BASIS, path);
    let second = fnv_1a(first, path);
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&first.to_be_bytes());
    uuid[8..].copy_from_slice(&second.to_be_bytes());
    uuid[6] = 0x80 | (uuid[6] & 0x0f);
    uuid[8] = 0x80 | (uuid[8] & 0x3f);
    uuid
}

fn fnv_1a(basis: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(basis, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
    })
}

/// Returns `text`, cut or filled up with spaces to the length of a field of Identify.
pub fn padded<const N: usize>(text: &[u8]) -> [u8; N] {
    core::array::from_fn(|index| text.get(index).copied().unwrap_or(b' '))
}
