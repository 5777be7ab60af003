// SPDX-License-Identifier: GPL-2.0

//! The kernel's log, read out of its lockless ring buffer, and what it tells of the kernel's end.
//!
//! Reference: `kernel/printk/printk_ringbuffer.{h,c}`, whose readers this one follows. The buffer
//! is three arrays: descriptors and infos, which the low bits of a record's ID index, and text,
//! which the low bits of a logical position index. A record is only valid if its descriptor says
//! so both before and after it has been copied.

use super::{
    number,
    page_walk::{self, AddressSpace},
    vmcoreinfo::{self, VmcoreInfo},
    PhysicalMemory,
};
use core::fmt::{self, Write};

/// No text of a record is longer (`PRINTK_MESSAGE_MAX`, kernel/printk/internal.h).
pub const TEXT_LEN_MAX: usize = 2048;

/// The longest structure that is read; `struct printk_info` has 112 bytes at most.
const STRUCT_LEN_MAX: u64 = 256;
/// `LOG_BUF_LEN_MAX` is 2 GiB (kernel/printk/printk.c).
const TEXT_BITS_MAX: u64 = 31;
/// There is a descriptor for every `1 << PRB_AVGBITS` bytes of text (kernel/printk/printk.c).
const COUNT_BITS_MAX: u64 = TEXT_BITS_MAX - 5;

/// `EMPTY_LINE_LPOS`: an empty text, which needs no space.
const EMPTY_LINE: u64 = 3;
/// `LPOS_DATALESS()`: this bit of both positions is set where there is no text.
const DATALESS: u64 = 1;

/// Why a log can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// VMCOREINFO does not tell enough of it.
    Info(vmcoreinfo::Error),
    /// It is not where VMCOREINFO says.
    Address(page_walk::Error),
    /// A structure of this name can't have this length.
    StructLen(&'static str, u64),
    /// A member of this name can't lie at this offset.
    Member(&'static str, u64),
    /// There can't be 2 to the power of so many records.
    CountBits(u64),
    /// There can't be 2 to the power of so many bytes of text.
    SizeBits(u64),
    /// An array of `len` bytes at this virtual address is not in one piece of physical memory.
    Array {
        /// Its virtual address.
        address: u64,
        /// Its length in bytes.
        len: u64,
    },
    /// The IDs of the oldest and the newest record are too far apart.
    Ids {
        /// The oldest.
        tail: u64,
        /// The newest.
        head: u64,
    },
    /// There is no memory of the OS at this physical address.
    Outside(u64),
    /// Who wanted the text takes no more.
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

/// A part of a structure.
#[derive(Clone, Copy, Debug)]
struct Member {
    offset: u64,
    len: usize,
}

impl Member {
    /// The number that this member of `whole` is.
    ///
    /// It lies within the structure, by how it was made; [`None`] where `whole` is another one.
    fn of(&self, whole: &[u8]) -> Option<u64> {
        let start = self.offset as usize;
        whole.get(start..start + self.len).map(number)
    }
}

/// What VMCOREINFO tells of a structure.
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

    /// The `len` bytes at `offset`, if they lie in this structure; for the error, they are `name`.
    fn member(&self, name: &'static str, offset: u64, len: u64) -> Result<Member, Error> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(Member {
                offset,
                len: len as usize,
            }),
            _ => Err(Error::Member(name, offset)),
        }
    }

    /// The member that VMCOREINFO calls `name`, which has `len` bytes.
    fn named(&self, info: &VmcoreInfo<'_>, name: &'static str, len: u64) -> Result<Member, Error> {
        self.member(name, info.offset(name)?, len)
    }

    /// A member of the member `outer` (which is a structure itself).
    fn nested(&self, outer: Member, inner: Member) -> Result<Member, Error> {
        self.member(
            self.name,
            outer.offset.saturating_add(inner.offset),
            inner.len as u64,
        )
    }
}

/// An array in one piece of physical memory.
#[derive(Clone, Copy, Debug)]
struct Array {
    /// The physical address of its first byte.
    start: u64,
    /// Bytes of an element.
    stride: u64,
    /// Elements; a power of two.
    count: u64,
}

impl Array {
    /// The array at virtual `address`.
    ///
    /// The kernel has these in its image or from `memblock_alloc()`: both are mapped linearly, so
    /// that the first and the last byte tell where all are.
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

    /// The physical address of the element that `number` stands for, of which the low bits count.
    fn element(&self, number: u64) -> u64 {
        self.start + (number & (self.count - 1)) * self.stride
    }
}

/// A record's description, as it was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The number that leads to it; counted from anywhere, and wraps around.
    pub id: u64,
    /// The number of records before it.
    pub seq: u64,
    /// When it was written, in nanoseconds since the kernel's clock started.
    pub ts_nsec: u64,
    /// Who wrote it: 0 is the kernel, anything else user space.
    pub facility: u8,
    /// How urgent it is, from 0 to 7, most urgent first.
    pub level: u8,
    /// The task or, with the highest bit set, the CPU that wrote it.
    pub caller_id: u32,
    /// Whether nothing will be added to it any more.
    pub is_final: bool,
    /// Bytes of text that were copied to the reader's buffer.
    pub len: usize,
}

/// What there is for an ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A record.
    Record(Record),
    /// A record that is being written.
    Pending,
    /// Nothing, or nothing any more.
    Gone,
}

/// `enum desc_state`
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reserved,
    Committed,
    Finalized,
    Reusable,
    /// The descriptor is another record's.
    Miss,
}

/// The IDs of records, in the order in which they were written.
#[derive(Clone, Debug)]
pub struct Ids {
    next: u64,
    left: u64,
    mask: u64,
}

impl Ids {
    /// The ID behind the last one.
    pub fn end(&self) -> u64 {
        self.next.wrapping_add(self.left) & self.mask
    }

    /// The last `count` of them.
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

/// A log buffer that has been found.
///
/// # Invariants
///
/// All members lie in structures of at most [`STRUCT_LEN_MAX`] bytes, and so do elements of
/// `descs` and `infos`. The arrays do not wrap around the end of memory.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    /// Bytes of a `long`.
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
    /// Finds the log of the kernel that `info` is of and whose page tables are `space`.
    ///
    /// # Errors
    ///
    /// Why that can't be done; see [`Error`].
    pub fn open(
        mem: &mut dyn PhysicalMemory,
        info: &VmcoreInfo<'_>,
        space: &AddressSpace,
    ) -> Result<Self, Error> {
        let word = info.architecture()?.word_len();
        let long = word as u64;

        // log_buf_vmcoreinfo_setup() names all of these.
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

        // Behind text_len, which is of 16 bits, come facility, of 8, and flags and level, which
        // share a byte. VMCOREINFO does not have these.
        let text_len = printk_info.named(info, "printk_info.text_len", 4)?;
        let byte_of_text_len =
            |at, len| printk_info.member("printk_info.text_len", text_len.offset + at, len);

        // `prb` is a pointer. It is set for good before there is VMCOREINFO (setup_log_buf()).
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

        // INVARIANT: `Struct::member()` and `Array::new()` have checked that.
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

    /// The IDs of all records there are, or if `from` is among them or is the one behind, of those
    /// from `from` on. There are at most as many as the buffer has room for.
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
            // More records have been written between both looks than the buffer has room for.
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

    /// Reads the record `id`, and as much of its text as there is room for in `text`.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`] if the OS has no memory where its log should be.
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
            // One that is committed may be reopened and made longer at any time.
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
            // The low 5 bits of the byte are flags.
            level: (value(&self.level, info) >> 5) as u8,
            caller_id: value(&self.caller_id, info) as u32,
            is_final: state == State::Finalized,
            len,
        };

        // What was read is this record's only if the descriptor still is. Should more have been
        // added to the record meanwhile, the text is as much of it as there was before.
        let state_var = self.word(mem, desc_at.saturating_add(self.state_var.offset))?;
        Ok(match self.state(id, state_var) {
            State::Committed | State::Finalized => Entry::Record(record),
            State::Reserved => Entry::Pending,
            State::Reusable | State::Miss => Entry::Gone,
        })
    }

    /// Writes all records as `dmesg` prints them: each line of a text behind the time, and what
    /// can't be printed as [`Escaped`] has it. `text` should have [`TEXT_LEN_MAX`] bytes; records
    /// that do not fit are cut short.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`] or [`Error::Ids`]; [`Error::Stopped`] as soon as `sink` fails.
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

    /// `DESC_ID_MASK`: all bits of a word but two.
    pub(super) fn id_mask(&self) -> u64 {
        u64::MAX >> (64 - (8 * self.word as u32 - 2))
    }

    /// The state of record `id`, if its descriptor has `state_var`.
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

    /// The physical address of a text of `len` bytes in the block from `begin` to `next`; [`None`]
    /// if there is none. As `get_data()`.
    fn text_at(&self, begin: u64, next: u64, len: u64) -> Option<u64> {
        if begin & next & DATALESS != 0 {
            let is_empty = begin == EMPTY_LINE && next == EMPTY_LINE && len == 0;
            return is_empty.then_some(self.text.start);
        }
        let (word, size) = (self.word as u64, self.text.count);
        if begin % word != 0 || next % word != 0 {
            return None;
        }
        // Positions are longs, and wrap around as such.
        let word_mask = u64::MAX >> (64 - 8 * self.word as u32);
        let wraps = |position: u64| (position & word_mask) / size;
        let last = next.wrapping_sub(1);
        let (block, block_len) = if wraps(begin) == wraps(last) {
            (begin, next.wrapping_sub(begin) & word_mask)
        } else if wraps(begin.wrapping_add(size)) == wraps(last) {
            // What would not fit before the end is at the start.
            (0, next & (size - 1))
        } else {
            return None;
        };
        // The block starts with the record's ID. No block is larger than half of the buffer.
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
    /// Writes the record, the text of which is at the start of `text`, as `dmesg` prints it.
    ///
    /// # Errors
    ///
    /// That of `sink`.
    pub fn write_text(&self, text: &[u8], sink: &mut dyn Write) -> fmt::Result {
        let text = &text[..self.len.min(text.len())];
        // As print_time() has it.
        let micros = self.ts_nsec / 1000;
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        for line in text.split(|&byte| byte == b'\n') {
            writeln!(sink, "[{seconds:5}.{micros:06}] {}", Escaped(line))?;
        }
        Ok(())
    }
}

/// Text from elsewhere, in which all that is not printable ASCII or a tab is shown as `\x1b`.
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
