// SPDX-License-Identifier: GPL-2.0

//! The NVMe controller.
//!
//! The first byte of the input chooses between a driver that keeps to the specification, where what
//! was written must be read, and one that does anything, to memory that changes while it is read.
//! What follows is what the driver does, a byte for each step and what the step needs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mint_fuzz::input::Input;
use mint_fuzz::nvme_driver::{command, Command, Machine, BLOCKS, DATA};
use mint_fuzz::wild::{Bar, Wild, WILD_LEN};
use mint_unit::memory_device::access::Registers;
use mint_unit::nvme::controller::Controller;
use mint_unit::nvme::disk::Disk;
use mint_unit::nvme::queue::QueuePair;
use mint_unit::nvme::registers::BAR_LEN;
use mint_unit::nvme::status::Outcome;
use mint_unit::nvme::storage::{Operation, Request, Storage};
use std::collections::HashMap;

// NVME_REG_CC, and its value in nvme_enable_ctrl().
const CC: u32 = 0x14;
const ENABLED: u32 = (6 << 16) | (4 << 20) | 1;

// enum nvme_opcode
const FLUSH: u8 = 0x00;
const WRITE: u8 = 0x01;
const READ: u8 = 0x02;
const WRITE_ZEROES: u8 = 0x08;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    if input.u8() % 2 == 0 {
        check_good_driver(&mut input);
    } else {
        Hostile::new(&mut input).run(&mut input);
    }
});

/// How many steps a good driver does, and the memory that its commands reach: a few pages more than
/// they can have.
const ROUNDS: u8 = 24;
const DATA_LEN: usize = 36 * 4096;

/// Commands one after the other, and resets, against a list of what each block has.
fn check_good_driver(input: &mut Input<'_>) {
    let queues = 1 + u16::from(input.u8() % 4);
    let mut machine = Machine::new(queues.into());
    // The byte that each block was filled with.
    let mut blocks: HashMap<u64, u8> = HashMap::new();
    for round in 1..=ROUNDS {
        if input.is_empty() {
            break;
        }
        let step = input.u8();
        let queue = 1 + u16::from(input.u8()) % queues;
        // Few blocks, so that they are met again; the last one is that of the disk.
        let lba = BLOCKS - 512 + u64::from(input.u8());
        let count = 1 + u32::from(input.u8());
        let offset = (u64::from(input.u16()) % 4096) & !3;
        let list_at = 0x7000 + ((u64::from(input.u16()) % 4096) & !7);
        let len = count as usize * 512;
        let range = lba..lba + u64::from(count);
        match step % 8 {
            0 | 1 => {
                let bytes = vec![round; len];
                let prps = machine.scatter(offset, len, list_at, Some(&bytes));
                assert_eq!(machine.io(queue, &rw(WRITE, lba, count, prps)), 0);
                blocks.extend(range.map(|block| (block, round)));
            }
            2 | 3 => {
                machine.memory.fill(DATA, DATA_LEN, 0xee);
                let prps = machine.scatter(offset, len, list_at, None);
                assert_eq!(machine.io(queue, &rw(READ, lba, count, prps)), 0);
                let mut expected = Vec::with_capacity(len);
                for block in range {
                    let filling = blocks.get(&block).copied().unwrap_or(0);
                    expected.extend_from_slice(&[filling; 512]);
                }
                assert!(machine.gather(offset, len) == expected);
                // No byte beside it was touched.
                let untouched = vec![0xee; DATA_LEN];
                machine.scatter(offset, len, list_at, Some(&untouched[..len]));
                assert!(machine.memory.bytes(DATA, DATA_LEN) == untouched);
            }
            4 => {
                assert_eq!(machine.io(queue, &rw(WRITE_ZEROES, lba, count, [0; 2])), 0);
                blocks.extend(range.map(|block| (block, 0)));
            }
            5 => assert_eq!(machine.io(queue, &command(FLUSH, 1, [0; 2])), 0),
            6 => {
                machine.boot(queues);
                assert_eq!(machine.set_shadows(), Ok(0));
            }
            _ if input.u8() % 2 == 0 => machine.boot(queues),
            _ => {
                machine.delete_queues(queues);
                machine.create_queues(queues);
            }
        }
        assert!(!machine.controller.is_fatal());
        assert_eq!(machine.controller.outstanding(), 0);
    }
}

fn rw(opcode: u8, lba: u64, blocks: u32, prps: [u64; 2]) -> Command {
    let mut rw = command(opcode, 1, prps);
    rw.dwords[0] = lba as u32;
    rw.dwords[1] = (lba >> 32) as u32;
    rw.dwords[2] = blocks - 1;
    rw
}

/// More accesses than a look needs that takes one command: its entry, a PRP list on two pages, an
/// answer of 4 KiB or a log page of 128 KiB in parts, which touches 33 pages, and doorbells.
const ACCESSES_PER_COMMAND: u32 = 4096;
const ACCESSES_PER_QUEUE: u32 = 16;

struct Requests {
    list: Vec<Request>,
    room: usize,
    block_len: u64,
}

impl Storage for Requests {
    fn has_room(&self) -> bool {
        self.list.len() < self.room
    }

    fn submit(&mut self, request: Request) {
        assert!(self.has_room());
        let segments: Vec<_> = request.data.segments().collect();
        let len: u64 = segments.iter().map(|&(_, len)| u64::from(len)).sum();
        assert_eq!(len, request.data.len() as u64);
        assert!(segments
            .iter()
            .all(|&(address, len)| len != 0 && address % 4 == 0));
        let moved = match request.operation {
            Operation::Read { blocks, .. } | Operation::Write { blocks, .. } => {
                u64::from(blocks) * self.block_len
            }
            Operation::Deallocate { ranges, .. } => u64::from(ranges) * 16,
            Operation::Flush | Operation::WriteZeroes { .. } => 0,
        };
        assert_eq!(len, moved);
        self.list.push(request);
    }
}

/// A driver that does anything.
struct Hostile {
    controller: Controller<Vec<QueuePair>>,
    memory: Wild,
    bar: Bar,
    storage: Requests,
    queues: u16,
    /// What it has submitted to each queue.
    tails: Vec<u16>,
}

/// Where its queues lie, and how long they are.
const DEPTH: u16 = 16;
fn sq(queue: u16) -> u64 {
    0x1000 + u64::from(queue) * 0x2000
}
fn cq(queue: u16) -> u64 {
    sq(queue) + 0x1000
}

impl Hostile {
    fn new(input: &mut Input<'_>) -> Self {
        let queues = 1 + u16::from(input.u8() % 5);
        let flags = input.u8();
        let block_shift = if flags & 1 == 0 { 9 } else { 12 };
        let disk = Disk {
            blocks: input.u16().into(),
            block_shift,
            read_only: flags & 0xc == 0xc,
            can_discard: flags & 2 == 0,
            discard_zeroes: flags & 0x10 == 0,
            vendor: 1,
            subsystem_vendor: 1,
            serial: *b"serial              ",
            model: [b' '; 40],
            firmware: [b' '; 8],
            uuid: [1; 16],
        };
        let pairs = vec![QueuePair::default(); usize::from(queues) + 1];
        let mut hostile = Hostile {
            controller: Controller::new(disk, pairs),
            memory: Wild::zeros(),
            bar: Bar::zeros(BAR_LEN),
            storage: Requests {
                list: Vec::new(),
                room: 1 + usize::from(input.u8() % 32),
                block_len: 1 << block_shift,
            },
            queues,
            tails: vec![0; 8],
        };
        hostile.controller.power_on(&hostile.bar);
        hostile.boot();
        hostile
    }

    fn run(&mut self, input: &mut Input<'_>) {
        for _ in 0..256 {
            if input.is_empty() {
                break;
            }
            self.step(input);
            let outstanding = self.controller.outstanding();
            assert_eq!(outstanding as usize, self.storage.list.len());
        }
        // The storage gives all back in the end, and a reset then works.
        self.memory.disorder.set(0);
        while !self.storage.list.is_empty() {
            self.complete(0, Outcome::Success);
        }
        self.bar.write(CC, 0);
        for _ in 0..2 {
            self.look(true, 1);
        }
        assert!(!self.controller.is_fatal());
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 16 {
            0 => self
                .bar
                .write((u32::from(input.u16()) % 0x2000) & !3, input.u32()),
            1 => self.bar.write(CC, ENABLED ^ (1 << (input.u8() % 32))),
            2 => {
                let doorbell = 0x1000 + u32::from(input.u8() % 14) * 4;
                self.bar.write(doorbell, input.u8().into());
            }
            3 => {
                let at = usize::from(input.u16()) % (WILD_LEN - 8);
                self.memory.put(at, &input.u64().to_le_bytes());
            }
            4..=8 => {
                let queue = u16::from(input.u8()) % (self.queues + 1);
                let command = wild_command(input);
                self.submit(queue, &command);
            }
            9 | 10 => {
                let flags = input.u8();
                self.look(flags & 0x80 == 0, (flags & 0x1f).into());
            }
            11 | 12 if !self.storage.list.is_empty() => {
                let index = usize::from(input.u8()) % self.storage.list.len();
                self.complete(index, outcome(input.u8()));
            }
            13 => self.memory.disorder.set(input.u8().into()),
            14 => match input.u8() % 16 {
                0..=5 => self.boot(),
                6 => self.controller.power_on(&self.bar),
                7 => self.controller.power_off(),
                8 => self.controller.fail(),
                9 => self.controller.vanish(&self.bar, &self.memory),
                _ => self.controller.resize(input.u16().into()),
            },
            _ => {
                let raised = self.controller.take_vectors();
                assert!(raised[0] >> (self.queues + 1) == 0 && raised[1] == 0);
            }
        }
    }

    /// Resets the controller and creates all queues, as far as the memory's disorder lets it.
    fn boot(&mut self) {
        self.bar.write(CC, 0);
        self.look(true, 1);
        self.tails.fill(0);
        let last = u32::from(DEPTH - 1);
        for (register, value) in [
            (0x24, last | (last << 16)),
            (0x28, sq(0) as u32),
            (0x2c, 0),
            (0x30, cq(0) as u32),
            (0x34, 0),
            (CC, ENABLED),
        ] {
            self.bar.write(register, value);
        }
        self.look(true, 1);
        for queue in 1..=self.queues {
            for (opcode, at, flags) in [(5, cq(queue), 3), (1, sq(queue), 1)] {
                let mut create = command(opcode, 0, [at, 0]);
                create.dwords[0] = u32::from(queue) | (last << 16);
                create.dwords[1] = flags | (u32::from(queue) << 16);
                self.submit(0, &create);
                self.look(true, 4);
                // All completions are taken.
                self.bar.write(0x1004, self.tails[0].into());
            }
        }
    }

    fn submit(&mut self, queue: u16, command: &Command) {
        let tail = &mut self.tails[usize::from(queue)];
        let at = (sq(queue) + u64::from(*tail) * 64) as usize;
        self.memory.put(at, &command.bytes());
        *tail = (*tail + 1) % DEPTH;
        self.bar
            .write(0x1000 + u32::from(queue) * 8, (*tail).into());
    }

    fn look(&mut self, thorough: bool, budget: u32) {
        let was_fatal = self.controller.is_fatal();
        self.memory.accesses.set(0);
        let looked =
            self.controller
                .look(&self.bar, &self.memory, &mut self.storage, thorough, budget);
        assert!(looked.commands <= budget);
        let accesses = self.memory.accesses.get();
        let most = ACCESSES_PER_COMMAND * budget + ACCESSES_PER_QUEUE * u32::from(self.queues + 1);
        assert!(accesses <= most);
        if was_fatal {
            assert_eq!((looked.commands, accesses), (0, 0));
        }
        if self.controller.is_fatal() {
            assert!(was_fatal || self.bar.read(0x1c) & 2 != 0);
        }
    }

    fn complete(&mut self, index: usize, outcome: Outcome) {
        let request = self.storage.list.swap_remove(index);
        let is_current = self.controller.is_current(&request.token);
        if is_current {
            let mut bytes = vec![0; request.data.len()];
            let gathered = request.data.gather(&self.memory, &mut bytes);
            let scattered = request.data.scatter(&self.memory, &bytes);
            assert_eq!(gathered, scattered);
        }
        self.memory.accesses.set(0);
        self.controller
            .complete(&self.memory, request.token, outcome);
        if !is_current {
            assert_eq!(self.memory.accesses.get(), 0);
        }
    }
}

fn wild_command(input: &mut Input<'_>) -> Command {
    let opcode = input.u8();
    // Opcodes that there are come more often.
    let opcode = match opcode {
        0..=0x0c => opcode,
        0x0d..=0x20 => 0x7c,
        _ => opcode & 0xf,
    };
    let mut address = || match input.u8() % 4 {
        0 => u64::from(input.u8()) << 12,
        1 => u64::from(input.u16()) << 2,
        2 => u64::from(input.u16()),
        _ => input.u64(),
    };
    let prps = [address(), address()];
    let namespace = match input.u8() {
        0..=0xf0 => 1,
        0xff => u32::MAX,
        other => u32::from(other & 3),
    };
    let mut wild = command(opcode, namespace, prps);
    if input.u8() == 0xff {
        wild.flags = input.u8();
    }
    wild.id = input.u16();
    for dword in &mut wild.dwords {
        *dword = match input.u8() % 4 {
            0 => 0,
            1 => input.u8().into(),
            2 => u32::from(input.u8()) | (u32::from(input.u8()) << 16),
            _ => input.u32(),
        };
    }
    wild
}

fn outcome(byte: u8) -> Outcome {
    match byte % 8 {
        0 => Outcome::OutOfReach,
        1 => Outcome::LbaOutOfRange,
        2 => Outcome::NoSpace,
        3 => Outcome::ReadOnly,
        4 => Outcome::NotSupported,
        5 => Outcome::Busy,
        6 => Outcome::Failed,
        _ => Outcome::Success,
    }
}
