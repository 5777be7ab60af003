// SPDX-License-Identifier: GPL-2.0

//! Admin commands.

use core::ops::DerefMut;

use crate::ena::admin_queue::{AdminQueue, Answer, Command};
use crate::ena::card::Card;
use crate::ena::counters::Traffic;
use crate::ena::descriptor::{RECEIVE_COMPLETION_LEN, TRANSMIT_COMPLETION_LEN};
use crate::ena::fields::{address_at, u16_at, u32_at, u8_at};
use crate::ena::interrupt::Interrupt;
use crate::ena::offload::Meta;
use crate::ena::queue::{self, Direction, Queue, QueuePair, MAX_DEPTH};
use crate::ena::registers;
use crate::ena::ring::{Completions, Fatal, Submission};
use crate::ena::status::{self, Status};
use crate::memory_device::access::{Registers, SystemMemory};

// enum ena_admin_aq_opcode
const CREATE_SQ: u8 = 1;
const DESTROY_SQ: u8 = 2;
const CREATE_CQ: u8 = 3;
const DESTROY_CQ: u8 = 4;
const GET_FEATURE: u8 = 8;
const SET_FEATURE: u8 = 9;
const GET_STATS: u8 = 11;

/// ENA_ADMIN_PLACEMENT_POLICY_HOST: the ring is in the successor's memory.
const PLACEMENT_HOST: u8 = 1;
/// ENA_ADMIN_AQ_CREATE_SQ_CMD_IS_PHYSICALLY_CONTIGUOUS
const IS_CONTIGUOUS: u8 = 1;
/// ENA_ADMIN_AQ_CREATE_CQ_CMD_INTERRUPT_MODE_ENABLED
const HAS_INTERRUPT: u8 = 1 << 5;
/// ENA_ADMIN_GET_STATS_TYPE_BASIC
const STATS_BASIC: u8 = 0;

/// How many commands are taken in a look.
const BURST: u8 = 4;

impl<Q: DerefMut<Target = [QueuePair]>> Card<Q> {
    /// Takes admin commands. Returns how many. Whether there is the first one is seen by a `thorough`
    /// look only.
    pub(super) fn take_commands(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        thorough: bool,
    ) -> Result<u8, Fatal> {
        let mut admin = match self.admin {
            Some(admin) => admin,
            None if thorough && registers::has_admin_command(registers) => {
                memory.barrier();
                AdminQueue::new(registers)?
            }
            None => return Ok(0),
        };
        let mut taken = 0;
        while taken < BURST {
            let Some(command) = admin.take(registers, memory)? else {
                break;
            };
            let result = self.execute(registers, &command);
            admin.complete(memory, &command, result)?;
            taken += 1;
        }
        self.admin = Some(admin);
        if taken != 0 && registers::wants_admin_interrupt(registers) {
            self.raise(0);
        }
        Ok(taken)
    }

    fn execute(&mut self, registers: &impl Registers, command: &Command) -> Result<Answer, Status> {
        match command.opcode() {
            CREATE_CQ => self.create_cq(registers, command),
            DESTROY_CQ => self.destroy_cq(registers, command),
            CREATE_SQ => self.create_sq(registers, command),
            DESTROY_SQ => self.destroy_sq(command),
            GET_FEATURE => self.get_feature(command),
            SET_FEATURE => self.set_feature(command),
            GET_STATS => self.get_stats(command),
            _ => Err(status::UNSUPPORTED),
        }
    }

    /// struct ena_admin_aq_create_cq_cmd
    fn create_cq(
        &mut self,
        registers: &impl Registers,
        command: &Command,
    ) -> Result<Answer, Status> {
        let entry = &command.0;
        let depth = valid_depth(u16_at(entry, 6))?;
        let base = address_at(entry, 12);
        let vector = if u8_at(entry, 4) & HAS_INTERRUPT != 0 {
            Some(self.valid_vector(u32_at(entry, 8))?)
        } else {
            None
        };
        // The length of an entry, in words of 4 bytes.
        let direction = match usize::from(u8_at(entry, 5) & 0x1f) * 4 {
            TRANSMIT_COMPLETION_LEN => Direction::Transmit,
            RECEIVE_COMPLETION_LEN => Direction::Receive,
            _ => return Err(status::ILLEGAL_PARAMETER),
        };
        let free = self.free_pair(direction).ok_or(status::NO_RESOURCE)?;
        self.reset_interrupt(registers, vector);
        let pair = self.pair(free).ok_or(status::NO_RESOURCE)?;
        match direction {
            Direction::Transmit => pair.transmit = Some(new_queue(base, depth, vector)?),
            Direction::Receive => pair.receive = Some(new_queue(base, depth, vector)?),
        }
        // struct ena_admin_acq_create_cq_resp_desc. There is no register for the NUMA node, nor one
        // for the head.
        let mut answer = Answer::EMPTY;
        answer.put(8, &queue::index(free, direction).to_le_bytes());
        answer.put(10, &depth.to_le_bytes());
        let unmask = registers::unmask_register(vector.unwrap_or(0));
        answer.put(20, &unmask.to_le_bytes());
        Ok(answer)
    }

    /// struct ena_admin_aq_destroy_cq_cmd. Its SQ must have been destroyed.
    fn destroy_cq(
        &mut self,
        registers: &impl Registers,
        command: &Command,
    ) -> Result<Answer, Status> {
        let (pair, direction) = queue::from_index(u16_at(&command.0, 4));
        let pair = self.pair(pair).ok_or(status::ILLEGAL_PARAMETER)?;
        let vector = match direction {
            Direction::Transmit => remove(&mut pair.transmit),
            Direction::Receive => remove(&mut pair.receive),
        }?;
        self.reset_interrupt(registers, vector);
        Ok(Answer::EMPTY)
    }

    /// struct ena_admin_aq_create_sq_cmd
    fn create_sq(
        &mut self,
        registers: &impl Registers,
        command: &Command,
    ) -> Result<Answer, Status> {
        let entry = &command.0;
        let depth = valid_depth(u16_at(entry, 10))?;
        let index = u16_at(entry, 8);
        let (pair, direction) = queue::from_index(index);
        let is_valid = sq_direction(u8_at(entry, 4)) == Some(direction)
            && u8_at(entry, 6) & 0xf == PLACEMENT_HOST
            && u8_at(entry, 7) & IS_CONTIGUOUS != 0;
        let doorbell = registers::sq_doorbell(index);
        let submission = Submission::new(address_at(entry, 12), depth, doorbell);
        let submission = submission.filter(|_| is_valid);
        let pair = self.pair(pair).ok_or(status::ILLEGAL_PARAMETER)?;
        let place = match direction {
            Direction::Transmit => pair.transmit.as_mut().map(|queue| &mut queue.submission),
            Direction::Receive => pair.receive.as_mut().map(|queue| &mut queue.submission),
        };
        match place {
            Some(place) if place.is_none() && submission.is_some() => *place = submission,
            _ => return Err(status::ILLEGAL_PARAMETER),
        }
        if direction == Direction::Transmit {
            pair.meta = Meta::default();
        }
        registers.write(doorbell, 0);
        // struct ena_admin_acq_create_sq_resp_desc
        let mut answer = Answer::EMPTY;
        answer.put(8, &index.to_le_bytes());
        answer.put(12, &doorbell.to_le_bytes());
        Ok(answer)
    }

    /// struct ena_admin_aq_destroy_sq_cmd
    fn destroy_sq(&mut self, command: &Command) -> Result<Answer, Status> {
        let (pair, direction) = queue::from_index(u16_at(&command.0, 4));
        let pair = self.pair(pair).ok_or(status::ILLEGAL_PARAMETER)?;
        let submission = match direction {
            Direction::Transmit => pair.transmit.as_mut().and_then(|q| q.submission.take()),
            Direction::Receive => pair.receive.as_mut().and_then(|q| q.submission.take()),
        };
        match submission {
            Some(_) => Ok(Answer::EMPTY),
            None => Err(status::ILLEGAL_PARAMETER),
        }
    }

    /// struct ena_admin_aq_get_stats_cmd; the answer is struct ena_admin_basic_stats.
    fn get_stats(&mut self, command: &Command) -> Result<Answer, Status> {
        if u8_at(&command.0, 16) != STATS_BASIC {
            return Err(status::UNSUPPORTED);
        }
        let lost = |traffic: &Traffic| traffic.drops.saturating_add(traffic.errors);
        let (transmit, receive) = (self.counters.transmit, self.counters.receive);
        let fields = [
            transmit.bytes,
            transmit.frames,
            receive.bytes,
            receive.frames,
            lost(&receive),
            lost(&transmit),
        ];
        let mut answer = Answer::EMPTY;
        for (index, field) in fields.iter().enumerate() {
            answer.put(8 + 8 * index, &field.to_le_bytes());
        }
        Ok(answer)
    }

    /// Vector 0 is management's.
    fn valid_vector(&self, vector: u32) -> Result<u16, Status> {
        match u16::try_from(vector) {
            Ok(vector) if (1..=self.pairs()).contains(&vector) => Ok(vector),
            _ => Err(status::ILLEGAL_PARAMETER),
        }
    }

    /// Masks an interrupt that no queue has, and forgets what it had to tell.
    fn reset_interrupt(&mut self, registers: &impl Registers, vector: Option<u16>) {
        let Some(vector) = vector.filter(|vector| !self.has_queue(*vector)) else {
            return;
        };
        if let Some(pair) = self.pair(vector.saturating_sub(1)) {
            pair.interrupt = Interrupt::default();
            registers::mask(registers, vector);
        }
    }
}

/// The number of entries of a queue: a power of 2, which the ring checks.
fn valid_depth(depth: u16) -> Result<u16, Status> {
    if depth <= MAX_DEPTH {
        Ok(depth)
    } else {
        Err(status::ILLEGAL_PARAMETER)
    }
}

/// ENA_ADMIN_AQ_CREATE_SQ_CMD_SQ_DIRECTION: bits 7:5, enum ena_admin_sq_direction.
fn sq_direction(identity: u8) -> Option<Direction> {
    match identity >> 5 {
        1 => Some(Direction::Transmit),
        2 => Some(Direction::Receive),
        _ => None,
    }
}

/// A queue without its SQ.
fn new_queue<const LEN: usize>(
    base: u64,
    depth: u16,
    vector: Option<u16>,
) -> Result<Queue<LEN>, Status> {
    Ok(Queue {
        completions: Completions::new(base, depth).ok_or(status::ILLEGAL_PARAMETER)?,
        submission: None,
        vector,
    })
}

/// Removes a queue without its SQ. Returns its interrupt.
fn remove<const LEN: usize>(queue: &mut Option<Queue<LEN>>) -> Result<Option<u16>, Status> {
    match queue.filter(|queue| queue.submission.is_none()) {
        Some(removed) => {
            *queue = None;
            Ok(removed.vector)
        }
        None => Err(status::ILLEGAL_PARAMETER),
    }
}
