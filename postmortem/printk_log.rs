// SPDX-License-Identifier: GPL-2.0

//! Reads the kernel's log from its lockless ring buffer.
//!
//! Reference: `kernel/printk/printk_ringbuffer.{h,c}`; this reader follows the readers there. The
//! buffer consists of three arrays: descriptors and infos, both indexed by the low bits of a
//! record's ID, and text, indexed by the low bits of a logical position. A record is valid only if
//! its descriptor says so both before and after the record was copied.

use super::{
    number,
    page_walk::{self, AddressSpace},
    vmcoreinfo::{self, VmcoreInfo},
    PhysicalMemory,
};
use core::fmt::{self, Write};

/// The maximum length of a record's text (`PRINTK_MESSAGE_MAX`, kernel/printk/internal.h).
pub const TEXT_LEN_MAX: usize = 2048;

/// The maximum length of a structure to read; `struct printk_info` has at most 112 bytes.
const STRUCT_LEN_MAX: u64 = 256;
/// `LOG_BUF_LEN_MAX` is 2 GiB (kernel/printk/printk.c).
const TEXT_BITS_MAX: u64 = 31;
/// There is a descriptor for every `1 << PRB_AVGBITS` bytes of text (kernel/printk/printk.c).
const COUNT_BITS_MAX: u64 = TEXT_BITS_MAX - 5;

/// `EMPTY_LINE_LPOS`: an empty text, which takes no space.
const EMPTY_LINE: u64 = 3;
/// `LPOS_DATALESS()`: this bit is set in both positions if there is no text.
const DATALESS: u64 = 1;

/// Why a log can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// VMCOREINFO lacks a value.
    Info(vmcoreinfo::Error),
    /// A virtual address of the log can't be translated.
    Address(page_walk::Error),
    /// The structure of this name can't have this length.
    StructLen(&'static str, u64),
    /// The member of this name can't be at this offset.
    Member(&'static str, u64),
    /// There can't be 2 to the power of this many records.
    CountBits(u64),
    /// There can't be 2 to the power of this many bytes of text.
    SizeBits(u64),
    /// The array of `len` bytes at this virtual address is not physically contiguous.
    Array {
        /// The virtual address.
        address: u64,
        /// The length in bytes.
        len: u64,
    },
    /// The IDs of the oldest and the newest record are too far apart.
    Ids {
        /// The ID of the oldest record.
        tail: u64,
        /// The ID of the newest record.
        head: u64,
    },
    /// This physical address is not in the OS's memory.
    Outside(u64),
    /// The writer that receives the text has failed.
    Stopped,
}

impl From<vmcoreinfo::Error> for Error {
    fn from(error: vmcoreinfo::Error) -> Self {
        Error::Info(error)
    }
}

impl From<page_walk::Error> for Error {
    fn from(error: page_walk::Error) -> Self {
        Error::Address(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Info(error) => error.fmt(f),
            Error::Address(error) => write!(f, "log buffer: {error}"),
            Error::StructLen(name, len) => {
                write!(f, "log buffer: struct {name} of {len} bytes is impossible")
            }
            Error::Member(name, offset) => {
                write!(f, "log buffer: {name} at offset {offset} is impossible")
            }
            Error::CountBits(bits) => write!(f, "log buffer: 2^{bits} records are impossible"),
            Error::SizeBits(bits) => write!(f, "log buffer: 2^{bits} bytes are impossible"),
            Error::Array { address, len } => write!(
                f,
                "log buffer: {len} bytes at {address:#x} are not in one piece"
            ),
            Error::Ids { tail, head } => {
                write!(f, "log buffer: no records from {tail:#x} to {head:#x}")
            }
            Error::Outside(address) => write!(
                f,
                "log buffer: physical address {address:#x} is not the OS's memory"
            ),
            Error::Stopped => f.write_str("log buffer: the text is too long"),
        }
    }
}

/// A member of a structure: its place in it.
#[derive(Clone, Copy, Debug)]
struct Member {
    offset: u64,
    len: usize,
}

impl Member {
    /// Returns the value of this member in `whole`, the bytes of the structure.
    ///
    /// The member lies within its structure, as `Struct::member()` has checked. Returns [`None`] if
    /// `whole` is shorter than that structure.
    fn of(&self, whole: &[u8]) -> Option<u64> {
        let start = self.offset as usize;
        whole.get(start..start + self.len).map(number)
    }
}

/// A structure that VMCOREINFO describes.
struct Struct {
    name: &'static str,
    len: u64,
}

impl Struct {
    fn new(info: &VmcoreInfo<'_>, name: &'static str) -> Result<Self, Error> {
        match info.size(name)? {
            len @ 1..=STRUCT_LEN_MAX => Ok(Struct { name, len }),
            len => Err(Error::StructLen(name, len)),
        }
    }

    /// Makes the member of `len` bytes at `offset`, if it lies within this structure. `name` is for
    /// the error.
    fn member(&self, name: &'static str, offset: u64, len: u64) -> Result<Member, Error> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(Member {
                offset,
                len: len as usize,
            }),
            _ => Err(Error::Member(name, offset)),
        }
    }

    /// Makes the member of `len` bytes that VMCOREINFO calls `name`.
    fn named(&self, info: &VmcoreInfo<'_>, name: &'static str, len: u64) -> Result<Member, Error> {
        self.member(name, info.offset(name)?, len)
    }

    /// Makes the member `inner` of the member `outer`, which is a structure itself.
    fn nested(&self, outer: Member, inner: Member) -> Result<Member, Error> {
        self.member(
            self.name,
            outer.offset.saturating_add(inner.offset),
            inner.len as u64,
        )
    }
}

/// A physically contiguous array.
#[derive(Clone, Copy, Debug)]
struct Array {
    /// The physical address of its first byte.
    start: u64,
    /// Size of an element in bytes.
    stride: u64,
    /// The number of elements, a power of two.
    count: u64,
}

impl Array {
    /// Finds the array at virtual `address`.
    ///
    /// The arrays are in the kernel image or from `memblock_alloc()`. Both are mapped linearly, so
    /// it is enough to translate the first and the last byte.
    fn new(
        mem: &mut dyn PhysicalMemory,
        space: &AddressSpace,
        address: u64,
        stride: u64,
        count: u64,
    ) -> Result<Self, Error> {
        // At most 2^31 bytes of text, or 2^26 structures of 2^8 bytes.
        let len = stride * count;
        let not_whole = Error::Array { address, len };
        let last = address.checked_add(len - 1).ok_or(not_whole)?;
        let start = space.translate(mem, address)?;
        let end = space.translate(mem, last)?;
        if end.checked_sub(start) != Some(len - 1) {
            return Err(not_whole);
        }
        Ok(Array {
            start,
            stride,
            count,
        })
    }

    /// Returns the physical address of the element for `number`, whose low bits are the index.
    fn element(&self, number: u64) -> u64 {
        self.start + (number & (self.count - 1)) * self.stride
    }
}

/// A record, as it was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The ID of the record. IDs have an arbitrary start and wrap around.
    pub id: u64,
    /// The number of records before this one.
    pub seq: u64,
    /// When it was written, in nanoseconds since the kernel's clock started.
    pub ts_nsec: u64,
    /// The writer: 0 is the kernel, anything else is user space.
    pub facility: u8,
    /// The log level, from 0 (most urgent) to 7.
    pub level: u8,
    /// The task that wrote it or, with the highest bit set, the CPU.
    pub caller_id: u32,
    /// Whether the record is complete: nothing will be appended to it.
    pub is_final: bool,
    /// The number of bytes of text that were copied to the reader's buffer.
    pub len: usize,
}

/// The result of reading an ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A record.
    Record(Record),
    /// A record that is still being written.
    Pending,
    /// No record, or one that was overwritten.
    Gone,
}

/// `enum desc_state`
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reserved,
    Committed,
    Finalized,
    Reusable,
    /// The descriptor belongs to another record.
    Miss,
}

/// An iterator over IDs of records, in the order in which the records were written.
#[derive(Clone, Debug)]
pub struct Ids {
    next: u64,
    left: u64,
    mask: u64,
}

impl Ids {
    /// Returns the ID after the last one.
    pub fn end(&self) -> u64 {
        self.next.wrapping_add(self.left) & self.mask
    }

    /// Returns the last `count` of these IDs.
    pub fn newest(self, count: u64) -> Self {
        let left = self.left.min(count);
        Ids {
            next: self.end().wrapping_sub(left) & self.mask,
            left,
            ..self
        }
    }
}

impl Iterator for Ids {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        let id = self.next;
        self.next = self.next.wrapping_add(1) & self.mask;
        Some(id)
    }
}

/// The log buffer of a kernel.
///
/// # Invariants
///
/// All members lie in structures of at most [`STRUCT_LEN_MAX`] bytes, and the elements of `descs`
/// and `infos` are no longer than that. The arrays do not wrap around the end of memory.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    /// Size of a `long` in bytes.
    word: usize,
    // Physical addresses.
    head_id: u64,
    tail_id: u64,
    descs: Array,
    infos: Array,
    text: Array,
    state_var: Member,
    begin: Member,
    next: Member,
    seq: Member,
    ts_nsec: Member,
    text_len: Member,
    facility: Member,
    level: Member,
    caller_id: Member,
}

impl Log {
    /// Finds the log of the kernel that `info` and the page tables `space` belong to.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn open(
        mem: &mut dyn PhysicalMemory,
        info: &VmcoreInfo<'_>,
        space: &AddressSpace,
    ) -> Result<Self, Error> {
        let word = info.architecture()?.word_len();
        let long = word as u64;

        // log_buf_vmcoreinfo_setup() exports all of these.
        let ring = Struct::new(info, "printk_ringbuffer")?;
        let desc_ring = Struct::new(info, "prb_desc_ring")?;
        let data_ring = Struct::new(info, "prb_data_ring")?;
        let desc = Struct::new(info, "prb_desc")?;
        let lpos = Struct::new(info, "prb_data_blk_lpos")?;
        let printk_info = Struct::new(info, "printk_info")?;
        let atomic = Struct::new(info, "atomic_long_t")?;
        let counter = atomic.named(info, "atomic_long_t.counter", long)?;

        let atomic_of = |whole: &Struct, name| {
            let outer = whole.named(info, name, atomic.len)?;
            whole.nested(outer, counter)
        };
        let descs_at = ring.named(info, "printk_ringbuffer.desc_ring", desc_ring.len)?;
        let text_at = ring.named(info, "printk_ringbuffer.text_data_ring", data_ring.len)?;
        let in_descs = |name, len| ring.nested(descs_at, desc_ring.named(info, name, len)?);
        let in_text = |name, len| ring.nested(text_at, data_ring.named(info, name, len)?);

        let count_bits = in_descs("prb_desc_ring.count_bits", 4)?;
        let descs = in_descs("prb_desc_ring.descs", long)?;
        let infos = in_descs("prb_desc_ring.infos", long)?;
        let head_id = ring.nested(descs_at, atomic_of(&desc_ring, "prb_desc_ring.head_id")?)?;
        let tail_id = ring.nested(descs_at, atomic_of(&desc_ring, "prb_desc_ring.tail_id")?)?;
        let size_bits = in_text("prb_data_ring.size_bits", 4)?;
        let data = in_text("prb_data_ring.data", long)?;

        let block = desc.named(info, "prb_desc.text_blk_lpos", lpos.len)?;
        let begin = lpos.named(info, "prb_data_blk_lpos.begin", long)?;
        let next = lpos.named(info, "prb_data_blk_lpos.next", long)?;

        // `text_len` (16 bits) is followed by `facility` (8 bits), and by `flags` and `level`,
        // which share a byte. VMCOREINFO lacks the offsets of these.
        let text_len = printk_info.named(info, "printk_info.text_len", 4)?;
        let byte_of_text_len =
            |at, len| printk_info.member("printk_info.text_len", text_len.offset + at, len);

        // `prb` is a pointer, which has its final value before VMCOREINFO exists (setup_log_buf()).
        let mut pointer = [0; 8];
        space.read(mem, info.symbol("prb")?, &mut pointer[..word])?;
        let ring_at = number(&pointer);
        let mut bytes = [0; STRUCT_LEN_MAX as usize];
        let whole = &mut bytes[..ring.len as usize];
        space.read(mem, ring_at, whole)?;
        let value = |member: Member| member.of(whole).unwrap_or(0);
        let mut address = |member: Member| {
            let address = ring_at.wrapping_add(member.offset);
            space.translate(mem, address).map_err(Error::Address)
        };
        let (head_id, tail_id) = (address(head_id)?, address(tail_id)?);

        let count_bits = value(count_bits);
        if !(1..=COUNT_BITS_MAX).contains(&count_bits) {
            return Err(Error::CountBits(count_bits));
        }
        let size_bits = value(size_bits);
        // A block of text is at least two words long.
        if !(6..=TEXT_BITS_MAX).contains(&size_bits) {
            return Err(Error::SizeBits(size_bits));
        }
        let (count, text_size) = (1 << count_bits, 1 << size_bits);

        // INVARIANT: `Struct::member()` has checked the members, and `Array::new()` the arrays.
        Ok(Log {
            word,
            head_id,
            tail_id,
            descs: Array::new(mem, space, value(descs), desc.len, count)?,
            infos: Array::new(mem, space, value(infos), printk_info.len, count)?,
            text: Array::new(mem, space, value(data), 1, text_size)?,
            state_var: atomic_of(&desc, "prb_desc.state_var")?,
            begin: desc.nested(block, begin)?,
            next: desc.nested(block, next)?,
            seq: printk_info.named(info, "printk_info.seq", 8)?,
            ts_nsec: printk_info.named(info, "printk_info.ts_nsec", 8)?,
            text_len: byte_of_text_len(0, 2)?,
            facility: byte_of_text_len(2, 1)?,
            level: byte_of_text_len(3, 1)?,
            caller_id: printk_info.named(info, "printk_info.caller_id", 4)?,
        })
    }

    /// Returns the IDs of all records, or of the records from `from` on, if `from` is the ID of a
    /// record or the one after the last. There are never more than the buffer has room for.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`] or [`Error::Ids`].
    pub fn ids(&self, mem: &mut dyn PhysicalMemory, from: Option<u64>) -> Result<Ids, Error> {
        let mask = self.id_mask();
        let tail = self.word(mem, self.tail_id)? & mask;
        let head = self.word(mem, self.head_id)? & mask;
        let count = self.descs.count;
        let mut ahead = head.wrapping_sub(tail) & mask;
        let mut next = tail;
        if ahead >= count {
            // The kernel has written more records between the two reads than the buffer has room
            // for.
            if ahead >= 2 * count {
                return Err(Error::Ids { tail, head });
            }
            ahead = count - 1;
            next = head.wrapping_sub(ahead) & mask;
        }
        let all = ahead + 1;
        let skipped = match from {
            Some(from) => from.wrapping_sub(next) & mask,
            None => 0,
        };
        Ok(match all.checked_sub(skipped) {
            Some(left) => Ids {
                next: next.wrapping_add(skipped) & mask,
                left,
                mask,
            },
            None => Ids {
                next,
                left: all,
                mask,
            },
        })
    }

    /// Reads the record `id`, and as much of its text as fits in `text`.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`] if a part of the log is not in the OS's memory.
    pub fn read(
        &self,
        mem: &mut dyn PhysicalMemory,
        id: u64,
        text: &mut [u8],
    ) -> Result<Entry, Error> {
        let mut buffer = [0; STRUCT_LEN_MAX as usize];
        let desc_at = self.descs.element(id);
        let desc = &mut buffer[..self.descs.stride as usize];
        read_at(mem, desc_at, desc)?;
        let value = |member: &Member, whole: &[u8]| member.of(whole).unwrap_or(0);
        let state = match self.state(id, value(&self.state_var, desc)) {
            state @ (State::Committed | State::Finalized) => state,
            State::Reserved => return Ok(Entry::Pending),
            State::Reusable | State::Miss => return Ok(Entry::Gone),
        };
        let (begin, next) = (value(&self.begin, desc), value(&self.next, desc));

        let info = &mut buffer[..self.infos.stride as usize];
        read_at(mem, self.infos.element(id), info)?;
        let text_len = value(&self.text_len, info);
        let Some(text_at) = self.text_at(begin, next, text_len) else {
            // The kernel may reopen a committed record at any time, and append to it.
            return Ok(match state {
                State::Committed => Entry::Pending,
                _ => Entry::Gone,
            });
        };
        let len = text.len().min(text_len as usize);
        read_at(mem, text_at, &mut text[..len])?;
        let record = Record {
            id,
            seq: value(&self.seq, info),
            ts_nsec: value(&self.ts_nsec, info),
            facility: value(&self.facility, info) as u8,
            // The low 5 bits of this byte are flags.
            level: (value(&self.level, info) >> 5) as u8,
            caller_id: value(&self.caller_id, info) as u32,
            is_final: state == State::Finalized,
            len,
        };

        // The data belong to this record only if the descriptor is still the record's. If text was
        // appended meanwhile, the data are the record's previous contents.
        let state_var = self.word(mem, desc_at.saturating_add(self.state_var.offset))?;
        Ok(match self.state(id, state_var) {
            State::Committed | State::Finalized => Entry::Record(record),
            State::Reserved => Entry::Pending,
            State::Reusable | State::Miss => Entry::Gone,
        })
    }

    /// Writes all records as `dmesg` prints them: each line of a text after a timestamp, with
    /// unprintable characters as in [`Escaped`]. `text` should have [`TEXT_LEN_MAX`] bytes; longer
    /// records are truncated.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`] or [`Error::Ids`]; [`Error::Stopped`] if `sink` fails.
    pub fn write_text(
        &self,
        mem: &mut dyn PhysicalMemory,
        text: &mut [u8],
        sink: &mut dyn Write,
    ) -> Result<(), Error> {
        for id in self.ids(mem, None)? {
            if let Entry::Record(record) = self.read(mem, id, text)? {
                record
                    .write_text(text, sink)
                    .map_err(|fmt::Error| Error::Stopped)?;
            }
        }
        Ok(())
    }

    /// Returns `DESC_ID_MASK`: all bits of a word except the upper two.
    pub(super) fn id_mask(&self) -> u64 {
        u64::MAX >> (64 - (8 * self.word as u32 - 2))
    }

    /// Returns the state of record `id`, given the `state_var` of its descriptor.
    fn state(&self, id: u64, state_var: u64) -> State {
        let mask = self.id_mask();
        if state_var & mask != id & mask {
            return State::Miss;
        }
        match (state_var & !mask) >> mask.count_ones() {
            0 => State::Reserved,
            1 => State::Committed,
            2 => State::Finalized,
            _ => State::Reusable,
        }
    }

    /// Returns the physical address of the text of `len` bytes in the block from `begin` to `next`;
    /// [`None`] if there is none. Follows `get_data()`.
    fn text_at(&self, begin: u64, next: u64, len: u64) -> Option<u64> {
        if begin & next & DATALESS != 0 {
            let is_empty = begin == EMPTY_LINE && next == EMPTY_LINE && len == 0;
            return is_empty.then_some(self.text.start);
        }
        let (word, size) = (self.word as u64, self.text.count);
        if begin % word != 0 || next % word != 0 {
            return None;
        }
        // Positions are of type `long`, and wrap around as such.
        let word_mask = u64::MAX >> (64 - 8 * self.word as u32);
        let wraps = |position: u64| (position & word_mask) / size;
        let last = next.wrapping_sub(1);
        let (block, block_len) = if wraps(begin) == wraps(last) {
            (begin, next.wrapping_sub(begin) & word_mask)
        } else if wraps(begin.wrapping_add(size)) == wraps(last) {
            // A block that does not fit before the end of the array is at its start.
            (0, next & (size - 1))
        } else {
            return None;
        };
        // A block starts with the record's ID, and takes at most half of the buffer.
        let room = block_len.checked_sub(word)?;
        (block_len <= size / 2 && len <= room).then(|| self.text.element(block) + word)
    }

    fn word(&self, mem: &mut dyn PhysicalMemory, address: u64) -> Result<u64, Error> {
        let mut bytes = [0; 8];
        read_at(mem, address, &mut bytes[..self.word])?;
        Ok(number(&bytes))
    }
}

fn read_at(mem: &mut dyn PhysicalMemory, address: u64, out: &mut [u8]) -> Result<(), Error> {
    mem.read(address, out).ok_or(Error::Outside(address))
}

impl Record {
    /// Writes the record, whose text is at the start of `text`, as `dmesg` prints it.
    ///
    /// # Errors
    ///
    /// The error of `sink`.
    pub fn write_text(&self, text: &[u8], sink: &mut dyn Write) -> fmt::Result {
        let text = &text[..self.len.min(text.len())];
        // The format of print_time().
        let micros = self.ts_nsec / 1000;
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        for line in text.split(|&byte| byte == b'\n') {
            writeln!(sink, "[{seconds:5}.{micros:06}] {}", Escaped(line))?;
        }
        Ok(())
    }
}

/// Displays untrusted text. Each byte that is not printable ASCII or a tab is shown in the form
/// `\x1b`.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
        let mut rest = self.0;
        while let Some(&first) = rest.first() {
            let plain = rest.iter().take_while(|byte| is_plain(byte)).count();
            if plain == 0 {
                write!(f, "\\x{first:02x}")?;
            } else {
                f.write_str(core::str::from_utf8(&rest[..plain]).map_err(|_| fmt::Error)?)?;
            }
            rest = &rest[plain.max(1)..];
        }
        Ok(())
    }
}
