// SPDX-License-Identifier: GPL-2.0

//! Frames that the driver sends.

use core::ops::DerefMut;

use crate::ena::card::Card;
use crate::ena::descriptor::{transmit_completion, TransmitDescriptor, DESCRIPTOR_LEN};
use crate::ena::frame::{Pieces, MAX_PIECES};
use crate::ena::offload::{vnet_header, Meta};
use crate::ena::queue::{self, Direction, QueuePair};
use crate::ena::ring::{Fatal, Submission};
use crate::ena::wire::{Sent, Wire};
use crate::memory_device::access::{Registers, SystemMemory};

/// A frame, and what the queue is like once it is sent.
struct Frame {
    pieces: Pieces,
    /// Word 1 of the first descriptor.
    control: u32,
    /// The request to complete, if the driver wants to be told.
    request: Option<u16>,
    meta: Meta,
    rest: Submission<DESCRIPTOR_LEN>,
}

impl<Q: DerefMut<Target = [QueuePair]>> Card<Q> {
    /// Sends up to `most` frames of pair `pair`. Returns how many it has taken.
    pub(super) fn transmit(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        wire: &mut impl Wire,
        pair: u16,
        most: u32,
    ) -> Result<u32, Fatal> {
        for sent in 0..most {
            let Some(frame) = self.next_frame(registers, memory, pair)? else {
                return Ok(sent);
            };
            if self.send(memory, wire, &frame) == Sent::Full {
                return Ok(sent);
            }
            self.finish(memory, pair, &frame)?;
        }
        Ok(most)
    }

    fn next_frame(
        &mut self,
        registers: &impl Registers,
        memory: &impl SystemMemory,
        pair: u16,
    ) -> Result<Option<Frame>, Fatal> {
        let Some(pair) = self.pair(pair) else {
            return Ok(None);
        };
        let queue = pair.transmit.as_mut();
        let Some(submission) = queue.and_then(|queue| queue.submission.as_mut()) else {
            return Ok(None);
        };
        if submission.is_empty() {
            submission.look(registers, memory)?;
        }
        if submission.is_empty() {
            return Ok(None);
        }
        read_frame(*submission, pair.meta, memory).map(Some)
    }

    /// Sends a frame, and counts it.
    fn send(&mut self, memory: &impl SystemMemory, wire: &mut impl Wire, frame: &Frame) -> Sent {
        let traffic = &mut self.counters.transmit;
        if !self.has_link {
            traffic.drop_one();
            return Sent::Refused;
        }
        let pieces = &frame.pieces;
        let header = vnet_header(frame.control, &frame.meta, pieces, self.mtu_max, memory);
        let sent = match header {
            Some(header) => wire.send(&header, pieces.as_slice()),
            None => Sent::Refused,
        };
        match sent {
            Sent::Yes => traffic.add(pieces.len()),
            Sent::Refused => traffic.refuse_one(),
            Sent::Full => {}
        }
        sent
    }

    /// Takes a frame from the queue, and tells the driver.
    fn finish(
        &mut self,
        memory: &impl SystemMemory,
        pair: u16,
        frame: &Frame,
    ) -> Result<(), Fatal> {
        self.last_sender = pair;
        let index = queue::index(pair, Direction::Transmit);
        let pair = self.pair(pair).ok_or(Fatal)?;
        pair.meta = frame.meta;
        let queue = pair.transmit.as_mut().ok_or(Fatal)?;
        queue.submission = Some(frame.rest);
        if let Some(request) = frame.request {
            let completion = transmit_completion(request, index, frame.rest.head());
            queue.completions.post(memory, completion)?;
            let vector = queue.vector;
            self.interrupt(vector);
        }
        Ok(())
    }
}

/// Reads the descriptors of a frame. That one is missing is a mistake of the driver: it writes the
/// doorbell after the last (`ena_start_xmit()`).
fn read_frame(
    mut rest: Submission<DESCRIPTOR_LEN>,
    mut meta: Meta,
    memory: &impl SystemMemory,
) -> Result<Frame, Fatal> {
    let mut first = TransmitDescriptor(rest.take(memory)?);
    let mut is_first = first.is_first();
    if first.is_meta() {
        meta = Meta::new(&first);
        first = TransmitDescriptor(rest.take(memory)?);
        is_first &= !first.is_first();
    }
    if !is_first || first.is_meta() {
        return Err(Fatal);
    }
    let mut pieces = Pieces::default();
    let mut descriptor = first;
    for left in (0..MAX_PIECES).rev() {
        let piece = descriptor.piece();
        if piece.len != 0 {
            pieces.push(piece).ok_or(Fatal)?;
        }
        if descriptor.is_last() {
            break;
        }
        descriptor = TransmitDescriptor(rest.take(memory)?);
        if descriptor.is_first() || descriptor.is_meta() || left == 0 {
            return Err(Fatal);
        }
    }
    Ok(Frame {
        pieces,
        control: first.word(1),
        request: first.wants_completion().then(|| first.request()),
        meta,
        rest,
    })
}
