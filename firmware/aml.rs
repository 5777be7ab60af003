// SPDX-License-Identifier: GPL-2.0

//! A writer for ACPI Machine Language (AML), as far as a successor's DSDT needs it.
//!
//! Reference: ACPI specification 6.5, chapter 20 "ACPI Machine Language (AML)", and section 6.4 for
//! resource descriptors.

use crate::firmware::processor::Register;
use crate::memory::memmap::Range;

const NAME_OP: u8 = 0x08;
const BYTE_PREFIX: u8 = 0x0a;
const WORD_PREFIX: u8 = 0x0b;
const DWORD_PREFIX: u8 = 0x0c;
const STRING_PREFIX: u8 = 0x0d;
const QWORD_PREFIX: u8 = 0x0e;
const SCOPE_OP: u8 = 0x10;
const BUFFER_OP: u8 = 0x11;
const PACKAGE_OP: u8 = 0x12;
const METHOD_OP: u8 = 0x14;
const EXT_OP_PREFIX: u8 = 0x5b;
const LOCAL0_OP: u8 = 0x60;
const ARG0_OP: u8 = 0x68;
const STORE_OP: u8 = 0x70;
const AND_OP: u8 = 0x7b;
const OR_OP: u8 = 0x7d;
const DEVICE_OP: u8 = 0x82;
const CREATE_DWORD_FIELD_OP: u8 = 0x8a;
const LNOT_OP: u8 = 0x92;
const LEQUAL_OP: u8 = 0x93;
const IF_OP: u8 = 0xa0;
const ELSE_OP: u8 = 0xa1;
const RETURN_OP: u8 = 0xa4;
const ROOT_CHAR: u8 = b'\\';

/// MethodFlags (20.2.5.2): one thread at a time, which a method that creates names must be.
const SERIALIZED: u8 = 1 << 3;

/// I/O port descriptor (6.4.2.5): type 0, name 8, length 7.
const IO_PORT: u8 = 0x47;
/// The device decodes all 16 address bits.
const DECODE_16: u8 = 1;
/// Generic register descriptor (6.4.3.7), and its length.
const GENERIC_REGISTER: [u8; 3] = [0x82, 12, 0];
/// End tag (6.4.2.9): name 0xf, length 1; a checksum of 0 is always valid.
const END_TAG: [u8; 2] = [0x79, 0];

// Address space descriptors (6.4.3.5) with 64-bit and with 16-bit fields.
const QWORD_ADDRESS_SPACE: u8 = 0x8a;
const WORD_ADDRESS_SPACE: u8 = 0x88;
/// General flags: the device itself uses the range, and does not pass it on to its children.
const CONSUMER: u8 = 1 << 0;
/// Minimum and maximum address are fixed. Bit 1 is clear: positive decode.
const FIXED: u8 = (1 << 2) | (1 << 3);

/// The kind of addresses: the resource type, and the type-specific flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Non-cacheable, read-write memory.
    Memory,
    /// Prefetchable, read-write memory.
    Prefetchable,
    /// I/O ports.
    Io,
    /// Bus numbers.
    Buses,
}

impl Space {
    const fn type_and_flags(self) -> [u8; 2] {
        match self {
            // 6.4.3.5.5: bit 0 is "read-write"; 3 in bits 1 and 2 is "prefetchable".
            Space::Memory => [0, 1],
            Space::Prefetchable => [0, 1 | (3 << 1)],
            // The entire range: ISA and non-ISA addresses.
            Space::Io => [1, 3],
            Space::Buses => [2, 0],
        }
    }
}

/// Writes terms one after the other into a buffer.
///
/// Drops what no longer fits; [`Writer::finish`] reports that.
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
    overflowed: bool,
}

/// A name segment: four characters, padded with `_`.
pub type NameSeg = [u8; 4];

/// An operand of a term in a method.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    /// An argument of the method, 0 to 6.
    Arg(u8),
    /// A variable of the method, 0 to 7.
    Local(u8),
    /// A named object.
    Name(NameSeg),
    /// A constant.
    Integer(u32),
    /// A constant buffer of these bytes.
    Buffer(&'a [u8]),
}

impl<'a> Writer<'a> {
    /// Makes a writer that starts at the beginning of `out`.
    pub fn new(out: &'a mut [u8]) -> Self {
        Writer {
            out,
            len: 0,
            overflowed: false,
        }
    }

    /// Returns the number of bytes written, or [`None`] if they did not fit.
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

    /// Writes what `body` writes, preceded by what `head` writes. `head` gets the length of the
    /// body.
    fn behind(&mut self, head: impl FnOnce(&mut Self, usize), body: impl FnOnce(&mut Self)) {
        let start = self.len;
        body(self);
        let body_len = self.len - start;
        head(self, body_len);
        if !self.overflowed {
            self.out[start..self.len].rotate_left(body_len);
        }
    }

    /// Writes what `body` writes, preceded by its PkgLength (20.2.4).
    fn package_of(&mut self, body: impl FnOnce(&mut Self)) {
        // The length includes PkgLength itself: 6 bits in one byte, or 4 bits and 8 more in each
        // further byte.
        let head = |w: &mut Self, body_len| match body_len {
            0..=0x3e => w.bytes(&[(body_len + 1) as u8]),
            0x3f..=0xffd => {
                let len = body_len + 2;
                w.bytes(&[(1 << 6) | (len & 0xf) as u8, (len >> 4) as u8]);
            }
            _ => {
                let len = body_len + 3;
                w.bytes(&[
                    (2 << 6) | (len & 0xf) as u8,
                    (len >> 4) as u8,
                    (len >> 12) as u8,
                ]);
            }
        };
        self.behind(head, body);
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

    /// `Name (name, value)`; `value` writes the value.
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

    /// Writes an integer constant in its shortest form.
    pub fn integer(&mut self, value: u64) {
        match value {
            // The opcodes ZeroOp and OneOp are 0 and 1.
            0 | 1 => self.bytes(&[value as u8]),
            2..=0xff => self.bytes(&[BYTE_PREFIX, value as u8]),
            0x100..=0xffff => {
                self.bytes(&[WORD_PREFIX]);
                self.bytes(&(value as u16).to_le_bytes());
            }
            0x1_0000..=0xffff_ffff => {
                self.bytes(&[DWORD_PREFIX]);
                self.bytes(&(value as u32).to_le_bytes());
            }
            _ => {
                self.bytes(&[QWORD_PREFIX]);
                self.bytes(&value.to_le_bytes());
            }
        }
    }

    /// Writes a string constant. `text` must not contain a zero.
    pub fn string(&mut self, text: &str) {
        self.bytes(&[STRING_PREFIX]);
        self.bytes(text.as_bytes());
        self.bytes(&[0]);
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
        self.packages(integers.len() as u8, |w| {
            for &integer in integers {
                w.integer(integer.into());
            }
        });
    }

    /// `Package (count) { elements }`
    pub fn packages(&mut self, count: u8, elements: impl FnOnce(&mut Self)) {
        self.bytes(&[PACKAGE_OP]);
        self.package_of(|w| {
            w.bytes(&[count]);
            elements(w);
        });
    }

    /// `Buffer () { bytes }`
    fn buffer(&mut self, bytes: &[u8]) {
        self.bytes(&[BUFFER_OP]);
        self.package_of(|w| {
            w.integer(bytes.len() as u64);
            w.bytes(bytes);
        });
    }

    /// `Method (name, arguments, Serialized) { body }`
    pub fn method(&mut self, name: NameSeg, arguments: u8, body: impl FnOnce(&mut Self)) {
        self.bytes(&[METHOD_OP]);
        self.package_of(|w| {
            w.bytes(&name);
            w.bytes(&[SERIALIZED | arguments]);
            body(w);
        });
    }

    fn operand(&mut self, operand: Operand<'_>) {
        match operand {
            Operand::Arg(number) => self.bytes(&[ARG0_OP + number]),
            Operand::Local(number) => self.bytes(&[LOCAL0_OP + number]),
            Operand::Name(name) => self.bytes(&name),
            Operand::Integer(value) => self.integer(value.into()),
            Operand::Buffer(bytes) => self.buffer(bytes),
        }
    }

    fn operands(&mut self, operands: &[Operand<'_>]) {
        for &operand in operands {
            self.operand(operand);
        }
    }

    /// `If (a == b) { body }`
    pub fn if_equal(&mut self, a: Operand<'_>, b: Operand<'_>, body: impl FnOnce(&mut Self)) {
        self.bytes(&[IF_OP]);
        self.package_of(|w| {
            w.bytes(&[LEQUAL_OP]);
            w.operands(&[a, b]);
            body(w);
        });
    }

    /// `If (a != b) { body }`
    pub fn if_not_equal(&mut self, a: Operand<'_>, b: Operand<'_>, body: impl FnOnce(&mut Self)) {
        self.bytes(&[IF_OP]);
        self.package_of(|w| {
            w.bytes(&[LNOT_OP, LEQUAL_OP]);
            w.operands(&[a, b]);
            body(w);
        });
    }

    /// `Else { body }`
    pub fn or_else(&mut self, body: impl FnOnce(&mut Self)) {
        self.bytes(&[ELSE_OP]);
        self.package_of(body);
    }

    /// `target = a & b`
    pub fn and(&mut self, a: Operand<'_>, b: Operand<'_>, target: Operand<'_>) {
        self.bytes(&[AND_OP]);
        self.operands(&[a, b, target]);
    }

    /// `target = a | b`
    pub fn or(&mut self, a: Operand<'_>, b: Operand<'_>, target: Operand<'_>) {
        self.bytes(&[OR_OP]);
        self.operands(&[a, b, target]);
    }

    /// `target = source`
    pub fn store(&mut self, source: Operand<'_>, target: Operand<'_>) {
        self.bytes(&[STORE_OP]);
        self.operands(&[source, target]);
    }

    /// `CreateDWordField (buffer, offset, name)`
    pub fn create_dword_field(&mut self, buffer: Operand<'_>, offset: u32, name: NameSeg) {
        self.bytes(&[CREATE_DWORD_FIELD_OP]);
        self.operands(&[buffer, Operand::Integer(offset), Operand::Name(name)]);
    }

    /// `Return (value)`
    pub fn return_value(&mut self, value: Operand<'_>) {
        self.bytes(&[RETURN_OP]);
        self.operand(value);
    }

    /// `ResourceTemplate () { descriptors }`
    pub fn resource_template(&mut self, descriptors: impl FnOnce(&mut Self)) {
        self.bytes(&[BUFFER_OP]);
        self.package_of(|w| {
            w.behind(
                |w, len| w.integer(len as u64),
                |w| {
                    descriptors(w);
                    w.bytes(&END_TAG);
                },
            );
        });
    }

    /// `IO (Decode16, port, port, 1, len)`
    pub fn io(&mut self, port: u16, len: u8) {
        let [low, high] = port.to_le_bytes();
        self.bytes(&[IO_PORT, DECODE_16, low, high, low, high, 1, len]);
    }

    /// `Register` (6.4.3.7)
    pub fn register(&mut self, register: &Register) {
        let Register {
            space,
            width,
            offset,
            access,
            address,
        } = *register;
        self.bytes(&GENERIC_REGISTER);
        self.bytes(&[space, width, offset, access]);
        self.bytes(&address.to_le_bytes());
    }

    /// `WordBusNumber` (6.4.3.5.3): bus numbers that a host bridge passes on.
    pub fn bus_numbers(&mut self, buses: &Range) {
        self.address_space::<2>(WORD_ADDRESS_SPACE, Space::Buses, FIXED, buses);
    }

    /// `QWordMemory` or `QWordIO` (6.4.3.5.1): addresses that a bridge passes on.
    pub fn window(&mut self, space: Space, window: &Range) {
        self.address_space::<8>(QWORD_ADDRESS_SPACE, space, FIXED, window);
    }

    /// `QWordMemory`: memory that the device itself uses.
    pub fn memory(&mut self, memory: &Range) {
        self.address_space::<8>(QWORD_ADDRESS_SPACE, Space::Memory, FIXED | CONSUMER, memory);
    }

    /// Writes an address space descriptor with fields of `N` bytes.
    fn address_space<const N: usize>(&mut self, tag: u8, space: Space, flags: u8, range: &Range) {
        // Granularity, first, last, translation offset and length.
        let fields = [0, range.start(), range.end() - 1, 0, range.len()];
        let [kind, kind_flags] = space.type_and_flags();
        self.bytes(&[tag]);
        self.bytes(&((3 + N * fields.len()) as u16).to_le_bytes());
        self.bytes(&[kind, flags, kind_flags]);
        for field in fields {
            self.bytes(&field.to_le_bytes()[..N]);
        }
    }
}
