// SPDX-License-Identifier: GPL-2.0

//! The queues for frames.
//!
//! The driver creates a completion queue (CQ), then a submission queue (SQ) that goes with it. Nobody
//! says what a CQ is for; the length of its entries does. Each CQ has one SQ here, and both have one
//! index: 2 * pair for transmit queues, 2 * pair + 1 for receive queues.

use crate::ena::descriptor::{DESCRIPTOR_LEN, RECEIVE_COMPLETION_LEN, TRANSMIT_COMPLETION_LEN};
use crate::ena::interrupt::Interrupt;
use crate::ena::offload::Meta;
use crate::ena::ring::{Completions, Submission};

/// The most entries of a queue. Linux takes as many as it gets, up to 1024 (ENA_DEFAULT_RING_SIZE), and
/// at least 256. Each entry of a receive queue costs the successor a page: 2 MiB for each of its CPUs.
pub const MAX_DEPTH: u16 = 512;

/// A queue for frames to the card, one for frames from it, and the interrupt `1 + pair`, which the
/// driver gives to both.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueuePair {
    pub(super) transmit: Option<Queue<TRANSMIT_COMPLETION_LEN>>,
    pub(super) receive: Option<Queue<RECEIVE_COMPLETION_LEN>>,
    /// The metadata that the transmit queue keeps.
    pub(super) meta: Meta,
    pub(super) interrupt: Interrupt,
}

/// A CQ with entries of `LEN` bytes, and the SQ that goes with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue<const LEN: usize> {
    pub completions: Completions<LEN>,
    pub submission: Option<Submission<DESCRIPTOR_LEN>>,
    /// The interrupt vector, if it has one.
    pub vector: Option<u16>,
}

/// Which way frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the driver: ENA_ADMIN_SQ_DIRECTION_TX.
    Transmit,
    /// To the driver: ENA_ADMIN_SQ_DIRECTION_RX.
    Receive,
}

/// The index of a queue.
pub(super) fn index(pair: u16, direction: Direction) -> u16 {
    pair * 2 + u16::from(direction == Direction::Receive)
}

/// The pair and the direction of the queue with an index.
pub(super) fn from_index(index: u16) -> (u16, Direction) {
    match index % 2 {
        0 => (index / 2, Direction::Transmit),
        _ => (index / 2, Direction::Receive),
    }
}
