// SPDX-License-Identifier: GPL-2.0

//! The ENA card.
//!
//! The first byte of the input chooses between a driver that does what Linux's does, where what one
//! side sends is what the other gets, and one that does anything, to memory that changes while it is
//! read. What follows is what the driver does, a byte for each step and what the step needs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mint_fuzz::ena_driver::{
    Machine, Meta, Offload, AENQ_HEAD_DB, AQ_DB, CREATE_CQ, CREATE_SQ, DEV_CTL, DEV_STS, IPV4,
    IPV6, READY, SET_FEATURE, TCP, UDP,
};
use mint_fuzz::input::Input;
use mint_fuzz::wild::{Bar, Wild, WILD_LEN};
use mint_unit::ena::card::Card;
use mint_unit::ena::queue::QueuePair;
use mint_unit::ena::registers::BAR_LEN;
use mint_unit::ena::vnet_header::{VnetHeader, GSO_NONE, GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM};
use mint_unit::ena::wire::{Piece, Received, Sent, Wire};
use mint_unit::memory_device::access::Registers;
use std::collections::VecDeque;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    if input.u8() % 2 == 0 {
        Good::new(&mut input).run(&mut input);
    } else {
        Hostile::new(&mut input).run(&mut input);
    }
});

/// A driver that does what Linux's does, and what must come of it.
struct Good {
    machine: Machine,
    /// For each pair, what was sent and has not come out.
    sent: Vec<VecDeque<(VnetHeader, Vec<u8>)>>,
    /// What is on the way to the driver, of all pairs: its order is kept.
    incoming: VecDeque<Vec<u8>>,
    /// Pairs that have looked at their rings, but not unmasked the interrupt.
    polled: Vec<bool>,
    /// Numbers frames.
    count: u32,
    /// The same for those that each pair has sent, which tells where they lie.
    places: Vec<u64>,
}

/// How much the driver has under way of each pair, and the room for each.
const UNDER_WAY: usize = 8;
const ROOM: u64 = 0x4000;
const MANY: u32 = 64;

impl Good {
    fn new(input: &mut Input<'_>) -> Self {
        let queues = 1 + u16::from(input.u8() % 4);
        let depth = 8 << (input.u8() % 4);
        let mut good = Good {
            machine: Machine::with_depth(queues, depth),
            sent: vec![VecDeque::new(); queues.into()],
            incoming: VecDeque::new(),
            polled: vec![false; queues.into()],
            count: 0,
            places: vec![0; queues.into()],
        };
        good.look(true, MANY);
        good
    }

    fn run(&mut self, input: &mut Input<'_>) {
        for _ in 0..200 {
            if input.is_empty() {
                break;
            }
            self.step(input);
            assert!(!self.machine.card.is_fatal());
        }
        self.machine.wire.is_full = false;
        self.settle();
        for pair in &self.machine.pairs {
            assert!(pair.tx_requests.iter().all(Option::is_none));
        }
        assert_eq!(self.machine.link, Some(true));
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let pair = usize::from(input.u8()) % self.sent.len();
        match input.u8() % 16 {
            0..=3 => self.send(pair, input),
            4..=6 => {
                let len = 14 + usize::from(input.u16()) % 1500;
                let frame = self.frame(pair, len);
                self.incoming.push_back(frame.clone());
                self.machine.wire.incoming.push_back(frame);
            }
            7..=9 => {
                let flags = input.u8();
                self.look(flags & 0x80 != 0, u32::from(flags & 0x1f));
            }
            10 | 11 => self.poll(pair),
            12 => self.unmask(pair),
            13 => self.machine.wire.is_full ^= true,
            _ => match input.u8() % 16 {
                0 => self.restart(false),
                1 => self.restart(true),
                2 => self.lose_link(pair),
                3 => {
                    let mtu = 1500 + u32::from(input.u16()) % 7501;
                    let set = self.machine.set_feature(14, 0, &mtu.to_le_bytes());
                    assert_eq!(set, Ok(()));
                    self.check();
                }
                _ => {
                    assert!(self.machine.admin(11, &[]).is_ok());
                    self.check();
                }
            },
        }
    }

    /// A frame that no other is like.
    fn frame(&mut self, pair: usize, len: usize) -> Vec<u8> {
        self.count += 1;
        let mut frame: Vec<_> = (0..len).map(|at| (at as u32 ^ self.count) as u8).collect();
        frame[0] = pair as u8;
        frame[1..5].copy_from_slice(&self.count.to_le_bytes());
        frame
    }

    fn send(&mut self, pair: usize, input: &mut Input<'_>) {
        if self.sent[pair].len() >= UNDER_WAY {
            return;
        }
        let (kind, len) = (input.u8(), usize::from(input.u16()));
        let l3_len = if kind & 4 == 0 { 20 } else { 40 };
        let l3_offset = if kind & 8 == 0 { 14 } else { 18 };
        let l3 = if kind & 4 == 0 { IPV4 } else { IPV6 };
        let start = l3_offset + l3_len;
        let (offload, header, len) = match kind % 4 {
            0 | 1 => (Offload::default(), VnetHeader::default(), 14 + len % 9000),
            2 => {
                let (l4, csum_offset) = if kind & 16 == 0 { (TCP, 16) } else { (UDP, 6) };
                let header = VnetHeader {
                    flags: NEEDS_CSUM,
                    csum_start: start,
                    csum_offset,
                    ..VnetHeader::default()
                };
                let offload = Offload::checksum(l3 | l4, l3_offset, l3_len);
                (offload, header, 80 + len % 1400)
            }
            _ => {
                let meta = Meta {
                    mss: 1 + u16::from(input.u8()) * 40,
                    l3_hdr_len: l3_len,
                    l3_hdr_offset: l3_offset,
                    l4_hdr_len: 5 + u16::from(kind >> 5),
                };
                let header = VnetHeader {
                    flags: NEEDS_CSUM,
                    gso_type: if l3 == IPV4 { GSO_TCPV4 } else { GSO_TCPV6 },
                    hdr_len: start + 4 * meta.l4_hdr_len,
                    gso_size: meta.mss,
                    csum_start: start,
                    csum_offset: 16,
                };
                (Offload::tso(l3 | TCP, meta), header, 200 + len % 16_000)
            }
        };
        let mut cuts: Vec<_> = (0..input.u8() % 4)
            .map(|_| usize::from(input.u16()) % len)
            .filter(|cut| *cut != 0)
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        let frame = self.frame(pair, len);
        let base = self.machine.pairs[pair].data;
        self.machine.pairs[pair].data = base + self.places[pair] % UNDER_WAY as u64 * ROOM;
        let request = self.machine.xmit(pair, &frame, &cuts, &offload);
        self.machine.pairs[pair].data = base;
        if request.is_some() {
            self.sent[pair].push_back((header, frame));
            self.places[pair] += 1;
        }
    }

    fn look(&mut self, thorough: bool, budget: u32) {
        self.machine.look(thorough, budget);
        self.check();
    }

    /// Frames that have come out are those that were sent, in their order.
    fn check(&mut self) {
        for (header, frame) in std::mem::take(&mut self.machine.wire.sent) {
            let expected = self.sent[usize::from(frame[0])].pop_front();
            assert!(expected == Some((header, frame)));
        }
    }

    /// ena_io_poll() up to where the driver is done with its rings.
    fn poll(&mut self, pair: usize) {
        if !std::mem::take(&mut self.machine.pairs[pair].interrupted) {
            return;
        }
        self.machine.clean_tx(pair);
        self.machine.clean_rx(pair);
        for frame in std::mem::take(&mut self.machine.pairs[pair].received) {
            assert!(self.incoming.pop_front() == Some(frame));
        }
        self.machine.refill(pair);
        self.polled[pair] = true;
    }

    /// The rest of it.
    fn unmask(&mut self, pair: usize) {
        if std::mem::take(&mut self.polled[pair]) {
            self.machine.unmask(pair);
        }
    }

    /// All that was sent comes out, unless the TAP is full, and all that came is received.
    fn settle(&mut self) {
        let rounds = 8 + self.incoming.len();
        for _ in 0..rounds {
            self.look(true, MANY);
            for pair in 0..self.sent.len() {
                self.poll(pair);
                self.unmask(pair);
            }
        }
        assert!(self.incoming.is_empty());
        assert!(self.machine.wire.is_full || self.sent.iter().all(VecDeque::is_empty));
    }

    fn restart(&mut self, has_crashed: bool) {
        self.machine.wire.is_full = false;
        self.settle();
        self.polled.fill(false);
        if has_crashed {
            self.machine.probe();
        } else {
            self.machine.down();
        }
        self.machine.up();
        self.look(true, MANY);
    }

    fn lose_link(&mut self, pair: usize) {
        self.machine.wire.is_full = false;
        self.settle();
        self.machine.card.set_link(false);
        let frame = self.frame(pair, 60);
        let request = self.machine.xmit(pair, &frame, &[], &Offload::default());
        for _ in 0..2 {
            self.look(true, MANY);
        }
        assert_eq!(self.machine.link, Some(false));
        assert!(request.is_none() || self.machine.pairs[pair].interrupted);
        self.machine.card.set_link(true);
        self.settle();
        assert_eq!(self.machine.link, Some(true));
    }
}

/// More accesses than the card needs for a frame: 20 descriptors; 64 extension headers of IPv6, two bytes
/// of each; and completions, which are two writes each.
const ACCESSES_PER_FRAME: u32 = 20 + 2 * 64 + 2 * 17;
/// Admin commands and events, in each look.
const ACCESSES_PER_LOOK: u32 = 32;

/// A TAP that says what it is told to say, and looks at what it gets.
struct WildWire {
    answers: VecDeque<u8>,
    mtu_max: u32,
    is_busy: bool,
}

impl Wire for WildWire {
    fn send(&mut self, header: &VnetHeader, pieces: &[Piece]) -> Sent {
        assert!(pieces.len() <= 18 && pieces.iter().all(|piece| piece.len != 0));
        let len: u32 = pieces.iter().map(|piece| piece.len).sum();
        // tun_get_user() and virtio_net_hdr_to_skb()
        assert!(len >= 14);
        match header.gso_type {
            GSO_NONE => assert!(len <= self.mtu_max + 22),
            GSO_TCPV4 | GSO_TCPV6 => {
                assert!(len <= 65_557 && header.gso_size != 0);
                assert!(header.hdr_len >= header.csum_start + 20);
                assert!(u32::from(header.hdr_len) <= len);
                assert_eq!((header.flags, header.csum_offset), (NEEDS_CSUM, 16));
            }
            other => panic!("{other}"),
        }
        if header.flags == NEEDS_CSUM {
            let end = u32::from(header.csum_start) + u32::from(header.csum_offset) + 2;
            assert!(end <= len);
        } else {
            assert_eq!(*header, VnetHeader::default());
        }
        match self.answers.pop_front().unwrap_or(0) % 4 {
            0 | 1 => Sent::Yes,
            2 => Sent::Full,
            _ => Sent::Refused,
        }
    }

    fn receive(&mut self, pieces: &[Piece]) -> Received {
        assert!((1..=17).contains(&pieces.len()));
        let is_buffer = |piece: &Piece| (1..=0xffff).contains(&piece.len);
        assert!(pieces.iter().all(is_buffer));
        let len: u32 = pieces.iter().map(|piece| piece.len).sum();
        let mut header = VnetHeader::default();
        match self.answers.pop_front() {
            None if !self.is_busy => Received::None,
            Some(0) => Received::None,
            Some(1) => Received::Lost,
            Some(2) => {
                header.flags = NEEDS_CSUM;
                Received::Frame { len, header }
            }
            // It says more than can be true.
            Some(3) => Received::Frame {
                len: len + 1,
                header,
            },
            Some(byte) => Received::Frame {
                len: len * u32::from(byte) / 256,
                header,
            },
            None => Received::Frame { len, header },
        }
    }
}

/// A driver that does anything.
struct Hostile {
    card: Card<Vec<QueuePair>>,
    memory: Wild,
    bar: Bar,
    wire: WildWire,
    queues: u16,
    /// How many entries it has written to the admin queue, and to each ring.
    commands: u16,
    tails: Vec<u16>,
    is_gone: bool,
}

// Where its rings lie, and how long they are.
const AQ: usize = 0x1000;
const ACQ: u32 = 0x1800;
const AENQ: u32 = 0x2000;
const ADMIN_DEPTH: u16 = 32;
const DEPTH: u16 = 32;
/// The SQ of queue `index`; the CQ is behind it.
fn sq(index: usize) -> usize {
    0x3000 + index * 0x400
}

impl Hostile {
    fn new(input: &mut Input<'_>) -> Self {
        let queues = 1 + u16::from(input.u8() % 8);
        let mtu_max = 1500 + input.u16() % 7501;
        let mut hostile = Hostile {
            card: Card::new([2; 6], mtu_max, vec![QueuePair::default(); queues.into()]),
            memory: Wild::zeros(),
            bar: Bar::zeros(BAR_LEN),
            wire: WildWire {
                answers: VecDeque::new(),
                mtu_max: mtu_max.into(),
                is_busy: false,
            },
            queues,
            commands: 0,
            tails: vec![0; usize::from(queues) * 2],
            is_gone: false,
        };
        hostile.card.set_link(true);
        hostile.card.power_on(&hostile.bar);
        hostile.boot();
        hostile
    }

    fn run(&mut self, input: &mut Input<'_>) {
        for _ in 0..256 {
            if input.is_empty() {
                break;
            }
            self.step(input);
        }
        // A reset works, whatever was before.
        self.memory.disorder.set(0);
        self.card.power_on(&self.bar);
        self.boot();
        assert!(self.is_gone || self.bar.read(DEV_STS) == READY);
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 16 {
            0 => self
                .bar
                .write((u32::from(input.u16()) % 0x2000) & !3, input.u32()),
            1 => self.bar.write(DEV_CTL, u32::from(input.u8() % 2)),
            2 => {
                let queue = input.u8() % 18;
                let (at, value) = (0x1000 + 4 * u32::from(queue), input.u8());
                self.bar.write(at, value.into());
            }
            3 => {
                let at = usize::from(input.u16()) % (WILD_LEN - 8);
                self.memory.put(at, &input.u64().to_le_bytes());
            }
            4 => self.wild_command(input),
            5..=8 => self.wild_descriptors(input),
            9 | 10 => {
                let flags = input.u8();
                self.look(flags & 0x80 == 0, (flags & 0x1f).into());
            }
            11 => {
                for _ in 0..input.u8() % 8 {
                    self.wire.answers.push_back(input.u8());
                }
                self.wire.is_busy = input.u8() % 8 == 0;
            }
            12 => self.memory.disorder.set(input.u8().into()),
            13 => self
                .bar
                .write(0x1804 + 4 * u32::from(input.u8() % 8), 1 << 30),
            14 => match input.u8() % 16 {
                0..=7 => self.boot(),
                8 => self.card.power_on(&self.bar),
                9 => self.card.power_off(),
                10 => {
                    self.card.vanish(&self.bar);
                    self.is_gone = true;
                }
                _ => self.card.set_link(input.u8() % 2 == 0),
            },
            _ => {
                let raised = self.card.take_vectors();
                assert!(raised[0] >> (self.queues + 1) == 0 && raised[1] == 0);
            }
        }
    }

    /// Resets the card and creates all queues, as far as the memory's disorder lets it.
    fn boot(&mut self) {
        for control in [1, 0] {
            self.bar.write(DEV_CTL, control);
            self.look(true, 1);
        }
        self.memory.bytes.borrow_mut()[AQ..sq(16)].fill(0);
        self.commands = 0;
        self.tails.fill(0);
        let admin = u32::from(ADMIN_DEPTH) | (64 << 16);
        for (register, value) in [
            (0x10, AQ as u32),
            (0x14, 0),
            (0x18, admin),
            (0x20, ACQ),
            (0x24, 0),
            (0x28, admin),
            (0x34, 16 | (64 << 16)),
            (0x38, AENQ),
            (0x3c, 0),
        ] {
            self.bar.write(register, value);
        }
        self.command(SET_FEATURE, &[(17, &[26]), (24, &[1])]);
        self.look(true, 1);
        self.bar.write(AENQ_HEAD_DB, 16);
        for (direction, entry_len) in [(1, 2), (2, 4)] {
            for pair in 0..self.queues {
                let queue = usize::from(pair) * 2 + direction - 1;
                let (depth, at) = (DEPTH.to_le_bytes(), (sq(queue) as u32).to_le_bytes());
                let cq = (sq(queue) as u32 + 0x200).to_le_bytes();
                let vector = [pair as u8 + 1];
                let cq: [(usize, &[u8]); 4] = [
                    (4, &[0x20, entry_len]),
                    (6, &depth),
                    (8, &vector),
                    (12, &cq),
                ];
                self.command(CREATE_CQ, &cq);
                let identity = [(direction as u8) << 5, 0, 1, 1];
                let index = [queue as u8];
                let sq: [(usize, &[u8]); 4] =
                    [(4, &identity), (8, &index), (10, &depth), (12, &at)];
                self.command(CREATE_SQ, &sq);
                self.look(false, 1);
            }
        }
    }

    fn command(&mut self, opcode: u8, fields: &[(usize, &[u8])]) {
        let mut entry = [0; 64];
        for &(at, field) in fields {
            entry[at..at + field.len()].copy_from_slice(field);
        }
        entry[2] = opcode;
        let position = self.commands;
        entry[3] |= u8::from(position & ADMIN_DEPTH == 0);
        let slot = usize::from(position % ADMIN_DEPTH);
        self.memory.put(AQ + 64 * slot, &entry);
        self.commands = position.wrapping_add(1);
        self.bar.write(AQ_DB, self.commands.into());
    }

    fn wild_command(&mut self, input: &mut Input<'_>) {
        let opcodes = [1, 2, 3, 4, 8, 9, 11, input.u8()];
        let opcode = opcodes[usize::from(input.u8() % 8)];
        // Most fields are those of a command that can be.
        let mut entry = [0; 64];
        let index = input.u8() % 16;
        entry[4..8].copy_from_slice(&[0x20, 2 + 2 * (index % 2), DEPTH as u8, 0]);
        match opcode {
            1 => {
                entry[4..8].copy_from_slice(&[(1 + index % 2) << 5, 0, 1, 1]);
                entry[8] = index;
                entry[10] = DEPTH as u8;
            }
            3 => entry[8] = 1 + index / 2,
            2 | 4 => entry[4..6].copy_from_slice(&[index, 0]),
            _ => entry[17] = input.u8() % 32,
        }
        entry[12..14].copy_from_slice(&(sq(index.into()) as u16).to_le_bytes());
        for _ in 0..input.u8() % 4 {
            entry[4 + usize::from(input.u8() % 40)] = input.u8();
        }
        self.command(opcode, &[(4, &entry[4..])]);
    }

    /// Descriptors of a frame, or buffers; or something that is neither.
    fn wild_descriptors(&mut self, input: &mut Input<'_>) {
        let queue = usize::from(input.u8()) % self.tails.len();
        let (count, kind) = (input.u8() % 20, input.u8());
        for left in (0..=count).rev() {
            let mut words = [0u32; 4];
            words[2] = u32::from(input.u16()) | (u32::from(kind == 7) << 20);
            if queue % 2 == 1 {
                let len = if kind % 4 == 0 { 0x800 } else { input.u16() };
                words[0] = u32::from(len) | (0x1c << 24);
                words[1] = input.u8().into();
            } else {
                words[0] = u32::from(input.u16()) & if kind & 1 == 0 { 0xffff } else { 0x3ff };
                words[0] |= u32::from(left == 0) << 27;
                words[0] |= (u32::from(left == count) << 26) | (1 << 28);
                words[1] = u32::from(input.u16()) | (u32::from(kind) << 17);
                if left == count && count != 0 && kind & 2 != 0 {
                    words[0] |= 1 << 23;
                    words[2] = input.u32();
                }
            }
            if kind & 0x70 == 0x70 {
                words[usize::from(input.u8() % 4)] ^= 1 << (input.u8() % 32);
            }
            let tail = &mut self.tails[queue];
            words[0] &= !(1 << 24);
            words[0] |= u32::from(*tail & DEPTH == 0) << 24;
            let at = sq(queue) + 16 * usize::from(*tail % DEPTH);
            self.memory.put(at, &words.map(u32::to_le_bytes).concat());
            *tail = tail.wrapping_add(1);
        }
        let doorbell = 0x1000 + 4 * queue as u32;
        self.bar.write(doorbell, self.tails[queue].into());
    }

    fn look(&mut self, thorough: bool, budget: u32) {
        let was_fatal = self.card.is_fatal();
        self.memory.accesses.set(0);
        let (bar, memory) = (&self.bar, &self.memory);
        let looked = self
            .card
            .look(bar, memory, &mut self.wire, thorough, budget);
        assert!(looked.frames <= budget);
        let accesses = self.memory.accesses.get();
        let turns = u32::from(self.queues) + 1;
        assert!(accesses <= ACCESSES_PER_LOOK + (budget + 1) * turns * ACCESSES_PER_FRAME);
        if was_fatal {
            assert_eq!((looked.frames, accesses), (0, 0));
        }
        if self.card.is_fatal() {
            assert!(was_fatal || self.bar.read(DEV_STS) & 0x20 != 0);
        }
    }
}
