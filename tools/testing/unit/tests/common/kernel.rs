// SPDX-License-Identifier: GPL-2.0

//! The memory of a kernel that never ran: page tables, VMCOREINFO, and a log buffer that a writer
//! fills as `kernel/printk/printk_ringbuffer.c` describes it.

// Each test uses a part of it.
#![allow(dead_code)]

use mint_unit::memory::memmap::Range;
use mint_unit::postmortem::PhysicalMemory;

pub const PAGE: u64 = 4096;
/// Where x86-64 maps the kernel's image.
pub const IMAGE_MAP: u64 = 0xffff_ffff_8000_0000;

/// What is done to memory while it is read.
pub type Change = Box<dyn FnMut(&mut Vec<u8>)>;

/// Memory in one piece. Something can be done to it once it has been read so many times.
pub struct Memory {
    pub start: u64,
    pub bytes: Vec<u8>,
    pub reads: u64,
    pub at_read: Option<(u64, Change)>,
}

impl Memory {
    pub fn new(start: u64, len: u64) -> Self {
        Memory {
            start,
            bytes: vec![0; len as usize],
            reads: 0,
            at_read: None,
        }
    }

    pub fn range(&self) -> Range {
        Range::new(self.start, self.bytes.len() as u64).unwrap()
    }

    pub fn put(&mut self, address: u64, bytes: &[u8]) {
        let at = (address - self.start) as usize;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub fn get(&self, address: u64, len: usize) -> &[u8] {
        let at = (address - self.start) as usize;
        &self.bytes[at..at + len]
    }
}

impl PhysicalMemory for Memory {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Option<()> {
        self.reads += 1;
        if let Some((when, what)) = &mut self.at_read {
            if *when == self.reads {
                what(&mut self.bytes);
            }
        }
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        let end = at.checked_add(out.len())?;
        out.copy_from_slice(self.bytes.get(at..end)?);
        Some(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    FiveLevels,
    FourLevels,
    Pae,
    TwoLevels,
}

pub const ALL_PAGING: [Paging; 4] = [
    Paging::FiveLevels,
    Paging::FourLevels,
    Paging::Pae,
    Paging::TwoLevels,
];

impl Paging {
    pub fn is_64(self) -> bool {
        matches!(self, Paging::FiveLevels | Paging::FourLevels)
    }

    /// Bytes of a `long`.
    pub fn word(self) -> usize {
        if self.is_64() {
            8
        } else {
            4
        }
    }

    /// The lowest bit of an address that each level translates, from the top table on.
    fn shifts(self) -> &'static [u32] {
        match self {
            Paging::FiveLevels => &[48, 39, 30, 21, 12],
            Paging::FourLevels => &[39, 30, 21, 12],
            Paging::Pae => &[30, 21, 12],
            Paging::TwoLevels => &[22, 12],
        }
    }

    fn entry_len(self) -> u64 {
        if self == Paging::TwoLevels {
            4
        } else {
            8
        }
    }

    /// Where this kernel has its direct map, if it does not vary.
    pub fn page_offset(self) -> u64 {
        match self {
            Paging::FiveLevels => 0xff2d_1234_4000_0000,
            Paging::FourLevels => 0xffff_9876_c000_0000,
            _ => 0xc000_0000,
        }
    }
}

/// A kernel's memory.
pub struct Kernel {
    pub paging: Paging,
    pub memory: Memory,
    pub page_offset: u64,
    /// The physical address of the top page table.
    pub root: u64,
    /// The physical address of what lies at `IMAGE_MAP` (or at `page_offset` on i386).
    pub phys_base: i64,
    pub note_at: u64,
    next_table: u64,
}

// Offsets in the memory.
const NOTE: u64 = 0x3000;
const IMAGE: u64 = 0x10_0000;
const IMAGE_LEN: u64 = 0x2_0000;
const TABLES: u64 = 0x18_0000;
const TABLES_LEN: u64 = 0x1_0000;
const BOOT_MEMORY: u64 = 0x20_0000;
const LEN: u64 = 0x40_0000;
/// The image was linked to run here.
const LINKED_AT: u64 = 0x100_0000;

// In the image.
pub const TOP_TABLE: u64 = 0;
pub const PRB: u64 = 0x2008;
pub const RING: u64 = 0x2f90;

impl Kernel {
    pub fn new(paging: Paging) -> Self {
        let start = if paging.is_64() {
            0x12_4000_0000
        } else {
            0x1000_0000
        };
        Self::at(paging, start, paging.page_offset())
    }

    pub fn at(paging: Paging, start: u64, page_offset: u64) -> Self {
        let memory = Memory::new(start, LEN);
        let phys_base = (start + IMAGE) as i64 - LINKED_AT as i64;
        let mut kernel = Kernel {
            paging,
            memory,
            page_offset,
            root: start + IMAGE + TOP_TABLE,
            phys_base,
            note_at: start + NOTE,
            next_table: start + TABLES,
        };
        if paging.is_64() {
            for at in (0..IMAGE_LEN).step_by(PAGE as usize) {
                kernel.map(kernel.image(at), start + IMAGE + at, 12);
            }
        }
        // As init_mem_mapping() does, large pages where they fit.
        let large = if paging == Paging::TwoLevels { 22 } else { 21 };
        kernel.map(page_offset + start, start, large);
        if large == 21 {
            for at in (1 << 21..LEN).step_by(PAGE as usize) {
                kernel.map(page_offset + start + at, start + at, 12);
            }
        }
        kernel
    }

    /// The virtual address of what is at this offset of the image.
    pub fn image(&self, offset: u64) -> u64 {
        if self.paging.is_64() {
            IMAGE_MAP + LINKED_AT + offset
        } else {
            self.page_offset + self.memory.start + IMAGE + offset
        }
    }

    /// The physical address of what is at this offset of the image.
    pub fn image_physical(&self, offset: u64) -> u64 {
        self.memory.start + IMAGE + offset
    }

    /// Maps a page of `1 << bits` bytes.
    pub fn map(&mut self, address: u64, physical: u64, bits: u32) {
        self.entry(address, bits, |memory, at, len| {
            // Present, writable, accessed, dirty, global; not executable where there is room.
            let large = if bits > 12 { 0x80 } else { 0 };
            let no_execute = if len == 8 { 1 << 63 } else { 0 };
            let entry = physical | 0x163 | large | no_execute;
            memory.put(at, &entry.to_le_bytes()[..len as usize]);
        });
    }

    /// Calls `what` with where the entry is that maps a page of `1 << bits` bytes.
    pub fn entry(&mut self, address: u64, bits: u32, what: impl Fn(&mut Memory, u64, u64)) {
        let len = self.paging.entry_len();
        let mut table = self.root;
        for &shift in self.paging.shifts() {
            let entries = PAGE / len;
            let at = table + (address >> shift) % entries * len;
            if shift == bits {
                return what(&mut self.memory, at, len);
            }
            let mut entry = [0; 8];
            entry[..len as usize].copy_from_slice(self.memory.get(at, len as usize));
            let mut entry = u64::from_le_bytes(entry);
            if entry & 1 == 0 {
                entry = self.next_table | 0x67;
                self.next_table += PAGE;
                assert!(self.next_table <= self.memory.start + TABLES + TABLES_LEN);
                self.memory.put(at, &entry.to_le_bytes()[..len as usize]);
            }
            assert_eq!(entry & 0x80, 0, "a large page is there already");
            table = entry & 0xf_ffff_ffff_f000;
        }
        panic!("no page of 2^{bits} bytes");
    }

    /// The lines of VMCOREINFO that have to do with page tables.
    pub fn paging_info(&self) -> String {
        let top = self.image(TOP_TABLE);
        match self.paging {
            Paging::FiveLevels | Paging::FourLevels => format!(
                "SYMBOL(swapper_pg_dir)={top:x}\nNUMBER(phys_base)={}\nSYMBOL(init_top_pgt)={top:x}\n\
                 NUMBER(pgtable_l5_enabled)={}\nNUMBER(sme_mask)=0\n",
                self.phys_base,
                u8::from(self.paging == Paging::FiveLevels),
            ),
            Paging::Pae => format!("SYMBOL(swapper_pg_dir)={top:x}\nCONFIG_X86_PAE=y\n"),
            Paging::TwoLevels => format!("SYMBOL(swapper_pg_dir)={top:x}\n"),
        }
    }

    /// Writes the note, with `more` lines; returns all of it.
    pub fn write_note(&mut self, more: &str) -> Vec<u8> {
        let text = format!("OSRELEASE=7.3.4-test\n{}{more}", self.paging_info());
        let note = note(text.as_bytes());
        self.memory.put(self.note_at, &note);
        note
    }

    /// Writes what VMCOREINFO has to say, and the log buffer.
    pub fn write_log(&mut self, ring: &Ring) -> Vec<u8> {
        let word = self.paging.word();
        let l = &Layout::of(word);
        // Somewhere in memblock's memory, and not on pages of their own.
        let arrays = self.memory.start + BOOT_MEMORY;
        let descs = arrays + 0x40;
        let infos = descs + ring.descs.len() as u64 * l.desc + 0x20;
        let text = infos + ring.descs.len() as u64 * l.info + 0x88;
        for (index, desc) in ring.descs.iter().enumerate() {
            let at = descs + index as u64 * l.desc;
            self.put_word(at + l.state_var + l.counter, desc.state_var);
            self.put_word(at + l.lpos + l.begin, desc.begin);
            self.put_word(at + l.lpos + l.next, desc.next);
            let at = infos + index as u64 * l.info;
            self.memory.put(at + l.seq, &desc.seq.to_le_bytes());
            self.memory.put(at + l.ts_nsec, &desc.ts_nsec.to_le_bytes());
            self.memory
                .put(at + l.text_len, &desc.text_len.to_le_bytes());
            let level = (desc.level << 5) | 0b01010;
            self.memory
                .put(at + l.text_len + 2, &[desc.facility, level]);
            self.memory
                .put(at + l.caller_id, &desc.caller_id.to_le_bytes());
        }
        self.memory.put(text, &ring.text);

        let at = self.image_physical(RING);
        self.put_word(self.image_physical(PRB), self.image(RING));
        let bits = |len: usize| len.trailing_zeros().to_le_bytes();
        let d = at + l.desc_ring;
        self.memory.put(d + l.count_bits, &bits(ring.descs.len()));
        self.put_word(d + l.descs, self.page_offset + descs);
        self.put_word(d + l.infos, self.page_offset + infos);
        self.put_word(d + l.head_id + l.counter, ring.head_id);
        self.put_word(d + l.tail_id + l.counter, ring.tail_id);
        let t = at + l.text_data_ring;
        self.memory.put(t + l.size_bits, &bits(ring.text.len()));
        self.put_word(t + l.data, self.page_offset + text);
        let info = l.info(self.image(PRB));
        self.write_note(&info)
    }

    fn put_word(&mut self, address: u64, value: u64) {
        let word = self.paging.word();
        self.memory.put(address, &value.to_le_bytes()[..word]);
    }
}

/// An ELF note as append_elf_note() writes it for VMCOREINFO.
pub fn note(text: &[u8]) -> Vec<u8> {
    let mut note = Vec::new();
    note.extend(11u32.to_le_bytes());
    note.extend((text.len() as u32).to_le_bytes());
    note.extend([0; 4]);
    note.extend(b"VMCOREINFO\0\0");
    note.extend(text);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

/// Where everything is in the structures, none of it as the compiler would have it.
pub struct Layout {
    ring: u64,
    pub desc_ring: u64,
    text_data_ring: u64,
    desc_ring_len: u64,
    pub count_bits: u64,
    pub descs: u64,
    pub infos: u64,
    pub head_id: u64,
    tail_id: u64,
    data_ring: u64,
    size_bits: u64,
    data: u64,
    desc: u64,
    state_var: u64,
    lpos: u64,
    lpos_len: u64,
    begin: u64,
    next: u64,
    info: u64,
    seq: u64,
    ts_nsec: u64,
    text_len: u64,
    caller_id: u64,
    atomic: u64,
    pub counter: u64,
}

impl Layout {
    pub fn of(word: usize) -> Self {
        let word = word as u64;
        Layout {
            ring: 20 * word,
            text_data_ring: word,
            desc_ring: 8 * word,
            data_ring: 6 * word,
            size_bits: 4 * word,
            data: word,
            desc_ring_len: 9 * word,
            infos: 0,
            descs: 2 * word,
            count_bits: 3 * word,
            tail_id: 5 * word,
            head_id: 7 * word,
            desc: 6 * word,
            state_var: 4 * word,
            lpos: word,
            lpos_len: 3 * word,
            begin: 2 * word,
            next: 0,
            info: 104,
            text_len: 0,
            caller_id: 4,
            ts_nsec: 16,
            seq: 24,
            atomic: 2 * word,
            counter: word,
        }
    }

    /// The lines that log_buf_vmcoreinfo_setup() would write.
    pub fn info(&self, prb: u64) -> String {
        let size = |name: &str, value: u64| format!("SIZE({name})={value}\n");
        let offset = |name: &str, value: u64| format!("OFFSET({name})={value}\n");
        [
            format!("SYMBOL(prb)={prb:x}\n"),
            size("printk_ringbuffer", self.ring),
            offset("printk_ringbuffer.desc_ring", self.desc_ring),
            offset("printk_ringbuffer.text_data_ring", self.text_data_ring),
            offset("printk_ringbuffer.fail", 0),
            size("prb_desc_ring", self.desc_ring_len),
            offset("prb_desc_ring.count_bits", self.count_bits),
            offset("prb_desc_ring.descs", self.descs),
            offset("prb_desc_ring.infos", self.infos),
            offset("prb_desc_ring.head_id", self.head_id),
            offset("prb_desc_ring.tail_id", self.tail_id),
            size("prb_desc", self.desc),
            offset("prb_desc.state_var", self.state_var),
            offset("prb_desc.text_blk_lpos", self.lpos),
            size("prb_data_blk_lpos", self.lpos_len),
            offset("prb_data_blk_lpos.begin", self.begin),
            offset("prb_data_blk_lpos.next", self.next),
            size("printk_info", self.info),
            offset("printk_info.seq", self.seq),
            offset("printk_info.ts_nsec", self.ts_nsec),
            offset("printk_info.text_len", self.text_len),
            offset("printk_info.caller_id", self.caller_id),
            size("prb_data_ring", self.data_ring),
            offset("prb_data_ring.size_bits", self.size_bits),
            offset("prb_data_ring.data", self.data),
            size("atomic_long_t", self.atomic),
            offset("atomic_long_t.counter", self.counter),
        ]
        .concat()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Reserved = 0,
    Committed = 1,
    Finalized = 2,
    Reusable = 3,
}

/// A descriptor and its info.
#[derive(Clone, Debug, Default)]
pub struct Desc {
    pub state_var: u64,
    pub begin: u64,
    pub next: u64,
    pub seq: u64,
    pub ts_nsec: u64,
    pub text_len: u16,
    pub facility: u8,
    pub level: u8,
    pub caller_id: u32,
}

/// A log buffer with one writer.
#[derive(Clone)]
pub struct Ring {
    word: usize,
    /// Since 7.x a block may end with the text buffer; before, it went to the start then.
    perfect_fit: bool,
    pub descs: Vec<Desc>,
    pub text: Vec<u8>,
    pub head_id: u64,
    pub tail_id: u64,
    head_lpos: u64,
    tail_lpos: u64,
    next_seq: u64,
}

impl Ring {
    /// As `_DEFINE_PRINTKRB()` has it.
    pub fn new(word: usize, count_bits: u32, size_bits: u32, perfect_fit: bool) -> Self {
        let count = 1u64 << count_bits;
        let mut ring = Ring {
            word,
            perfect_fit,
            descs: vec![Desc::default(); count as usize],
            text: vec![0xaa; 1 << size_bits],
            head_id: 0,
            tail_id: 0,
            head_lpos: 0,
            tail_lpos: 0,
            next_seq: 0,
        };
        let first = (0u64.wrapping_sub(count + 1)) & ring.id_mask();
        ring.head_id = first;
        ring.tail_id = first;
        ring.head_lpos = 0u64.wrapping_sub(1 << size_bits) & ring.mask();
        ring.tail_lpos = ring.head_lpos;
        let last = ring.descs.len() - 1;
        ring.descs[last].begin = 1;
        ring.descs[last].next = 1;
        ring.set_state(first, State::Reusable);
        ring
    }

    fn mask(&self) -> u64 {
        u64::MAX >> (64 - 8 * self.word)
    }

    pub fn id_mask(&self) -> u64 {
        self.mask() >> 2
    }

    fn index(&self, id: u64) -> usize {
        id as usize % self.descs.len()
    }

    pub fn desc(&mut self, id: u64) -> &mut Desc {
        let index = self.index(id);
        &mut self.descs[index]
    }

    pub fn set_state(&mut self, id: u64, state: State) {
        let shift = 8 * self.word - 2;
        self.desc(id).state_var = ((state as u64) << shift) | id;
    }

    pub fn state(&self, id: u64) -> Option<State> {
        let state_var = self.descs[self.index(id)].state_var;
        let states = [
            State::Reserved,
            State::Committed,
            State::Finalized,
            State::Reusable,
        ];
        (state_var & self.id_mask() == id)
            .then(|| states[(state_var >> (8 * self.word - 2)) as usize])
    }

    /// Writes a record and returns its ID.
    pub fn write(&mut self, text: &[u8], facility: u8, state: State) -> u64 {
        let id = (self.head_id + 1) & self.id_mask();
        let oldest = id.wrapping_sub(self.descs.len() as u64) & self.id_mask();
        if oldest == self.tail_id {
            // The tail and its text go, if they have not.
            if self.state(oldest) == Some(State::Finalized) {
                self.set_state(oldest, State::Reusable);
            }
            let end = self.desc(oldest).next;
            if end & 1 == 0 {
                self.free_text(end);
            }
            self.tail_id = (self.tail_id + 1) & self.id_mask();
        }
        self.head_id = id;
        let (begin, next) = self.alloc(id, text);
        let seq = self.next_seq;
        self.next_seq += 1;
        *self.desc(id) = Desc {
            state_var: 0,
            begin,
            next,
            seq,
            ts_nsec: seq * 1_234_567_890 + 999,
            text_len: text.len() as u16,
            facility,
            level: (seq % 8) as u8,
            caller_id: 0x8000_0000 | seq as u32,
        };
        self.set_state(id, state);
        id
    }

    fn wraps(&self, lpos: u64) -> u64 {
        (lpos & self.mask()) / self.text.len() as u64
    }

    fn at(&self, lpos: u64) -> usize {
        lpos as usize % self.text.len()
    }

    fn alloc(&mut self, id: u64, text: &[u8]) -> (u64, u64) {
        if text.is_empty() {
            return (3, 3);
        }
        let (word, size) = (self.word, self.text.len() as u64);
        let len = (text.len() + word).next_multiple_of(word) as u64;
        assert!(len <= size / 2);
        let begin = self.head_lpos;
        let mut next = begin.wrapping_add(len) & self.mask();
        let last = next.wrapping_sub(u64::from(self.perfect_fit));
        if self.wraps(begin) != self.wraps(last) {
            next = (next & !(size - 1)).wrapping_add(len) & self.mask();
        }
        self.free_text(next.wrapping_sub(size) & self.mask());
        self.head_lpos = next;
        let id = &id.to_le_bytes()[..word];
        let at = self.at(begin);
        self.text[at..at + word].copy_from_slice(id);
        let at = if self.wraps(begin) == self.wraps(next.wrapping_sub(1)) {
            at
        } else {
            self.text[..word].copy_from_slice(id);
            0
        };
        self.text[at + word..at + word + text.len()].copy_from_slice(text);
        (begin, next)
    }

    /// Moves the tail of the text to `end` at least.
    fn free_text(&mut self, end: u64) {
        let size = self.text.len() as u64;
        while end.wrapping_sub(self.tail_lpos).wrapping_sub(1) & self.mask() < size {
            let at = self.at(self.tail_lpos);
            let mut id = [0; 8];
            id[..self.word].copy_from_slice(&self.text[at..at + self.word]);
            let id = u64::from_le_bytes(id);
            self.set_state(id, State::Reusable);
            self.tail_lpos = self.desc(id).next;
        }
    }
}
