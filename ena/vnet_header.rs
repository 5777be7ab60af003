// SPDX-License-Identifier: GPL-2.0

//! What a TAP with `IFF_VNET_HDR` has before each frame.
//!
//! Reference: VIRTIO 1.2, 5.1.6 "Device Operation"; struct virtio_net_hdr in
//! include/uapi/linux/virtio_net.h. A TAP's header has this length unless it is told another, and
//! the byte order of the machine (`TUNSETVNETHDRSZ` and `tun_vnet_is_little_endian()` in Linux's
//! drivers/net/tun.c): little-endian on x86.

/// The length of the header.
pub const LEN: usize = 10;

/// VIRTIO_NET_HDR_F_NEEDS_CSUM: the checksum is to be completed.
pub const NEEDS_CSUM: u8 = 1;

/// VIRTIO_NET_HDR_GSO_NONE: the frame is sent as it is.
pub const GSO_NONE: u8 = 0;
/// VIRTIO_NET_HDR_GSO_TCPV4: the frame is to be cut into segments of TCP over IPv4.
pub const GSO_TCPV4: u8 = 1;
/// VIRTIO_NET_HDR_GSO_TCPV6: the frame is to be cut into segments of TCP over IPv6.
pub const GSO_TCPV6: u8 = 4;

/// The header. All zeros says that the frame is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    /// [`NEEDS_CSUM`], and others that a TAP may set.
    pub flags: u8,
    /// [`GSO_NONE`], [`GSO_TCPV4`] or [`GSO_TCPV6`].
    pub gso_type: u8,
    /// The length of all headers, for segments.
    pub hdr_len: u16,
    /// The bytes behind the headers in each segment.
    pub gso_size: u16,
    /// Where the bytes begin that the checksum is of.
    pub csum_start: u16,
    /// Where the checksum is put, behind `csum_start`.
    pub csum_offset: u16,
}

impl VnetHeader {
    /// Returns the header as it lies before a frame.
    pub fn to_bytes(self) -> [u8; LEN] {
        let mut bytes = [self.flags, self.gso_type, 0, 0, 0, 0, 0, 0, 0, 0];
        let words = [
            self.hdr_len,
            self.gso_size,
            self.csum_start,
            self.csum_offset,
        ];
        for (to, word) in bytes[2..].chunks_exact_mut(2).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads a header.
    pub fn from_bytes(bytes: &[u8; LEN]) -> Self {
        let word = |low: u8, high: u8| u16::from_le_bytes([low, high]);
        let [flags, gso_type, a, b, c, d, e, f, g, h] = *bytes;
        VnetHeader {
            flags,
            gso_type,
            hdr_len: word(a, b),
            gso_size: word(c, d),
            csum_start: word(e, f),
            csum_offset: word(g, h),
        }
    }

    /// Returns whether the frame can be given to one who knows nothing of checksums to complete, nor
    /// of segments.
    pub fn is_plain(&self) -> bool {
        self.flags & NEEDS_CSUM == 0 && self.gso_type == GSO_NONE
    }
}
