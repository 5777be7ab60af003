// SPDX-License-Identifier: GPL-2.0

//! Descriptors and their completions, ena_eth_io_defs.h. Their phase is the ring's (ring.rs).

use crate::ena::fields::{address_at, put, u16_at, u32_at};
use crate::ena::wire::Piece;

/// Length of struct ena_eth_io_tx_desc and struct ena_eth_io_rx_desc.
pub(super) const DESCRIPTOR_LEN: usize = 16;
/// Length of struct ena_eth_io_tx_cdesc.
pub(super) const TRANSMIT_COMPLETION_LEN: usize = 8;
/// Length of struct ena_eth_io_rx_cdesc_base.
pub(super) const RECEIVE_COMPLETION_LEN: usize = 16;

// struct ena_eth_io_tx_desc and ena_eth_io_tx_meta_desc, word 0.
const LENGTH: u32 = 0xffff;
const META_DESC: u32 = 1 << 23;
const FIRST: u32 = 1 << 26;
const LAST: u32 = 1 << 27;
const COMP_REQ: u32 = 1 << 28;

// struct ena_eth_io_rx_cdesc_base, word 0.
const RX_FIRST: u32 = 1 << 26;
const RX_LAST: u32 = 1 << 27;
const RX_BUFFER: u32 = 1 << 30;

/// A transmit descriptor: a part of a frame, or metadata before the first part.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransmitDescriptor(pub [u8; DESCRIPTOR_LEN]);

impl TransmitDescriptor {
    /// Word `word` of the four.
    pub(super) fn word(&self, word: usize) -> u32 {
        u32_at(&self.0, word.saturating_mul(4))
    }

    /// Returns whether this is metadata.
    pub(super) fn is_meta(&self) -> bool {
        self.word(0) & META_DESC != 0
    }

    /// Returns whether this is the first descriptor of a frame.
    pub(super) fn is_first(&self) -> bool {
        self.word(0) & FIRST != 0
    }

    /// Returns whether this is the last descriptor of a frame.
    pub(super) fn is_last(&self) -> bool {
        self.word(0) & LAST != 0
    }

    /// Returns whether the driver wants a completion; valid in the first descriptor that is not
    /// metadata.
    pub(super) fn wants_completion(&self) -> bool {
        self.word(0) & COMP_REQ != 0
    }

    /// The request ID, valid in the same descriptor: bits 21:16 of word 0, then 31:22 of word 1.
    pub(super) fn request(&self) -> u16 {
        let high = (self.word(0) >> 16) & 0x3f;
        let low = self.word(1) >> 22;
        ((high << 10) | low) as u16
    }

    /// The part of the frame.
    pub(super) fn piece(&self) -> Piece {
        Piece {
            address: address_at(&self.0, 8),
            len: self.word(0) & LENGTH,
        }
    }
}

/// A receive descriptor: a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveDescriptor(pub [u8; DESCRIPTOR_LEN]);

impl ReceiveDescriptor {
    /// The request ID.
    pub(super) fn request(&self) -> u16 {
        u16_at(&self.0, 4)
    }

    /// The buffer. A length of 0 means 64 KiB, of which a completion can't tell the last byte.
    pub(super) fn piece(&self) -> Piece {
        let len = match u16_at(&self.0, 0) {
            0 => u16::MAX,
            len => len,
        };
        Piece {
            address: address_at(&self.0, 8),
            len: len.into(),
        }
    }
}

/// struct ena_eth_io_tx_cdesc: the frame of a request was taken from queue `queue`, and all
/// descriptors before `head`.
pub(super) fn transmit_completion(
    request: u16,
    queue: u16,
    head: u16,
) -> [u8; TRANSMIT_COMPLETION_LEN] {
    let mut entry = [0; TRANSMIT_COMPLETION_LEN];
    put(&mut entry, 0, &request.to_le_bytes());
    put(&mut entry, 4, &queue.to_le_bytes());
    put(&mut entry, 6, &head.to_le_bytes());
    entry
}

/// struct ena_eth_io_rx_cdesc_base: the buffer of a request has the next `len` bytes of a frame.
/// Nothing is said of its protocols, checksums and hash: Linux finds them itself.
pub(super) fn receive_completion(
    request: u16,
    queue: u16,
    len: u16,
    is_first: bool,
    is_last: bool,
) -> [u8; RECEIVE_COMPLETION_LEN] {
    let mut status = RX_BUFFER;
    if is_first {
        status |= RX_FIRST;
    }
    if is_last {
        status |= RX_LAST;
    }
    let mut entry = [0; RECEIVE_COMPLETION_LEN];
    put(&mut entry, 0, &status.to_le_bytes());
    put(&mut entry, 4, &len.to_le_bytes());
    put(&mut entry, 6, &request.to_le_bytes());
    put(&mut entry, 12, &queue.to_le_bytes());
    entry
}
