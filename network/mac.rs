// SPDX-License-Identifier: GPL-2.0

//! The address of a card (IEEE 802-2014, 8.2).

use core::fmt;

/// A MAC address of one station.
///
/// # Invariants
///
/// It is neither that of a group nor all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacAddress([u8; 6]);

/// In the first byte: the address is that of a group.
const GROUP: u8 = 1 << 0;
/// In the first byte: the address was assigned by an administrator, not by a manufacturer.
const LOCAL: u8 = 1 << 1;

impl MacAddress {
    /// Makes the address `bytes`; returns [`None`] if it is that of a group, or all zeros.
    pub fn new(bytes: [u8; 6]) -> Option<Self> {
        // INVARIANT: Checked here.
        (bytes[0] & GROUP == 0 && bytes != [0; 6]).then_some(MacAddress(bytes))
    }

    /// Makes a locally administered address of the first bytes of `uuid`.
    pub fn of_uuid(uuid: &[u8; 16]) -> Self {
        let [first, b, c, d, e, f, ..] = *uuid;
        // INVARIANT: It is not that of a group, and has a bit that is set.
        MacAddress([first & !GROUP | LOCAL, b, c, d, e, f])
    }

    /// Reads an address as people write it: six pairs of hexadecimal digits, with colons between.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next()?;
            if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        if parts.next().is_some() {
            return None;
        }
        MacAddress::new(bytes)
    }

    /// Returns the bytes, in the order in which they go over a wire.
    pub fn bytes(&self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
