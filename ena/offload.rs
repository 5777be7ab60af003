// SPDX-License-Identifier: GPL-2.0

//! What the driver leaves to the card: checksums, and TCP segmentation (TSO). The TAP does it, as the
//! header before the frame says.
//!
//! The driver leaves the sum of the pseudo-header in the checksum's place, which is what a TAP wants
//! (VIRTIO 1.2, 5.1.6.2.1). For segments, too: Linux's TCP leaves the sum with the length of all that
//! is to be cut (`__tcp_v4_send_check()`), and `tcp_gso_segment()` counts on it.

use crate::ena::descriptor::TransmitDescriptor;
use crate::ena::frame::{self, Pieces};
use crate::ena::vnet_header::{VnetHeader, GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM};
use crate::memory_device::access::SystemMemory;

// struct ena_eth_io_tx_desc, word 1.
const L3_PROTOCOL: u32 = 0xf;
const TSO_EN: u32 = 1 << 7;
const L4_CSUM_EN: u32 = 1 << 14;
const L4_CSUM_PARTIAL: u32 = 1 << 17;

// enum ena_eth_io_l3_proto_index and ena_eth_io_l4_proto_index
const L3_IPV4: u32 = 8;
const L3_IPV6: u32 = 11;
const L4_TCP: u32 = 12;
const L4_UDP: u32 = 13;

// IPPROTO_TCP and IPPROTO_UDP, include/uapi/linux/in.h.
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// Offsets of the checksum in a TCP (RFC 9293, 3.1) and a UDP header (RFC 768).
const TCP_CHECKSUM: u16 = 16;
const UDP_CHECKSUM: u16 = 6;
/// Length of the checksum.
const CHECKSUM_LEN: u32 = 2;
/// Length of a TCP header without options, in words of 4 bytes.
const TCP_WORDS: u16 = 5;

/// Length of an IPv6 header, and the offset of its Next Header (RFC 8200, 3).
const IPV6_LEN: u16 = 40;
const IPV6_NEXT_HEADER: u32 = 6;

/// Metadata: where a frame's headers are. The driver gives it only when it changes
/// (`ena_com_meta_desc_changed()`), so a queue keeps it from frame to frame. A new queue has zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// The maximum segment size.
    mss: u16,
    /// Where the network header begins, and its length with options or extension headers.
    l3_offset: u16,
    l3_len: u16,
    /// The length of the TCP header in words of 4 bytes; 0 if the frame is not cut into segments.
    l4_words: u16,
}

impl Meta {
    /// struct ena_eth_io_tx_meta_desc
    pub(super) fn new(descriptor: &TransmitDescriptor) -> Self {
        let (word0, word2) = (descriptor.word(0), descriptor.word(2));
        Meta {
            mss: ((word2 >> 22) | (((word0 >> 16) & 0xf) << 10)) as u16,
            l3_offset: ((word2 >> 8) & 0xff) as u16,
            l3_len: (word2 & 0xff) as u16,
            l4_words: ((word2 >> 16) & 0x3f) as u16,
        }
    }

    /// Where the transport header begins.
    fn l4_offset(&self) -> u16 {
        self.l3_offset.saturating_add(self.l3_len)
    }
}

/// Makes the header for a frame whose first descriptor has `control` in word 1. Returns [`None`] if
/// the frame does not have what it would need.
pub(super) fn vnet_header(
    control: u32,
    meta: &Meta,
    frame: &Pieces,
    mtu_max: u16,
    memory: &impl SystemMemory,
) -> Option<VnetHeader> {
    let is_tso = control & TSO_EN != 0;
    let longest = if is_tso {
        frame::MAX_LEN
    } else {
        frame::max_len(mtu_max)
    };
    if !(frame::HEADER_LEN..=longest).contains(&frame.len()) {
        return None;
    }
    if is_tso {
        return segments(control, meta, frame);
    }
    if control & L4_CSUM_EN == 0 {
        return Some(VnetHeader::default());
    }
    // A checksum without the sum of the pseudo-header in its place is not offered.
    if control & L4_CSUM_PARTIAL == 0 {
        return None;
    }
    checksum(meta, frame, protocol(control, meta, frame, memory)?)
}

/// The header for a frame whose checksum is to be completed.
fn checksum(meta: &Meta, frame: &Pieces, protocol: u8) -> Option<VnetHeader> {
    let offset = match protocol {
        IPPROTO_TCP => TCP_CHECKSUM,
        IPPROTO_UDP => UDP_CHECKSUM,
        _ => return None,
    };
    let end = u32::from(meta.l4_offset()) + u32::from(offset) + CHECKSUM_LEN;
    if end > frame.len() {
        return None;
    }
    Some(VnetHeader {
        flags: NEEDS_CSUM,
        csum_start: meta.l4_offset(),
        csum_offset: offset,
        ..VnetHeader::default()
    })
}

/// The header for a frame that is to be cut into segments, which is always TCP, whatever the protocol
/// index says (see [`protocol`]).
fn segments(control: u32, meta: &Meta, frame: &Pieces) -> Option<VnetHeader> {
    let gso_type = match control & L3_PROTOCOL {
        L3_IPV4 => GSO_TCPV4,
        L3_IPV6 => GSO_TCPV6,
        _ => return None,
    };
    let hdr_len = meta
        .l4_offset()
        .saturating_add(meta.l4_words.saturating_mul(4));
    if meta.mss == 0 || meta.l4_words < TCP_WORDS || u32::from(hdr_len) > frame.len() {
        return None;
    }
    Some(VnetHeader {
        gso_type,
        hdr_len,
        gso_size: meta.mss,
        ..checksum(meta, frame, IPPROTO_TCP)?
    })
}

/// The transport protocol. Linux's driver takes everything for UDP that is not TCP, and of an IPv6
/// header it sees the first Next Header only (`ena_tx_csum()`): behind extension headers, the frame
/// itself must be asked.
fn protocol(control: u32, meta: &Meta, frame: &Pieces, memory: &impl SystemMemory) -> Option<u8> {
    let has_extensions = control & L3_PROTOCOL == L3_IPV6 && meta.l3_len > IPV6_LEN;
    match (control >> 8) & 0x1f {
        L4_TCP => Some(IPPROTO_TCP),
        L4_UDP if has_extensions => protocol_behind(meta, frame, memory),
        L4_UDP => Some(IPPROTO_UDP),
        _ => None,
    }
}

/// The protocol behind the extension headers of IPv6: each begins with a Next Header, and its length in
/// units of 8 bytes without the first (RFC 8200, 4.3, 4.4 and 4.6; in a fragment header, 4.5, the byte
/// is 0, too).
fn protocol_behind(meta: &Meta, frame: &Pieces, memory: &impl SystemMemory) -> Option<u8> {
    let (start, end) = (u32::from(meta.l3_offset), u32::from(meta.l4_offset()));
    let mut next = frame.byte_at(memory, start.saturating_add(IPV6_NEXT_HEADER))?;
    let mut at = start.saturating_add(IPV6_LEN.into());
    while at < end {
        next = frame.byte_at(memory, at)?;
        let units = frame.byte_at(memory, at.saturating_add(1))?;
        at = at.saturating_add((u32::from(units) + 1) * 8);
    }
    (at == end).then_some(next)
}
