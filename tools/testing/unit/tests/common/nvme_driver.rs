// SPDX-License-Identifier: GPL-2.0

//! A machine with an NVMe disk, and a driver that does what Linux's does (drivers/nvme/host/pci.c).

use std::cell::RefCell;
use std::collections::VecDeque;

use mint_unit::memory_device::access::{OutOfReach, Registers, SystemMemory};
use mint_unit::nvme::controller::Controller;
use mint_unit::nvme::dataset;
use mint_unit::nvme::disk::Disk;
use mint_unit::nvme::look::Looked;
use mint_unit::nvme::queue::QueuePair;
use mint_unit::nvme::status::Outcome;
use mint_unit::nvme::storage::{Operation, Request, Storage};

/// The size of the disk in blocks of 512 bytes.
pub const BLOCKS: u64 = 100_000;
pub const MEMORY_LEN: usize = 0x10_0000;

// Where things lie in memory. Tests use what is between 0x7000 and 0x10000.
const ADMIN_SQ: u64 = 0x1000;
const ADMIN_CQ: u64 = 0x2000;
const SHADOWS: u64 = 0x4000;
const EVENT_INDEXES: u64 = 0x5000;
const NEXT_LIST: u64 = 0xd000;
const QUEUES: u64 = 0x1_0000;
/// For data: as much as a command can have, and a few pages more.
pub const DATA: u64 = 0x4_0000;

/// NVME_AQ_DEPTH, and a depth for the other queues.
const ADMIN_DEPTH: u16 = 32;
const DEPTH: u16 = 64;

/// struct nvme_common_command
#[derive(Clone, Copy)]
pub struct Command {
    pub opcode: u8,
    pub flags: u8,
    /// If 0, the driver chooses.
    pub id: u16,
    pub namespace: u32,
    pub metadata: u64,
    pub prps: [u64; 2],
    /// Dwords 10 to 15.
    pub dwords: [u32; 6],
}

pub fn command(opcode: u8, namespace: u32, prps: [u64; 2]) -> Command {
    Command {
        opcode,
        flags: 0,
        id: 0,
        namespace,
        metadata: 0,
        prps,
        dwords: [0; 6],
    }
}

impl Command {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.opcode, self.flags];
        bytes.extend(self.id.to_le_bytes());
        bytes.extend(self.namespace.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(self.metadata.to_le_bytes());
        bytes.extend(self.prps.iter().flat_map(|prp| prp.to_le_bytes()));
        bytes.extend(self.dwords.iter().flat_map(|dword| dword.to_le_bytes()));
        assert_eq!(bytes.len(), 64);
        bytes
    }
}

/// struct nvme_completion, without the phase tag.
pub struct Completion {
    pub result: u32,
    pub command: u16,
    pub status: u16,
}

/// What the controller has done to memory.
#[derive(Debug)]
pub enum Access {
    Write(u64, Vec<u8>),
    Barrier,
}

pub struct Memory {
    bytes: RefCell<Vec<u8>>,
    /// Short writes, and barriers.
    pub trace: RefCell<Vec<Access>>,
}

impl Memory {
    pub fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        self.bytes.borrow()[at as usize..][..len].to_vec()
    }

    pub fn all(&self) -> Vec<u8> {
        self.bytes.borrow().clone()
    }

    pub fn put(&self, at: u64, bytes: &[u8]) {
        self.bytes.borrow_mut()[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    pub fn fill(&self, at: u64, len: usize, byte: u8) {
        self.bytes.borrow_mut()[at as usize..][..len].fill(byte);
    }

    fn u32(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.bytes(at, 4).try_into().unwrap())
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
        let to = to.get_mut(..bytes.len()).ok_or(OutOfReach)?;
        to.copy_from_slice(bytes);
        if bytes.len() <= 16 {
            let access = Access::Write(address, bytes.to_vec());
            self.trace.borrow_mut().push(access);
        }
        Ok(())
    }

    fn barrier(&self) {
        self.trace.borrow_mut().push(Access::Barrier);
    }
}

/// BAR 0.
struct Bar(RefCell<Vec<u32>>);

impl Registers for Bar {
    fn read(&self, offset: u32) -> u32 {
        assert_eq!(offset % 4, 0);
        let registers = self.0.borrow();
        registers.get(offset as usize / 4).copied().unwrap_or(!0)
    }

    fn write(&self, offset: u32, value: u32) {
        assert_eq!(offset % 4, 0);
        if let Some(register) = self.0.borrow_mut().get_mut(offset as usize / 4) {
            *register = value;
        }
    }
}

/// The storage: it keeps requests until [`Machine::release`].
pub struct TestStorage {
    bytes: Vec<u8>,
    requests: VecDeque<Request>,
    /// How many requests it takes at a time.
    pub room: usize,
    /// What it says of all requests, without doing them.
    pub outcome: Option<Outcome>,
    /// The last request.
    pub last: Option<Operation>,
    pub flushes: u32,
    /// Ranges that were discarded.
    pub discarded: Vec<(u64, u32)>,
    /// Requests that were done, and requests that came from before a reset.
    pub done: u32,
    pub stale: u32,
}

impl Storage for TestStorage {
    fn has_room(&self) -> bool {
        self.requests.len() < self.room
    }

    fn submit(&mut self, request: Request) {
        assert!(self.has_room());
        self.last = Some(request.operation);
        self.requests.push_back(request);
    }
}

impl TestStorage {
    pub fn blocks(&self, lba: u64, blocks: u32) -> Vec<u8> {
        self.bytes[lba as usize * 512..][..blocks as usize * 512].to_vec()
    }

    fn execute(&mut self, memory: &Memory, request: &Request) -> Result<(), OutOfReach> {
        let data = &request.data;
        let disk = &mut self.bytes;
        fn range(disk: &mut [u8], lba: u64, blocks: u32) -> &mut [u8] {
            &mut disk[lba as usize * 512..][..blocks as usize * 512]
        }
        match request.operation {
            Operation::Read { lba, blocks, .. } => {
                assert_eq!(data.len(), blocks as usize * 512);
                data.scatter(memory, range(disk, lba, blocks))
            }
            Operation::Write { lba, blocks, .. } => {
                assert_eq!(data.len(), blocks as usize * 512);
                data.gather(memory, range(disk, lba, blocks))
            }
            Operation::WriteZeroes { lba, blocks, .. } => {
                assert!(data.is_empty());
                range(disk, lba, blocks).fill(0);
                Ok(())
            }
            Operation::Flush => {
                self.flushes += 1;
                Ok(())
            }
            Operation::Deallocate { .. } => unreachable!(),
        }
    }

    fn outcome(&mut self, memory: &Memory, request: &Request) -> Outcome {
        if let Some(outcome) = self.outcome {
            return outcome;
        }
        if let Operation::Deallocate {
            ranges,
            disk_blocks,
        } = request.operation
        {
            assert_eq!(request.data.len(), usize::from(ranges) * 16);
            let mut list = vec![0; request.data.len()];
            if request.data.gather(memory, &mut list).is_err() {
                return Outcome::OutOfReach;
            }
            return match dataset::ranges(&list, disk_blocks) {
                Ok(ranges) => {
                    let ranges = ranges.map(|range| (range.lba, range.blocks));
                    self.discarded.extend(ranges);
                    Outcome::Success
                }
                Err(dataset::LbaOutOfRange) => Outcome::LbaOutOfRange,
            };
        }
        match self.execute(memory, request) {
            Ok(()) => Outcome::Success,
            Err(OutOfReach) => Outcome::OutOfReach,
        }
    }
}

/// struct nvme_queue
#[derive(Clone)]
struct Queue {
    sq: u64,
    cq: u64,
    sq_depth: u16,
    cq_depth: u16,
    sq_head: u16,
    sq_tail: u16,
    cq_head: u16,
    cq_phase: bool,
    /// The commands under way.
    commands: Vec<u16>,
    next_id: u16,
}

impl Queue {
    fn new(sq: u64, cq: u64, sq_depth: u16, cq_depth: u16) -> Self {
        Queue {
            sq,
            cq,
            sq_depth,
            cq_depth,
            sq_head: 0,
            sq_tail: 0,
            cq_head: 0,
            cq_phase: true,
            commands: Vec::new(),
            next_id: 1,
        }
    }
}

pub struct Machine {
    pub memory: Memory,
    bar: Bar,
    pub storage: TestStorage,
    pub controller: Controller<Vec<QueuePair>>,
    queues: Vec<Queue>,
    has_shadows: bool,
}

impl Machine {
    /// A disk that was switched on, with `io_queues` pairs of queues.
    pub fn off(io_queues: usize) -> Self {
        let bar = Bar(RefCell::new(vec![0xdead_beef; 0x4000 / 4]));
        let mut controller = Controller::new(disk(), vec![QueuePair::default(); io_queues + 1]);
        controller.power_on(&bar);
        Machine {
            memory: Memory {
                bytes: RefCell::new(vec![0; MEMORY_LEN]),
                trace: RefCell::default(),
            },
            bar,
            storage: TestStorage {
                bytes: vec![0; BLOCKS as usize * 512],
                requests: VecDeque::new(),
                room: usize::MAX,
                outcome: None,
                last: None,
                flushes: 0,
                discarded: Vec::new(),
                done: 0,
                stale: 0,
            },
            controller,
            queues: Vec::new(),
            has_shadows: false,
        }
    }

    /// A disk that is used with all its queues.
    pub fn new(io_queues: usize) -> Self {
        let mut machine = Machine::off(io_queues);
        machine.boot(io_queues as u16);
        machine
    }

    /// Gives a machine that is off another disk.
    pub fn disk(&mut self, change: impl FnOnce(&mut Disk)) {
        let mut disk = disk();
        change(&mut disk);
        self.controller = Controller::new(disk, vec![QueuePair::default(); 2]);
        self.controller.power_on(&self.bar);
    }

    /// Has `io_queues` pairs of queues from now on, and uses `used` of them.
    pub fn reboot_with_queues(&mut self, io_queues: usize, used: u16) {
        self.controller = Controller::new(disk(), vec![QueuePair::default(); io_queues + 1]);
        self.restart(used);
    }

    pub fn restart(&mut self, io_queues: u16) {
        self.controller.power_on(&self.bar);
        self.boot(io_queues);
    }

    pub fn vanish(&mut self) {
        self.controller.vanish(&self.bar, &self.memory);
    }

    pub fn register(&self, offset: u32) -> u32 {
        self.bar.read(offset)
    }

    pub fn write(&self, offset: u32, value: u32) {
        self.bar.write(offset, value);
    }

    pub fn look(&mut self) -> Looked {
        self.look_with(true, 1000)
    }

    pub fn look_quickly(&mut self) -> Looked {
        self.look_with(false, 1000)
    }

    pub fn look_with(&mut self, thorough: bool, budget: u32) -> Looked {
        let (bar, memory, storage) = (&self.bar, &self.memory, &mut self.storage);
        self.controller.look(bar, memory, storage, thorough, budget)
    }

    /// The storage does all that it has.
    pub fn release(&mut self) {
        self.release_some(usize::MAX);
    }

    pub fn release_some(&mut self, most: usize) {
        for _ in 0..most {
            let Some(request) = self.storage.requests.pop_front() else {
                break;
            };
            let mut outcome = Outcome::Success;
            if self.controller.is_current(&request.token) {
                outcome = self.storage.outcome(&self.memory, &request);
                self.storage.done += 1;
            } else {
                self.storage.stale += 1;
            }
            self.controller
                .complete(&self.memory, request.token, outcome);
        }
    }

    /// nvme_pci_configure_admin_queue(): AQA, ASQ and ACQ.
    pub fn set_admin_queues(&self) {
        let last = u32::from(ADMIN_DEPTH - 1);
        self.write(0x24, last | (last << 16));
        for (register, address) in [(0x28, ADMIN_SQ), (0x30, ADMIN_CQ)] {
            self.write(register, address as u32);
            self.write(register + 4, (address >> 32) as u32);
        }
    }

    /// nvme_pci_configure_admin_queue()
    pub fn start(&mut self) {
        // nvme_disable_ctrl()
        self.write(0x14, 0);
        self.look();
        assert_eq!(self.register(0x1c) & 1, 0);
        self.has_shadows = false;
        self.memory.fill(ADMIN_CQ, usize::from(ADMIN_DEPTH) * 16, 0);
        self.queues = vec![Queue::new(ADMIN_SQ, ADMIN_CQ, ADMIN_DEPTH, ADMIN_DEPTH)];
        self.set_admin_queues();
        // nvme_enable_ctrl(): NVME_CC_IOSQES, NVME_CC_IOCQES, NVME_CC_ENABLE
        self.write(0x14, (6 << 16) | (4 << 20));
        self.write(0x14, (6 << 16) | (4 << 20) | 1);
        self.look();
        assert_eq!(self.register(0x1c), 1);
    }

    pub fn boot(&mut self, io_queues: u16) {
        self.start();
        self.create_queues(io_queues);
        self.controller.take_vectors();
    }

    pub fn create_queues(&mut self, io_queues: u16) {
        self.create_queues_of(io_queues, DEPTH, DEPTH);
    }

    /// nvme_create_queue()
    pub fn create_queues_of(&mut self, io_queues: u16, sq_depth: u16, cq_depth: u16) {
        self.queues.truncate(1);
        for id in 1..=io_queues {
            let sq = QUEUES + u64::from(id) * 0x3000;
            let cq = sq + 0x2000;
            // NVME_QUEUE_PHYS_CONTIG, NVME_CQ_IRQ_ENABLED
            self.create(0x05, id, cq_depth, cq, 3 | (u32::from(id) << 16));
            self.create(0x01, id, sq_depth, sq, 1 | (u32::from(id) << 16));
            // nvme_init_queue()
            self.memory.fill(cq, usize::from(cq_depth) * 16, 0);
            self.queues.push(Queue::new(sq, cq, sq_depth, cq_depth));
        }
    }

    /// Creates queues that the driver does not use by itself.
    pub fn create_queue_at(&mut self, id: u16, cq: u64, sq: u64) {
        self.create(0x05, id, DEPTH, cq, 1);
        self.create(0x01, id, DEPTH, sq, 1 | (u32::from(id) << 16));
    }

    fn create(&mut self, opcode: u8, id: u16, depth: u16, at: u64, flags: u32) {
        let mut create = command(opcode, 0, [at, 0]);
        create.dwords[0] = u32::from(id) | (u32::from(depth - 1) << 16);
        create.dwords[1] = flags;
        assert_eq!(self.admin(&create), Ok(0));
    }

    /// nvme_delete_io_queues()
    pub fn delete_queues(&mut self, io_queues: u16) {
        for opcode in [0x00, 0x04] {
            for id in 1..=io_queues {
                let mut delete = command(opcode, 0, [0; 2]);
                delete.dwords[0] = id.into();
                assert_eq!(self.admin(&delete), Ok(0));
            }
        }
        self.queues.truncate(1);
    }

    /// nvme_dbbuf_dma_alloc(), nvme_dbbuf_set()
    pub fn set_shadows(&mut self) -> Result<u32, u16> {
        self.memory.fill(SHADOWS, 4096, 0);
        self.memory.fill(EVENT_INDEXES, 4096, 0);
        let result = self.admin(&command(0x7c, 0, [SHADOWS, EVENT_INDEXES]));
        self.has_shadows = result.is_ok();
        result
    }

    /// Does not use shadows that were set up.
    pub fn forget_shadows(&mut self) {
        self.has_shadows = false;
    }

    pub fn shadows(&self, queue: u64) -> [u32; 2] {
        [0, 4].map(|at| self.memory.u32(SHADOWS + queue * 8 + at))
    }

    pub fn ring_shadow(&self, queue: u64, value: u32) {
        self.memory.put(SHADOWS + queue * 8, &value.to_le_bytes());
    }

    /// nvme_dbbuf_update_and_check_event(), writel(). Returns whether the register was written.
    fn ring(&self, queue: u16, is_cq: bool, value: u16) -> bool {
        let at = u64::from(queue) * 8 + u64::from(is_cq) * 4;
        if self.has_shadows && queue != 0 {
            let old = self.memory.u32(SHADOWS + at) as u16;
            self.memory
                .put(SHADOWS + at, &u32::from(value).to_le_bytes());
            let event_index = self.memory.u32(EVENT_INDEXES + at) as u16;
            // nvme_dbbuf_need_event()
            if value.wrapping_sub(event_index).wrapping_sub(1) >= value.wrapping_sub(old) {
                return false;
            }
        }
        self.write(0x1000 + at as u32, value.into());
        true
    }

    /// nvme_sq_copy_cmd(), nvme_write_sq_db(). Returns whether the register was written.
    pub fn submit(&mut self, id: u16, command: &Command) -> bool {
        let queue = &mut self.queues[usize::from(id)];
        let mut command = *command;
        if command.id == 0 {
            command.id = queue.next_id;
            queue.next_id += 1;
        }
        queue.commands.push(command.id);
        let at = queue.sq + u64::from(queue.sq_tail) * 64;
        self.memory.put(at, &command.bytes());
        queue.sq_tail = (queue.sq_tail + 1) % queue.sq_depth;
        assert_ne!(queue.sq_tail, queue.sq_head, "queue {id} is full");
        let tail = queue.sq_tail;
        self.ring(id, false, tail)
    }

    /// nvme_poll_cq()
    pub fn completions(&mut self, id: u16) -> Vec<Completion> {
        let mut found = Vec::new();
        let queue = &mut self.queues[usize::from(id)];
        loop {
            let at = queue.cq + u64::from(queue.cq_head) * 16;
            let entry = self.memory.bytes(at, 16);
            let field = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            // nvme_cqe_pending()
            if (field(14) & 1 != 0) != queue.cq_phase {
                break;
            }
            assert_eq!(field(10), id);
            assert!(field(8) < queue.sq_depth);
            queue.sq_head = field(8);
            let command = field(12);
            let index = queue.commands.iter().position(|&id| id == command);
            queue.commands.swap_remove(index.expect("no such command"));
            found.push(Completion {
                result: u32::from_le_bytes(entry[..4].try_into().unwrap()),
                command,
                status: field(14) >> 1,
            });
            // nvme_update_cq_head()
            queue.cq_head = (queue.cq_head + 1) % queue.cq_depth;
            queue.cq_phase ^= queue.cq_head == 0;
        }
        let head = queue.cq_head;
        if !found.is_empty() {
            self.ring(id, true, head);
        }
        found
    }

    /// Does an admin command. Returns its result, or its status.
    pub fn admin(&mut self, command: &Command) -> Result<u32, u16> {
        self.submit(0, command);
        self.look();
        let completions = self.completions(0);
        assert_eq!(completions.len(), 1);
        match completions[0].status {
            0 => Ok(completions[0].result),
            status => Err(status),
        }
    }

    /// Does an I/O command. Returns its status.
    pub fn io(&mut self, queue: u16, command: &Command) -> u16 {
        self.submit(queue, command);
        self.look();
        self.release();
        let completions = self.completions(queue);
        assert_eq!(completions.len(), 1);
        assert!(command.id == 0 || completions[0].command == command.id);
        completions[0].status
    }

    /// Gives the completion queue all commands that it has room for, and one more.
    pub fn fill_completion_queue(&mut self, id: u16) {
        for _ in 0..DEPTH - 1 {
            self.submit(id, &command(0x00, 1, [0; 2]));
        }
        self.look();
        self.queues[usize::from(id)].sq_head = DEPTH - 1;
        self.submit(id, &command(0x00, 1, [0; 2]));
    }

    /// Sets up a data pointer to `len` bytes: nvme_pci_setup_data_prp(). The list, if there is one,
    /// starts at `list_at`.
    pub fn scatter(&self, offset: u64, len: usize, list_at: u64, bytes: Option<&[u8]>) -> [u64; 2] {
        let parts = parts(offset, len);
        let mut rest = bytes.unwrap_or(&[]);
        for &(address, len) in &parts {
            let (part, behind) = rest.split_at(len.min(rest.len()));
            self.memory.put(address, part);
            rest = behind;
        }
        let mut pages = parts.iter().map(|&(address, _)| address);
        let first = pages.next().unwrap();
        match parts.len() {
            1 => return [first, 0],
            2 => return [first, pages.next().unwrap()],
            _ => {}
        }
        let (mut at, mut left) = (list_at, parts.len() - 1);
        for page in pages {
            if at % 4096 == 4088 && left > 1 {
                self.memory.put(at, &NEXT_LIST.to_le_bytes());
                at = NEXT_LIST;
            }
            self.memory.put(at, &page.to_le_bytes());
            at += 8;
            left -= 1;
        }
        [first, list_at]
    }

    /// Returns what lies where [`Machine::scatter`] has pointed to.
    pub fn gather(&self, offset: u64, len: usize) -> Vec<u8> {
        let parts = parts(offset, len).into_iter();
        let parts = parts.map(|(address, len)| self.memory.bytes(address, len));
        parts.collect::<Vec<_>>().concat()
    }
}

/// Pages for `len` bytes, in an order of which some are neighbours.
fn parts(offset: u64, len: usize) -> Vec<(u64, usize)> {
    let mut parts = Vec::new();
    let (mut offset, mut left) = (offset as usize, len);
    for index in 0.. {
        if left == 0 {
            break;
        }
        let page = DATA + (index ^ 2) * 4096;
        let here = left.min(4096 - offset);
        parts.push((page + offset as u64, here));
        left -= here;
        offset = 0;
    }
    parts
}

fn disk() -> Disk {
    let padded = |text: &str, len: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(len, b' ');
        bytes
    };
    Disk {
        blocks: BLOCKS,
        block_shift: 9,
        read_only: false,
        can_discard: true,
        discard_zeroes: true,
        vendor: 0x1b36,
        subsystem_vendor: 0x1af4,
        serial: padded("serial", 20).try_into().unwrap(),
        model: padded("model", 40).try_into().unwrap(),
        firmware: padded("1", 8).try_into().unwrap(),
        uuid: std::array::from_fn(|index| index as u8 * 0x11),
    }
}
