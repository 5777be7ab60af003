// SPDX-License-Identifier: GPL-2.0

//! Frames for the driver.
//!
//! Which queue a frame goes to must be known before it is read from the TAP: it is copied right into
//! the queue's buffers. So it can't be chosen by the frame's contents. Frames go to the pair that has
//! sent last, so that an answer and the completion of what it answers come by one interrupt, to one CPU:
//! Linux sends all frames of a connection on one queue (`netdev_pick_tx()` in net/core/dev.c). They stay
//! with a pair for as long as the driver is busy with it, so that the order of frames is kept: two
//! queues are served by two CPUs.

use core::ops::DerefMut;

use crate::ena::card::Card;
use crate::ena::descriptor::{receive_completion, ReceiveDescriptor, DESCRIPTOR_LEN};
use crate::ena::frame::{self, Pieces, MAX_DESCRIPTORS, MAX_PIECES};
use crate::ena::queue::{self, Direction, QueuePair};
use crate::ena::ring::{Fatal, Submission};
use crate::ena::wire::{Received, Wire};
use crate::memory_device::access::{Registers, SystemMemory};

/// Buffers for a frame.
#[derive(Default)]
struct Buffers {
    pieces: Pieces,
    requests: [u16; MAX_PIECES],
}

impl<Q: DerefMut<Target = [QueuePair]>> Card<Q> {
    /// Receives up to `most` frames. Returns how many.
    pub(super) fn receive(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        wire: &mut impl Wire,
        most: u32,
    ) -> Result<u32, Fatal> {
        if !self.has_link {
            return Ok(0);
        }
        let Some(receiver) = self.choose_receiver(registers) else {
            return Ok(0);
        };
        for received in 0..most {
            let Some(buffers) = self.buffers(registers, memory, receiver)? else {
                return Ok(received);
            };
            let capacity = buffers.pieces.len();
            match wire.receive(buffers.pieces.as_slice()) {
                Received::None => return Ok(received),
                Received::Frame { len, header }
                    if header.is_plain() && (frame::HEADER_LEN..=capacity).contains(&len) =>
                {
                    self.deliver(memory, receiver, &buffers, len)?;
                    self.counters.receive.add(len);
                }
                Received::Frame { .. } | Received::Lost => self.counters.receive.refuse_one(),
            }
        }
        Ok(most)
    }

    /// Returns the pair that gets what is received.
    fn choose_receiver(&mut self, registers: &impl Registers) -> Option<u16> {
        let (now, wanted) = (self.receiver, self.last_sender);
        let can_stay = self.can_receive(now);
        let chosen = if now == wanted || !self.can_receive(wanted) {
            let mut others = core::iter::once(now).chain(0..self.pairs());
            others.find(|pair| self.can_receive(*pair))?
        } else if can_stay && !self.is_quiet(registers, now) {
            now
        } else {
            wanted
        };
        self.receiver = chosen;
        Some(chosen)
    }

    /// Returns whether the driver is done with all frames of a pair.
    fn is_quiet(&self, registers: &impl Registers, pair: u16) -> bool {
        let pair = self.queues.get(usize::from(pair));
        let vector = pair.and_then(|pair| pair.receive.as_ref()?.vector);
        let vector = vector.and_then(|vector| vector.checked_sub(1).map(|at| (at, vector)));
        vector.is_some_and(|(at, vector)| {
            let owner = self.queues.get(usize::from(at));
            owner.is_some_and(|owner| owner.interrupt.is_quiet(registers, vector))
        })
    }

    /// Returns buffers for the longest frame. [`None`] if the driver has not given as many: the frame
    /// stays where it is.
    fn buffers(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        receiver: u16,
    ) -> Result<Option<Buffers>, Fatal> {
        let needed = frame::max_len(self.mtu);
        let queue = self.pair(receiver).and_then(|pair| pair.receive.as_mut());
        let Some(submission) = queue.and_then(|queue| queue.submission.as_mut()) else {
            return Ok(None);
        };
        if submission.len() < MAX_DESCRIPTORS {
            submission.look(registers, memory)?;
        }
        read_buffers(*submission, needed, memory)
    }

    /// Tells the driver that the first `len` bytes of the buffers are a frame.
    fn deliver(
        &mut self,
        memory: &impl SystemMemory,
        receiver: u16,
        buffers: &Buffers,
        len: u32,
    ) -> Result<(), Fatal> {
        let index = queue::index(receiver, Direction::Receive);
        let pair = self.pair(receiver).ok_or(Fatal)?;
        let queue = pair.receive.as_mut().ok_or(Fatal)?;
        let submission = queue.submission.as_mut().ok_or(Fatal)?;
        let mut left = len;
        let pieces = buffers.pieces.as_slice();
        for (piece, request) in pieces.iter().zip(buffers.requests) {
            let part = left.min(piece.len);
            let (is_first, is_last) = (left == len, left == part);
            left -= part;
            let part = u16::try_from(part).map_err(|_| Fatal)?;
            let completion = receive_completion(request, index, part, is_first, is_last);
            queue.completions.post(memory, completion)?;
            submission.skip();
            if is_last {
                break;
            }
        }
        let vector = queue.vector;
        self.interrupt(vector);
        Ok(())
    }
}

/// Reads descriptors until their buffers have `needed` bytes, or are as many as the driver takes.
fn read_buffers(
    mut ahead: Submission<DESCRIPTOR_LEN>,
    needed: u32,
    memory: &impl SystemMemory,
) -> Result<Option<Buffers>, Fatal> {
    let mut buffers = Buffers::default();
    let requests = buffers.requests.iter_mut();
    for request in requests.take(MAX_DESCRIPTORS.into()) {
        if buffers.pieces.len() >= needed {
            break;
        }
        if ahead.is_empty() {
            return Ok(None);
        }
        let descriptor = ReceiveDescriptor(ahead.take(memory)?);
        buffers.pieces.push(descriptor.piece()).ok_or(Fatal)?;
        *request = descriptor.request();
    }
    Ok(Some(buffers))
}
