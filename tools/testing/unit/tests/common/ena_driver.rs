// SPDX-License-Identifier: GPL-2.0

//! A machine with an ENA card, and a driver that does what Linux's does
//! (drivers/net/ethernet/amazon/ena). Functions that are named are its.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use mint_unit::ena::card::Card;
use mint_unit::ena::look::Looked;
use mint_unit::ena::queue::QueuePair;
use mint_unit::ena::registers::BAR_LEN;
use mint_unit::ena::vnet_header::VnetHeader;
use mint_unit::ena::wire::{Piece, Received, Sent, Wire};
use mint_unit::memory_device::access::{OutOfReach, Registers, SystemMemory};

pub const MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
pub const MTU_MAX: u16 = 9000;

// ena_regs_defs.h
pub const VERSION: u32 = 0x0;
pub const CONTROLLER_VERSION: u32 = 0x4;
pub const CAPS: u32 = 0x8;
const AQ_BASE: u32 = 0x10;
const AQ_CAPS: u32 = 0x18;
const ACQ_BASE: u32 = 0x20;
const ACQ_CAPS: u32 = 0x28;
pub const AQ_DB: u32 = 0x2c;
const AENQ_CAPS: u32 = 0x34;
const AENQ_BASE: u32 = 0x38;
pub const AENQ_HEAD_DB: u32 = 0x40;
const INTR_MASK: u32 = 0x4c;
pub const DEV_CTL: u32 = 0x54;
pub const DEV_STS: u32 = 0x58;
pub const READY: u32 = 1;
pub const RESET_IN_PROGRESS: u32 = 8;
pub const FATAL_ERROR: u32 = 0x20;

// enum ena_admin_aq_opcode
pub const CREATE_SQ: u8 = 1;
pub const DESTROY_SQ: u8 = 2;
pub const CREATE_CQ: u8 = 3;
pub const DESTROY_CQ: u8 = 4;
pub const GET_FEATURE: u8 = 8;
pub const SET_FEATURE: u8 = 9;
pub const GET_STATS: u8 = 11;

/// ENA_ADMIN_QUEUE_DEPTH and ENA_ASYNC_QUEUE_DEPTH
const ADMIN_DEPTH: u16 = 32;
const AENQ_DEPTH: u16 = 16;

/// How long buffers for received frames are.
pub const BUFFER_LEN: u16 = 3776;

pub struct Memory {
    bytes: RefCell<Vec<u8>>,
    pub trace: RefCell<Vec<Access>>,
}

/// What the card has done to memory.
#[derive(Debug, PartialEq, Eq)]
pub enum Access {
    Write(u64, Vec<u8>),
    Barrier,
}

impl Memory {
    pub fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        self.bytes.borrow()[at as usize..][..len].to_vec()
    }

    pub fn put(&self, at: u64, bytes: &[u8]) {
        self.bytes.borrow_mut()[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    pub fn all(&self) -> Vec<u8> {
        self.bytes.borrow().clone()
    }

    pub fn size(&self) -> usize {
        self.bytes.borrow().len()
    }

    fn byte(&self, at: u64) -> u8 {
        self.bytes.borrow()[at as usize]
    }
}

impl SystemMemory for Memory {
    fn read(&self, address: u64, out: &mut [u8]) -> Result<(), OutOfReach> {
        let memory = self.bytes.borrow();
        let from = memory.get(address as usize..).ok_or(OutOfReach)?;
        out.copy_from_slice(from.get(..out.len()).ok_or(OutOfReach)?);
        Ok(())
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), OutOfReach> {
        let mut memory = self.bytes.borrow_mut();
        let to = memory.get_mut(address as usize..).ok_or(OutOfReach)?;
        to.get_mut(..bytes.len())
            .ok_or(OutOfReach)?
            .copy_from_slice(bytes);
        self.trace
            .borrow_mut()
            .push(Access::Write(address, bytes.to_vec()));
        Ok(())
    }

    fn barrier(&self) {
        self.trace.borrow_mut().push(Access::Barrier);
    }
}

/// BAR 0.
pub struct Bar {
    registers: RefCell<Vec<u32>>,
    /// The offsets that the card has read.
    pub reads: RefCell<Vec<u32>>,
}

impl Bar {
    /// As the driver reads it.
    pub fn get(&self, offset: u32) -> u32 {
        self.registers.borrow()[offset as usize / 4]
    }

    /// As the driver writes it.
    pub fn set(&self, offset: u32, value: u32) {
        self.registers.borrow_mut()[offset as usize / 4] = value;
    }
}

impl Registers for Bar {
    fn read(&self, offset: u32) -> u32 {
        assert_eq!(offset % 4, 0);
        self.reads.borrow_mut().push(offset);
        self.get(offset)
    }

    fn write(&self, offset: u32, value: u32) {
        assert!(offset % 4 == 0 && offset < 0x2000, "{offset:#x}");
        self.set(offset, value);
    }
}

/// The TAP.
pub struct TestWire {
    memory: Rc<Memory>,
    pub sent: Vec<(VnetHeader, Vec<u8>)>,
    /// Frames to receive.
    pub incoming: VecDeque<Vec<u8>>,
    /// What the TAP says of them.
    pub header: VnetHeader,
    pub is_full: bool,
    /// How many bytes more than there are it says that a frame has.
    pub too_many: u32,
    /// How many pieces the last frame could have had, and how long it could have been.
    pub offered: (usize, u32),
}

impl Wire for TestWire {
    fn send(&mut self, header: &VnetHeader, pieces: &[Piece]) -> Sent {
        if self.is_full {
            return Sent::Full;
        }
        let mut frame = Vec::new();
        for piece in pieces {
            assert_ne!(piece.len, 0);
            let mut bytes = vec![0; piece.len as usize];
            if self.memory.read(piece.address, &mut bytes).is_err() {
                return Sent::Refused;
            }
            frame.extend(bytes);
        }
        self.sent.push((*header, frame));
        Sent::Yes
    }

    fn receive(&mut self, pieces: &[Piece]) -> Received {
        let room = pieces.iter().map(|piece| piece.len).sum();
        self.offered = (pieces.len(), room);
        let Some(frame) = self.incoming.pop_front() else {
            return Received::None;
        };
        if frame.len() > room as usize {
            return Received::Lost;
        }
        let mut left = &frame[..];
        for piece in pieces {
            let (part, rest) = left.split_at(left.len().min(piece.len as usize));
            let mut memory = self.memory.bytes.borrow_mut();
            let Some(to) = memory.get_mut(piece.address as usize..) else {
                return Received::Lost;
            };
            let Some(to) = to.get_mut(..part.len()) else {
                return Received::Lost;
            };
            to.copy_from_slice(part);
            left = rest;
        }
        Received::Frame {
            len: frame.len() as u32 + self.too_many,
            header: self.header,
        }
    }
}

/// A ring that the driver writes to: struct ena_com_io_sq, or the admin queue's.
#[derive(Clone, Copy, Default)]
pub struct Sq {
    pub base: u64,
    pub depth: u16,
    pub entry_len: u16,
    pub doorbell: u32,
    pub index: u16,
    pub tail: u16,
    pub phase: bool,
    /// next_to_comp
    pub completed: u16,
}

impl Sq {
    /// Writes an entry, whose phase is clear, but not the doorbell.
    pub fn push(&mut self, memory: &Memory, entry: &[u8]) {
        assert!(usize::from(self.entry_len) >= entry.len());
        let mut entry = entry.to_vec();
        entry[3] |= u8::from(self.phase);
        let slot = self.tail & (self.depth - 1);
        memory.put(
            self.base + u64::from(slot) * u64::from(self.entry_len),
            &entry,
        );
        self.tail = self.tail.wrapping_add(1);
        self.phase ^= self.tail & (self.depth - 1) == 0;
    }

    /// ena_com_free_q_entries()
    pub fn free(&self) -> u16 {
        self.depth - 1 - self.tail.wrapping_sub(self.completed)
    }
}

/// A ring that the driver reads: struct ena_com_io_cq, or the admin queue's.
#[derive(Clone, Copy, Default)]
pub struct Cq {
    pub base: u64,
    pub depth: u16,
    pub entry_len: u16,
    pub index: u16,
    pub unmask: u32,
    head: u16,
    phase: bool,
    /// The byte with the phase.
    at: u16,
}

impl Cq {
    /// The next entry, if it is there.
    pub fn pop(&mut self, memory: &Memory) -> Option<Vec<u8>> {
        let slot = self.head & (self.depth - 1);
        let at = self.base + u64::from(slot) * u64::from(self.entry_len);
        let phase = memory.byte(at + u64::from(self.at)) & 1 == 1;
        (phase == self.phase).then(|| {
            self.head = self.head.wrapping_add(1);
            self.phase ^= self.head & (self.depth - 1) == 0;
            memory.bytes(at, self.entry_len.into())
        })
    }
}

/// struct ena_com_tx_meta
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    pub mss: u16,
    pub l3_hdr_len: u16,
    pub l3_hdr_offset: u16,
    pub l4_hdr_len: u16,
}

/// What ena_tx_csum() finds: metadata, and meta_ctrl without the request ID.
#[derive(Clone, Copy, Default)]
pub struct Offload {
    pub meta: Option<Meta>,
    pub control: u32,
}

/// ENA_ETH_IO_L3_PROTO_IPV4 and _IPV6, ENA_ETH_IO_L4_PROTO_TCP and _UDP in their places.
pub const IPV4: u32 = 8;
pub const IPV6: u32 = 11;
pub const TCP: u32 = 12 << 8;
pub const UDP: u32 = 13 << 8;
const TSO_EN: u32 = 1 << 7;
const L3_CSUM_EN: u32 = 1 << 13;
const L4_CSUM_EN: u32 = 1 << 14;
const L4_CSUM_PARTIAL: u32 = 1 << 17;

impl Offload {
    /// A checksum is left to the card.
    pub fn checksum(protocols: u32, l3_hdr_offset: u16, l3_hdr_len: u16) -> Self {
        let meta = Meta {
            l3_hdr_len,
            l3_hdr_offset,
            ..Meta::default()
        };
        Offload {
            meta: Some(meta),
            control: protocols | L4_CSUM_EN | L4_CSUM_PARTIAL,
        }
    }

    /// Segmentation is.
    pub fn tso(protocols: u32, meta: Meta) -> Self {
        let l3 = if protocols & 0xf == IPV4 {
            L3_CSUM_EN
        } else {
            0
        };
        Offload {
            meta: Some(meta),
            control: protocols | TSO_EN | L4_CSUM_EN | l3,
        }
    }
}

/// A transmit and a receive ring, and what is under way: struct ena_ring, twice.
pub struct Pair {
    pub tx_sq: Sq,
    pub tx_cq: Cq,
    pub rx_sq: Sq,
    pub rx_cq: Cq,
    cached: Meta,
    /// For each request that is under way, its descriptors.
    pub tx_requests: Vec<Option<u16>>,
    /// The buffers, one for each request.
    buffers: u64,
    /// Requests without a posted buffer, and which they are.
    pub rx_free: VecDeque<u16>,
    /// Where frames that are sent lie.
    pub data: u64,
    /// ena_intr_msix_io() has run.
    pub interrupted: bool,
    pub interrupts: u32,
    /// Frames received.
    pub received: Vec<Vec<u8>>,
}

/// How much room there is for frames that are sent.
pub const DATA_LEN: u64 = 0x2_0000;

pub struct Machine {
    pub card: Card<Vec<QueuePair>>,
    pub memory: Rc<Memory>,
    pub bar: Bar,
    pub wire: TestWire,
    pub queues: u16,
    pub depth: u16,
    /// Where nothing was allocated yet.
    next: u64,
    /// The same, before the queues were created.
    queue_memory: u64,
    aq: Sq,
    acq: Cq,
    pub aenq: Cq,
    /// ena_com_aenq's head
    aenq_head: u16,
    command: u16,
    pub pairs: Vec<Pair>,
    /// The driver takes events: ENA_FLAG_DEVICE_RUNNING.
    pub is_running: bool,
    /// What it was told of the link.
    pub link: Option<bool>,
    pub management_interrupts: u32,
    /// The vectors that the last look has raised.
    pub raised: u64,
    /// What looks have found together.
    pub frames: u32,
}

impl Machine {
    /// A machine that is off, with a link.
    pub fn off(queues: u16) -> Self {
        Self::off_with_depth(queues, 64)
    }

    fn off_with_depth(queues: u16, depth: u16) -> Self {
        // Rings, frames and buffers, and something for tests.
        let pair = DATA_LEN + u64::from(depth) * 4096 + 0x1_0000;
        let len = u64::from(queues) * pair + 0x4_0000;
        let memory = Rc::new(Memory {
            bytes: RefCell::new(vec![0; len as usize]),
            trace: RefCell::new(Vec::new()),
        });
        let pairs = vec![QueuePair::default(); queues.into()];
        let mut card = Card::new(MAC, MTU_MAX, pairs);
        card.set_link(true);
        Machine {
            card,
            bar: Bar {
                registers: RefCell::new(vec![0; BAR_LEN as usize / 4]),
                reads: RefCell::new(Vec::new()),
            },
            wire: TestWire {
                memory: memory.clone(),
                sent: Vec::new(),
                incoming: VecDeque::new(),
                header: VnetHeader::default(),
                is_full: false,
                too_many: 0,
                offered: (0, 0),
            },
            memory,
            queues,
            depth,
            next: 0x1000,
            queue_memory: 0,
            aq: Sq::default(),
            acq: Cq::default(),
            aenq: Cq::default(),
            aenq_head: 0,
            command: 0,
            pairs: Vec::new(),
            is_running: false,
            link: None,
            management_interrupts: 0,
            raised: 0,
            frames: 0,
        }
    }

    /// A machine whose driver has probed the card and set it up.
    pub fn new(queues: u16) -> Self {
        Self::with_depth(queues, 64)
    }

    pub fn with_depth(queues: u16, depth: u16) -> Self {
        let mut machine = Self::off_with_depth(queues, depth);
        machine.card.power_on(&machine.bar);
        machine.probe();
        machine.up();
        machine
    }

    pub fn alloc(&mut self, len: u64) -> u64 {
        let at = self.next;
        self.next += (len + 0xfff) & !0xfff;
        assert!(self.next as usize <= self.memory.size());
        at
    }

    /// dma_alloc_coherent(): zeros.
    fn alloc_ring(&mut self, depth: u16, entry_len: u16) -> u64 {
        let len = u64::from(depth) * u64::from(entry_len);
        let at = self.alloc(len);
        self.memory.put(at, &vec![0; len as usize]);
        at
    }

    /// A look; the driver takes the interrupts.
    pub fn look(&mut self, thorough: bool, budget: u32) -> Looked {
        let (bar, memory) = (&self.bar, &*self.memory);
        let looked = self
            .card
            .look(bar, memory, &mut self.wire, thorough, budget);
        assert!(looked.frames <= budget);
        self.frames += looked.frames;
        let [vectors, none] = self.card.take_vectors();
        assert!(none == 0 && vectors >> (self.queues + 1) == 0);
        self.raised = vectors;
        if vectors & 1 != 0 {
            self.management_interrupts += 1;
            // ena_intr_msix_mgmnt(): admin() looks at the admin queue itself.
            if self.is_running {
                self.take_events();
            }
        }
        for (index, pair) in self.pairs.iter_mut().enumerate() {
            if vectors & (2 << index) != 0 {
                pair.interrupted = true;
                pair.interrupts += 1;
            }
        }
        looked
    }

    /// ena_com_aenq_intr_handler()
    pub fn take_events(&mut self) {
        let head = self.aenq_head;
        while let Some(event) = self.aenq.pop(&self.memory) {
            // ENA_ADMIN_LINK_CHANGE
            assert_eq!(event[..2], [0, 0]);
            self.link = Some(event[16] & 1 == 1);
            self.aenq_head = self.aenq_head.wrapping_add(1);
        }
        if self.aenq_head != head {
            self.bar.set(AENQ_HEAD_DB, self.aenq_head.into());
        }
    }

    /// ena_com_dev_reset()
    pub fn reset(&mut self) {
        assert_eq!(self.bar.get(DEV_STS) & READY, READY);
        assert_ne!(self.bar.get(CAPS) & 0x3e, 0);
        self.bar.set(DEV_CTL, 1 | (12 << 28));
        self.look(true, 1);
        assert_eq!(self.bar.get(DEV_STS) & RESET_IN_PROGRESS, RESET_IN_PROGRESS);
        self.bar.set(DEV_CTL, 0);
        self.look(true, 1);
        assert_eq!(self.bar.get(DEV_STS) & RESET_IN_PROGRESS, 0);
    }

    fn set_ring(&mut self, base: u64, depth: u16, entry_len: u16, at: [u32; 2]) {
        self.bar.set(at[0], base as u32);
        self.bar.set(at[0] + 4, (base >> 32) as u32);
        self.bar
            .set(at[1], u32::from(depth) | (u32::from(entry_len) << 16));
    }

    /// ena_com_admin_init(), in polling mode.
    pub fn init_admin(&mut self) {
        let (aq, acq) = (
            self.alloc_ring(ADMIN_DEPTH, 64),
            self.alloc_ring(ADMIN_DEPTH, 64),
        );
        let aenq = self.alloc_ring(AENQ_DEPTH, 64);
        self.set_ring(aq, ADMIN_DEPTH, 64, [AQ_BASE, AQ_CAPS]);
        self.set_ring(acq, ADMIN_DEPTH, 64, [ACQ_BASE, ACQ_CAPS]);
        self.set_ring(aenq, AENQ_DEPTH, 64, [AENQ_BASE, AENQ_CAPS]);
        self.aq = Sq {
            base: aq,
            depth: ADMIN_DEPTH,
            entry_len: 64,
            doorbell: AQ_DB,
            phase: true,
            ..Sq::default()
        };
        let cq = Cq {
            base: acq,
            depth: ADMIN_DEPTH,
            entry_len: 64,
            phase: true,
            at: 3,
            ..Cq::default()
        };
        self.acq = cq;
        self.aenq = Cq {
            base: aenq,
            depth: AENQ_DEPTH,
            at: 4,
            ..cq
        };
        self.aenq_head = AENQ_DEPTH;
        self.command = 0;
        self.bar.set(INTR_MASK, 1);
    }

    /// __ena_com_submit_admin_cmd(): `fields` are put into the command.
    pub fn submit_admin(&mut self, opcode: u8, fields: &[(usize, &[u8])]) -> u16 {
        let mut entry = [0; 64];
        for &(at, field) in fields {
            entry[at..at + field.len()].copy_from_slice(field);
        }
        let id = self.command;
        self.command = (self.command + 1) % ADMIN_DEPTH;
        entry[..2].copy_from_slice(&id.to_le_bytes());
        entry[2] = opcode;
        self.aq.push(&self.memory, &entry);
        self.bar.set(AQ_DB, self.aq.tail.into());
        id
    }

    /// ena_com_handle_admin_completion(): the answer, or the status.
    pub fn answer(&mut self, id: u16) -> Option<Result<Vec<u8>, u8>> {
        let answer = self.acq.pop(&self.memory)?;
        assert_eq!(u16::from_le_bytes([answer[0], answer[1]]), id);
        Some(match answer[2] {
            0 => Ok(answer),
            status => Err(status),
        })
    }

    /// ena_com_execute_admin_command()
    pub fn admin(&mut self, opcode: u8, fields: &[(usize, &[u8])]) -> Result<Vec<u8>, u8> {
        let id = self.submit_admin(opcode, fields);
        for thorough in [false, true] {
            self.look(thorough, 1);
            if let Some(answer) = self.answer(id) {
                return answer;
            }
        }
        panic!("no completion of command {opcode}");
    }

    pub fn get_feature(&mut self, id: u8) -> Result<Vec<u8>, u8> {
        self.admin(GET_FEATURE, &[(17, &[id])])
    }

    pub fn set_feature(&mut self, id: u8, at: usize, field: &[u8]) -> Result<(), u8> {
        self.admin(SET_FEATURE, &[(17, &[id]), (20 + at, field)])
            .map(|_| ())
    }

    /// ena_probe(), but for what it checks. If another kernel has run before, then its memory is now
    /// that of this one.
    pub fn probe(&mut self) {
        self.pairs.clear();
        self.next = 0x1000;
        self.is_running = false;
        self.link = None;
        self.reset();
        self.init_admin();
        // ena_device_init(): host attributes, device attributes, queues, AENQ, offloads.
        assert_eq!(self.set_feature(28, 0, &[0; 20]), Ok(()));
        for feature in [1, 2, 26, 11] {
            assert!(self.get_feature(feature).is_ok());
        }
        assert!(self.get_feature(26).is_ok());
        assert_eq!(self.set_feature(26, 4, &1u32.to_le_bytes()), Ok(()));
        // ena_enable_msix_and_set_admin_interrupts()
        self.bar.set(INTR_MASK, 0);
        self.bar.set(AENQ_HEAD_DB, AENQ_DEPTH.into());
        assert!(self.get_feature(12).is_ok());
        assert_eq!(self.set_feature(28, 0, &[1; 20]), Ok(()));
        self.is_running = true;
    }

    /// ena_com_create_io_cq()
    pub fn create_cq(&mut self, vector: u32, entry_len: u16) -> Result<Cq, u8> {
        let depth = self.depth;
        let base = self.alloc_ring(depth, entry_len);
        let answer = self.admin(
            CREATE_CQ,
            &[
                (4, &[1 << 5, (entry_len / 4) as u8]),
                (6, &depth.to_le_bytes()),
                (8, &vector.to_le_bytes()),
                (12, &base.to_le_bytes()),
            ],
        )?;
        assert_eq!(u16_at(&answer, 10), depth);
        assert_eq!((u32_at(&answer, 12), u32_at(&answer, 16)), (0, 0));
        Ok(Cq {
            base,
            depth,
            entry_len,
            index: u16_at(&answer, 8),
            unmask: u32_at(&answer, 20),
            head: 0,
            phase: true,
            at: 3,
        })
    }

    /// ena_com_create_io_sq()
    pub fn create_sq(&mut self, direction: u8, cq: u16) -> Result<Sq, u8> {
        let depth = self.depth;
        let base = self.alloc_ring(depth, 16);
        let answer = self.admin(
            CREATE_SQ,
            &[
                (4, &[direction << 5, 0, 1, 1]),
                (8, &cq.to_le_bytes()),
                (10, &depth.to_le_bytes()),
                (12, &base.to_le_bytes()),
            ],
        )?;
        Ok(Sq {
            base,
            depth,
            entry_len: 16,
            doorbell: u32_at(&answer, 12),
            index: u16_at(&answer, 8),
            tail: 0,
            phase: true,
            completed: 0,
        })
    }

    /// ena_up()
    pub fn up(&mut self) {
        self.queue_memory = self.next;
        let tx: Vec<_> = (1..=self.queues)
            .map(|vector| {
                let cq = self.create_cq(vector.into(), 8).unwrap();
                (cq, self.create_sq(1, cq.index).unwrap())
            })
            .collect();
        for (vector, (tx_cq, tx_sq)) in (1..=self.queues).zip(tx) {
            let rx_cq = self.create_cq(vector.into(), 16).unwrap();
            let rx_sq = self.create_sq(2, rx_cq.index).unwrap();
            let requests = self.depth;
            let buffers = self.alloc(u64::from(requests) * 4096);
            let data = self.alloc(DATA_LEN);
            self.pairs.push(Pair {
                tx_sq,
                tx_cq,
                rx_sq,
                rx_cq,
                cached: Meta::default(),
                tx_requests: vec![None; requests.into()],
                buffers,
                rx_free: (0..requests).collect(),
                data,
                interrupted: false,
                interrupts: 0,
                received: Vec::new(),
            });
        }
        // ena_up_complete(): the indirection table, of 2^7 entries, and the MTU.
        let mut table = [0; 8];
        table[4] = 7;
        assert_eq!(self.set_feature(12, 0, &table), Ok(()));
        assert_eq!(self.set_feature(14, 0, &1500u32.to_le_bytes()), Ok(()));
        for pair in 0..self.pairs.len() {
            self.refill(pair);
            self.unmask(pair);
        }
    }

    /// ena_down()
    pub fn down(&mut self) {
        for (direction, opcode_at) in [(1, 0), (2, 1)] {
            for pair in 0..self.pairs.len() {
                let (sq, cq) = match opcode_at {
                    0 => (self.pairs[pair].tx_sq, self.pairs[pair].tx_cq),
                    _ => (self.pairs[pair].rx_sq, self.pairs[pair].rx_cq),
                };
                let sq = sq.index.to_le_bytes();
                let identity = [direction << 5];
                self.admin(DESTROY_SQ, &[(4, &sq), (6, &identity)]).unwrap();
                self.admin(DESTROY_CQ, &[(4, &cq.index.to_le_bytes())])
                    .unwrap();
            }
        }
        self.pairs.clear();
        self.next = self.queue_memory;
    }

    /// ena_refill_rx_bufs(), with a doorbell at the end.
    pub fn refill(&mut self, pair: usize) {
        let Pair {
            rx_sq,
            rx_free,
            buffers,
            ..
        } = &mut self.pairs[pair];
        while rx_sq.free() > 0 {
            let Some(request) = rx_free.pop_front() else {
                break;
            };
            let at = *buffers + u64::from(request) * 4096;
            rx_sq.push(&self.memory, &rx_descriptor(at, BUFFER_LEN, request));
        }
        self.bar.set(rx_sq.doorbell, rx_sq.tail.into());
    }

    /// ena_unmask_interrupt()
    pub fn unmask(&mut self, pair: usize) {
        self.bar
            .set(self.pairs[pair].tx_cq.unmask, (1 << 30) | (64 << 15) | 20);
    }

    /// ena_com_prepare_tx(), for a frame in `pieces`. Returns the request, unless there is no room.
    pub fn prepare(&mut self, pair: usize, pieces: &[Piece], offload: &Offload) -> Option<u16> {
        let memory = &*self.memory;
        let Pair {
            tx_sq,
            cached,
            tx_requests,
            ..
        } = &mut self.pairs[pair];
        if tx_sq.free() < pieces.len() as u16 + 1 {
            return None;
        }
        let request = tx_requests.iter().position(Option::is_none)? as u16;
        let before = tx_sq.tail;
        let mut has_meta = false;
        if let Some(meta) = offload.meta.filter(|meta| *meta != *cached) {
            *cached = meta;
            has_meta = true;
            tx_sq.push(memory, &meta_descriptor(&meta));
        }
        for (index, piece) in pieces.iter().enumerate() {
            let mut words = [
                piece.len,
                0,
                piece.address as u32,
                (piece.address >> 32) as u32,
            ];
            if index == 0 {
                words[0] |= if has_meta { 0 } else { 1 << 26 };
                words[0] |= (1 << 28) | ((u32::from(request) >> 10) << 16);
                words[1] = offload.control | (u32::from(request) << 22);
                words[3] |= piece.len.min(96) << 24;
            }
            if index == pieces.len() - 1 {
                words[0] |= 1 << 27;
            }
            tx_sq.push(memory, &words.map(u32::to_le_bytes).concat());
        }
        tx_requests[usize::from(request)] = Some(tx_sq.tail.wrapping_sub(before));
        Some(request)
    }

    /// ena_start_xmit(): the frame is cut at `cuts`. Returns the request, unless there is no room.
    pub fn xmit(
        &mut self,
        pair: usize,
        frame: &[u8],
        cuts: &[usize],
        offload: &Offload,
    ) -> Option<u16> {
        let data = self.pairs[pair].data;
        self.memory.put(data, frame);
        let mut starts = vec![0];
        starts.extend(cuts);
        let mut pieces = Vec::new();
        for (index, &start) in starts.iter().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(frame.len());
            pieces.push(Piece {
                address: data + start as u64,
                len: (end - start) as u32,
            });
        }
        let request = self.prepare(pair, &pieces, offload);
        self.ring_tx(pair);
        request
    }

    /// ena_com_write_sq_doorbell()
    pub fn ring_tx(&mut self, pair: usize) {
        let sq = &self.pairs[pair].tx_sq;
        self.bar.set(sq.doorbell, sq.tail.into());
    }

    /// ena_clean_tx_irq()
    pub fn clean_tx(&mut self, pair: usize) -> Vec<u16> {
        let mut done = Vec::new();
        let pair = &mut self.pairs[pair];
        while let Some(entry) = pair.tx_cq.pop(&self.memory) {
            let request = u16_at(&entry, 0);
            let descriptors = pair.tx_requests[usize::from(request)].take();
            pair.tx_sq.completed += descriptors.expect("not under way");
            assert_eq!(entry[2], 0);
            assert_eq!(u16_at(&entry, 4), pair.tx_sq.index);
            assert_eq!(u16_at(&entry, 6), pair.tx_sq.completed);
            done.push(request);
        }
        done
    }

    /// ena_clean_rx_irq(), without the refill.
    pub fn clean_rx(&mut self, pair: usize) -> usize {
        let pair = &mut self.pairs[pair];
        let before = pair.received.len();
        let mut frame: Option<Vec<u8>> = None;
        let mut descriptors = 0;
        while let Some(entry) = pair.rx_cq.pop(&self.memory) {
            let (status, len, request) = (u32_at(&entry, 0), u16_at(&entry, 4), u16_at(&entry, 6));
            // Nothing is said of protocols and checksums; the offset is 0.
            assert_eq!(status & 0xf0ff_ffff, 0x4000_0000);
            assert_eq!((u32_at(&entry, 8), entry[14]), (0, 0));
            assert_eq!(status & (1 << 26) != 0, frame.is_none());
            assert!(!pair.rx_free.contains(&request), "not posted: {request}");
            let at = pair.buffers + u64::from(request) * 4096;
            let frame_so_far = frame.get_or_insert_with(Vec::new);
            frame_so_far.extend(self.memory.bytes(at, len.into()));
            pair.rx_sq.completed = pair.rx_sq.completed.wrapping_add(1);
            pair.rx_free.push_back(request);
            descriptors += 1;
            // ena_com_rx_pkt(): sgl_size
            assert!(descriptors <= 17);
            if status & (1 << 27) != 0 {
                pair.received.extend(frame.take());
                descriptors = 0;
            }
        }
        assert!(frame.is_none());
        pair.received.len() - before
    }

    /// ena_io_poll(), if there was an interrupt. Returns the requests that were done.
    pub fn napi(&mut self, pair: usize) -> Vec<u16> {
        if !std::mem::take(&mut self.pairs[pair].interrupted) {
            return Vec::new();
        }
        let done = self.clean_tx(pair);
        self.clean_rx(pair);
        self.refill(pair);
        self.unmask(pair);
        done
    }
}

/// ena_com_create_meta()
pub fn meta_descriptor(meta: &Meta) -> Vec<u8> {
    let mss = u32::from(meta.mss);
    let word0 =
        (1 << 23) | (1 << 14) | (((mss >> 10) & 0xf) << 16) | (1 << 20) | (1 << 26) | (1 << 21);
    let word2 = ((mss & 0x3ff) << 22)
        | u32::from(meta.l3_hdr_len)
        | (u32::from(meta.l3_hdr_offset) << 8)
        | (u32::from(meta.l4_hdr_len) << 16);
    [word0, 0, word2, 0].map(u32::to_le_bytes).concat()
}

/// ena_com_add_single_rx_desc()
pub fn rx_descriptor(at: u64, len: u16, request: u16) -> Vec<u8> {
    let mut descriptor = vec![0; 16];
    descriptor[..2].copy_from_slice(&len.to_le_bytes());
    descriptor[3] = (1 << 2) | (1 << 3) | (1 << 4);
    descriptor[4..6].copy_from_slice(&request.to_le_bytes());
    descriptor[8..14].copy_from_slice(&at.to_le_bytes()[..6]);
    descriptor
}

pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}
