// SPDX-License-Identifier: GPL-2.0

//! A look at what the driver has done: registers, commands, and frames.
//!
//! A register that is written with the value that it has, or twice between two looks, can't be told
//! from one that was not written so. This is what it means for each register:
//!
//! - **DEV_CTL**: the driver sets the bit for a reset, waits for the card to say that it resets,
//!   clears the bit, and waits again (`ena_com_dev_reset()`), so both are seen. Each driver does so
//!   before all else: what a kernel before it has left (a panic, or kexec) is forgotten before the
//!   new one has rings.
//! - **Doorbells**: the value counts, not the write. A ring can't go round between two looks, as the
//!   driver stops at what completions report.
//! - **Registers for interrupts**: the card clears them itself (interrupt.rs).
//!
//! What is read at each look: one byte for each ring that the driver writes to, in ordinary memory. A
//! doorbell only if there are new entries; the register for an interrupt only if there is something to
//! tell, or if frames received are to go elsewhere. DEV_CTL, the first admin command and the AENQ's
//! head are seen by thorough looks only.

use core::ops::DerefMut;

use crate::ena::card::{Card, State};
use crate::ena::queue::QueuePair;
use crate::ena::registers;
use crate::ena::ring::Fatal;
use crate::ena::wire::Wire;
use crate::memory_device::access::{Registers, SystemMemory};

/// How many frames are taken from a queue, or from the wire, before it is the turn of the next.
const BURST: u32 = 8;

/// What a look has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// The number of frames that were taken, of both directions.
    pub frames: u32,
    /// Whether the next look is likely to find something: the budget is used up, or there was an admin
    /// command, after which another one comes. If not, then all that is left waits for the TAP or for
    /// the driver.
    pub is_busy: bool,
}

impl<Q: DerefMut<Target = [QueuePair]>> Card<Q> {
    /// Looks once, and takes up to `budget` frames, in both directions together. Looks at registers
    /// that the driver writes now and then only if `thorough`.
    pub fn look(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        wire: &mut impl Wire,
        thorough: bool,
        budget: u32,
    ) -> Looked {
        if matches!(self.state, State::Off | State::Gone) {
            return Looked::default();
        }
        if thorough {
            self.look_at_control(registers);
        }
        let mut looked = Looked::default();
        if self.state == State::Ready {
            let served = self.serve(registers, memory, wire, thorough, budget, &mut looked);
            if served.is_err() {
                self.fail();
            }
        }
        self.show(registers);
        looked
    }

    fn look_at_control(&mut self, registers: &impl Registers) {
        match (self.state, registers::asks_for_reset(registers)) {
            (State::Ready | State::Fatal, true) => {
                self.forget();
                registers::reset(registers, self.pairs());
                self.counters.resets = self.counters.resets.saturating_add(1);
                self.state = State::Resetting;
            }
            (State::Resetting, false) => self.state = State::Ready,
            _ => {}
        }
    }

    fn serve(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        wire: &mut impl Wire,
        thorough: bool,
        budget: u32,
        looked: &mut Looked,
    ) -> Result<(), Fatal> {
        looked.is_busy = self.take_commands(registers, memory, thorough)? != 0;
        if thorough && self.events.look(registers, memory, self.has_link)? {
            self.raise(0);
        }
        self.move_frames(registers, memory, wire, budget, looked)?;
        self.raise_interrupts(registers);
        Ok(())
    }

    /// Moves frames, in turn of each pair and of the wire, from where the last look has stopped.
    fn move_frames(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        wire: &mut impl Wire,
        budget: u32,
        looked: &mut Looked,
    ) -> Result<(), Fatal> {
        let pairs = self.pairs();
        let turns = pairs + 1;
        let mut idle = 0;
        while idle < turns {
            let left = budget.saturating_sub(looked.frames);
            if left == 0 {
                looked.is_busy = true;
                break;
            }
            let (turn, most) = (self.turn % turns, left.min(BURST));
            let moved = if turn < pairs {
                self.transmit(registers, memory, wire, turn, most)?
            } else {
                self.receive(registers, memory, wire, most)?
            };
            looked.frames += moved;
            idle = if moved == 0 { idle + 1 } else { 0 };
            self.turn = (turn + 1) % turns;
        }
        Ok(())
    }

    /// Raises the interrupts of all pairs that have something to tell and are not masked.
    fn raise_interrupts(&mut self, registers: &impl Registers) {
        for pair in 0..self.pairs() {
            let vector = pair + 1;
            let interrupt = self.pair(pair).map(|pair| &mut pair.interrupt);
            if interrupt.is_some_and(|interrupt| interrupt.raise(registers, vector)) {
                self.raise(vector);
            }
        }
    }
}
