// SPDX-License-Identifier: GPL-2.0

//! The card: its state, and its life.

use core::ops::DerefMut;

use crate::ena::admin_queue::AdminQueue;
use crate::ena::counters::Counters;
use crate::ena::events::Events;
use crate::ena::queue::{Direction, Queue, QueuePair};
use crate::ena::registers::{self, DeviceStatus, MAX_QUEUE_PAIRS};
use crate::memory_device::access::Registers;

/// An ENA card.
///
/// `Q` is memory for its queues: a `KVec<QueuePair>` in the kernel.
pub struct Card<Q> {
    pub(super) mac: [u8; 6],
    pub(super) mtu_max: u16,
    pub(super) queues: Q,
    pub(super) state: State,
    /// DEV_STS as it was written last.
    pub(super) shown: Option<DeviceStatus>,
    /// The MTU that the driver has set.
    pub(super) mtu: u16,
    pub(super) admin: Option<AdminQueue>,
    pub(super) events: Events,
    /// Whether there is somebody at the other end of the wire.
    pub(super) has_link: bool,
    pub(super) counters: Counters,
    /// Interrupt vectors to raise.
    pub(super) vectors: [u64; 2],
    /// Whose turn it is: the pair that sends next, or, if there is none, the wire.
    pub(super) turn: u16,
    /// The pair whose queue gets the frames that are received.
    pub(super) receiver: u16,
    /// The pair that has sent last.
    pub(super) last_sender: u16,
}

/// What the card does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing: the successor does not run.
    Off,
    /// It takes commands and frames.
    Ready,
    /// The driver has asked for a reset. It waits for the driver to take that back.
    Resetting,
    /// The driver has done what can't be answered. It waits for a reset.
    Fatal,
    /// Nothing, for good.
    Gone,
}

impl<Q: DerefMut<Target = [QueuePair]>> Card<Q> {
    /// A card that is off, without a link. `mac` is its address, a unicast one, and `mtu_max` the
    /// highest MTU, at least 1500. `queues` has an element for each pair of queues, up to
    /// [`MAX_QUEUE_PAIRS`].
    pub fn new(mac: [u8; 6], mtu_max: u16, queues: Q) -> Self {
        Card {
            mac,
            mtu_max,
            queues,
            state: State::Off,
            shown: None,
            mtu: mtu_max,
            admin: None,
            events: Events::default(),
            has_link: false,
            counters: Counters::default(),
            vectors: [0; 2],
            turn: 0,
            receiver: 0,
            last_sender: 0,
        }
    }

    /// Sets all registers anew, before a start of the successor. The MSI-X table in the same BAR is
    /// not touched.
    pub fn power_on(&mut self, registers: &impl Registers) {
        if self.state == State::Gone {
            return;
        }
        self.forget();
        registers::power_on(registers);
        self.state = State::Ready;
        self.show(registers);
    }

    /// The successor does not run any more: its memory is not accessed from now on.
    pub fn power_off(&mut self) {
        if self.state != State::Gone {
            self.forget();
            self.state = State::Off;
        }
    }

    /// Ends the card for good: all its registers read as all ones, as those of a device that was
    /// pulled out. The successor's memory is not accessed from now on.
    pub fn vanish(&mut self, registers: &impl Registers) {
        self.forget();
        registers::vanish(registers);
        self.state = State::Gone;
    }

    /// There is somebody at the other end of the wire, or not any more. The driver is told. Without a
    /// link, frames that it sends are dropped.
    pub fn set_link(&mut self, is_up: bool) {
        self.has_link = is_up;
    }

    /// Returns whether the card has stopped until the driver resets it.
    pub fn is_fatal(&self) -> bool {
        self.state == State::Fatal
    }

    /// Returns what has been done so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes the interrupt vectors to raise, one bit for each.
    pub fn take_vectors(&mut self) -> [u64; 2] {
        core::mem::take(&mut self.vectors)
    }

    /// Stops the card until the driver resets it.
    pub(super) fn fail(&mut self) {
        self.state = State::Fatal;
        self.counters.failures = self.counters.failures.saturating_add(1);
    }

    /// Forgets all that the driver has set up.
    pub(super) fn forget(&mut self) {
        self.queues.fill(QueuePair::default());
        self.admin = None;
        self.events = Events::default();
        self.mtu = self.mtu_max;
        self.vectors = [0; 2];
        (self.turn, self.receiver, self.last_sender) = (0, 0, 0);
        self.shown = None;
    }

    /// Sets DEV_STS, if it is not what it should be.
    pub(super) fn show(&mut self, registers: &impl Registers) {
        let status = match self.state {
            State::Ready => DeviceStatus::Ready,
            State::Resetting => DeviceStatus::Resetting,
            State::Fatal => DeviceStatus::Fatal,
            State::Off | State::Gone => return,
        };
        if self.shown != Some(status) {
            registers::set_status(registers, status);
            self.shown = Some(status);
        }
    }

    /// The number of queue pairs.
    pub(super) fn pairs(&self) -> u16 {
        u16::try_from(self.queues.len()).map_or(MAX_QUEUE_PAIRS, |len| len.min(MAX_QUEUE_PAIRS))
    }

    /// Returns queue pair `pair`.
    pub(super) fn pair(&mut self, pair: u16) -> Option<&mut QueuePair> {
        self.queues.get_mut(usize::from(pair))
    }

    /// The interrupt vector of `vector` has completions that were not told.
    pub(super) fn interrupt(&mut self, vector: Option<u16>) {
        // Vector 0 is management's: none of the queues has it.
        let pair = vector.and_then(|vector| vector.checked_sub(1));
        if let Some(pair) = pair.and_then(|pair| self.pair(pair)) {
            pair.interrupt.post();
        }
    }

    /// Asks for interrupt `vector`.
    pub(super) fn raise(&mut self, vector: u16) {
        if let Some(word) = self.vectors.get_mut(usize::from(vector / 64)) {
            *word |= 1 << (vector % 64);
        }
    }

    /// Returns whether pair `pair` has a receive queue that is complete.
    pub(super) fn can_receive(&self, pair: u16) -> bool {
        let pair = self.queues.get(usize::from(pair));
        let queue = pair.and_then(|pair| pair.receive.as_ref());
        queue.is_some_and(|queue| queue.submission.is_some())
    }

    /// Returns whether a queue has interrupt `vector`.
    pub(super) fn has_queue(&self, vector: u16) -> bool {
        fn has<const LEN: usize>(queue: &Option<Queue<LEN>>, vector: u16) -> bool {
            queue.is_some_and(|queue| queue.vector == Some(vector))
        }
        let mut pairs = self.queues.iter();
        pairs.any(|pair| has(&pair.transmit, vector) || has(&pair.receive, vector))
    }

    /// The first pair without a queue in this direction.
    pub(super) fn free_pair(&self, direction: Direction) -> Option<u16> {
        let is_free = |pair: &QueuePair| match direction {
            Direction::Transmit => pair.transmit.is_none(),
            Direction::Receive => pair.receive.is_none(),
        };
        let pairs = usize::from(self.pairs());
        let free = self.queues.iter().take(pairs).position(is_free)?;
        u16::try_from(free).ok()
    }
}
