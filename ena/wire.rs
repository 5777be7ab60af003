// SPDX-License-Identifier: GPL-2.0

//! The other end of the card's wire: a TAP.

use crate::ena::vnet_header::VnetHeader;

/// Contiguous bytes of the successor's memory, at a physical address. It is the driver's word: whoever
/// accesses them checks first that they are the successor's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// The address of the first byte.
    pub address: u64,
    /// The number of bytes, not 0.
    pub len: u32,
}

/// What became of a frame that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was taken.
    Yes,
    /// There is no room now. It is sent again at a later look.
    Full,
    /// It was not taken, and never will be: a piece of it is not the successor's memory, or the
    /// header does not fit the frame.
    Refused,
}

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// There is no frame.
    None,
    /// A frame lies in the pieces, in their order, whole.
    Frame {
        /// Its length, without the header.
        len: u32,
        /// What the TAP says of it.
        header: VnetHeader,
    },
    /// There was a frame and it is gone: it is longer than the pieces together, or a piece is not the
    /// successor's memory.
    Lost,
}

/// Takes and gives frames. A frame is copied once, between its owner and the successor's memory.
pub trait Wire {
    /// Sends a frame that lies in `pieces`, in their order.
    fn send(&mut self, header: &VnetHeader, pieces: &[Piece]) -> Sent;

    /// Puts the next frame into `pieces`.
    fn receive(&mut self, pieces: &[Piece]) -> Received;
}
