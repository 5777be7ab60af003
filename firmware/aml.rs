// SPDX-License-Identifier: GPL-2.0

//! ACPI Machine Language, as much as a successor's DSDT needs.
//!
//! Reference: ACPI specification 6.5, chapter 20 "ACPI Machine Language (AML)"; resource
//! descriptors are those of section 6.4.

const NAME_OP: u8 = 0x08;
const BYTE_PREFIX: u8 = 0x0a;
const WORD_PREFIX: u8 = 0x0b;
const DWORD_PREFIX: u8 = 0x0c;
const SCOPE_OP: u8 = 0x10;
const BUFFER_OP: u8 = 0x11;
const PACKAGE_OP: u8 = 0x12;
const EXT_OP_PREFIX: u8 = 0x5b;
const DEVICE_OP: u8 = 0x82;
const ROOT_CHAR: u8 = b'\\';

/// I/O port descriptor (6.4.2.5): type 0, name 8, length 7.
const IO_PORT: u8 = 0x47;
/// The device decodes all 16 address bits.
const DECODE_16: u8 = 1;
/// End tag (6.4.2.9): name 0xf, length 1; a checksum of 0 counts as right.
const END_TAG: [u8; 2] = [0x79, 0];

/// Writes terms one after the other into memory that it is given.
///
/// What no longer fits is dropped, and [`Writer::finish`] then says so.
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
    overflowed: bool,
}

/// A name segment: four characters, shorter names filled up with `_`.
pub type NameSeg = [u8; 4];

impl<'a> Writer<'a> {
    /// A writer that starts at the beginning of `out`.
    pub fn new(out: &'a mut [u8]) -> Self {
        Writer {
            out,
            len: 0,
            overflowed: false,
        }
    }

    /// The bytes written, or [`None`] if they were too many.
    pub fn finish(self) -> Option<usize> {
        (!self.overflowed).then_some(self.len)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match self.out.get_mut(self.len..self.len + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.overflowed = true,
        }
    }

    /// What `body` writes, with its PkgLength (20.2.4) before it.
    fn package_of(&mut self, body: impl FnOnce(&mut Self)) {
        let start = self.len;
        body(self);
        let body_len = self.len - start;
        // The length counts its own bytes: 6 bits in one byte, or 4 bits and 8 more in each
        // further one.
        let (encoded, encoded_len) = match body_len {
            0..=0x3e => ([(body_len + 1) as u8, 0, 0], 1),
            0x3f..=0xffd => {
                let len = body_len + 2;
                ([(1 << 6) | (len & 0xf) as u8, (len >> 4) as u8, 0], 2)
            }
            _ => {
                let len = body_len + 3;
                (
                    [
                        (2 << 6) | (len & 0xf) as u8,
                        (len >> 4) as u8,
                        (len >> 12) as u8,
                    ],
                    3,
                )
            }
        };
        self.bytes(&encoded[..encoded_len]);
        if !self.overflowed {
            self.out[start..self.len].rotate_right(encoded_len);
        }
    }

    /// `Scope (\name) { body }`
    pub fn scope(&mut self, name: NameSeg, body: impl FnOnce(&mut Self)) {
        self.bytes(&[SCOPE_OP]);
        self.package_of(|w| {
            w.bytes(&[ROOT_CHAR]);
            w.bytes(&name);
            body(w);
        });
    }

    /// `Device (name) { body }`
    pub fn device(&mut self, name: NameSeg, body: impl FnOnce(&mut Self)) {
        self.bytes(&[EXT_OP_PREFIX, DEVICE_OP]);
        self.package_of(|w| {
            w.bytes(&name);
            body(w);
        });
    }

    /// `Name (name, value)`, `value` being what `value` writes.
    pub fn name(&mut self, name: NameSeg, value: impl FnOnce(&mut Self)) {
        self.bytes(&[NAME_OP]);
        self.bytes(&name);
        value(self);
    }

    /// `Name (\name, value)`
    pub fn root_name(&mut self, name: NameSeg, value: impl FnOnce(&mut Self)) {
        self.bytes(&[NAME_OP, ROOT_CHAR]);
        self.bytes(&name);
        value(self);
    }

    /// An integer constant, in the shortest of its forms.
    pub fn integer(&mut self, value: u32) {
        match value {
            // ZeroOp and OneOp are the values themselves.
            0 | 1 => self.bytes(&[value as u8]),
            2..=0xff => self.bytes(&[BYTE_PREFIX, value as u8]),
            0x100..=0xffff => {
                self.bytes(&[WORD_PREFIX]);
                self.bytes(&(value as u16).to_le_bytes());
            }
            _ => {
                self.bytes(&[DWORD_PREFIX]);
                self.bytes(&value.to_le_bytes());
            }
        }
    }

    /// `EisaId ("PNP0501")` (6.1.5): three letters of 5 bits, four hexadecimal digits, big-endian.
    pub fn eisa_id(&mut self, id: [u8; 7]) {
        let letters = id[..3].iter().fold(0, |sum, &c| {
            (sum << 5) | u32::from(c.wrapping_sub(0x40) & 0x1f)
        });
        let digits = id[3..].iter().fold(0, |sum, &c| {
            (sum << 4) | (c as char).to_digit(16).unwrap_or(0)
        });
        self.bytes(&[DWORD_PREFIX]);
        self.bytes(&((letters << 16) | digits).to_be_bytes());
    }

    /// `Package () { integers }`
    pub fn package(&mut self, integers: &[u32]) {
        self.bytes(&[PACKAGE_OP]);
        self.package_of(|w| {
            w.bytes(&[integers.len() as u8]);
            for &integer in integers {
                w.integer(integer);
            }
        });
    }

    /// `ResourceTemplate () { IO (Decode16, port, port, 1, len) }`
    pub fn io_resource(&mut self, port: u16, len: u8) {
        let [low, high] = port.to_le_bytes();
        let descriptor = [IO_PORT, DECODE_16, low, high, low, high, 1, len];
        self.bytes(&[BUFFER_OP]);
        self.package_of(|w| {
            w.integer((descriptor.len() + END_TAG.len()) as u32);
            w.bytes(&descriptor);
            w.bytes(&END_TAG);
        });
    }
}
