// SPDX-License-Identifier: GPL-2.0

//! Frames, which lie in pieces of the successor's memory.

use crate::ena::wire::Piece;
use crate::memory_device::access::SystemMemory;

/// The most descriptors of a frame that the driver is told. It may use one more where the headers are a
/// piece of their own (`ena_check_and_linearize_skb()`), and has room for 19 (ENA_PKT_MAX_BUFS). A
/// buffer of Linux's network stack has up to 17 fragments (MAX_SKB_FRAGS).
pub(super) const MAX_DESCRIPTORS: u16 = 17;
/// The most descriptors of a frame, without metadata.
pub(super) const MAX_PIECES: usize = MAX_DESCRIPTORS as usize + 1;

/// ETH_HLEN, include/uapi/linux/if_ether.h: a frame is at least that long.
pub(super) const HEADER_LEN: u32 = 14;
/// What a frame has besides what the MTU counts: its header, and two VLAN tags (VLAN_HLEN).
const OVERHEAD: u32 = HEADER_LEN + 2 * 4;
/// The longest packet that can be cut into segments: the IPv4 header's length field has 16 bits.
const MAX_PACKET: u32 = 0xffff;
/// The longest frame that is cut into segments.
pub(super) const MAX_LEN: u32 = MAX_PACKET + OVERHEAD;

/// The longest frame that is not cut into segments.
pub(super) fn max_len(mtu: u16) -> u32 {
    u32::from(mtu) + OVERHEAD
}

/// Pieces, in their order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pieces {
    pieces: [Piece; MAX_PIECES],
    count: usize,
    len: u32,
}

impl Pieces {
    /// Adds a piece. Returns [`None`] if there are too many.
    pub(super) fn push(&mut self, piece: Piece) -> Option<()> {
        *self.pieces.get_mut(self.count)? = piece;
        self.count += 1;
        self.len = self.len.saturating_add(piece.len);
        Some(())
    }

    /// The pieces.
    pub(super) fn as_slice(&self) -> &[Piece] {
        self.pieces.get(..self.count).unwrap_or(&[])
    }

    /// The length of all pieces together.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Reads the byte at `offset` of the frame.
    pub(super) fn byte_at(&self, memory: &impl SystemMemory, offset: u32) -> Option<u8> {
        let mut left = offset;
        for piece in self.as_slice() {
            match left.checked_sub(piece.len) {
                Some(behind) => left = behind,
                None => {
                    let mut byte = [0];
                    let address = piece.address.checked_add(left.into())?;
                    memory.read(address, &mut byte).ok()?;
                    return Some(byte[0]);
                }
            }
        }
        None
    }
}
