// SPDX-License-Identifier: GPL-2.0

//! Frames through the ENA card, between a driver that does what Linux's does and a TAP.

use mint_unit::ena::vnet_header::{VnetHeader, GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM};
use mint_unit::ena::wire::Piece;

#[path = "common/ena_driver.rs"]
#[allow(dead_code)]
mod ena_driver;
use ena_driver::{rx_descriptor, Machine, Meta, Offload, BUFFER_LEN, IPV4, IPV6, TCP, UDP};
#[path = "common/rng.rs"]
mod rng;
use rng::Rng;

/// The most that a look takes where a test does not care.
const MANY: u32 = 64;

/// A frame that says who it is.
fn frame(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| seed.wrapping_add((at % 251) as u8))
        .collect()
}

fn send(machine: &mut Machine, pair: usize, frame: &[u8], offload: &Offload) -> u16 {
    machine.xmit(pair, frame, &[], offload).unwrap()
}

/// Sends a frame. Returns the header that the TAP got with it.
fn header_of(machine: &mut Machine, frame: &[u8], offload: &Offload) -> Option<VnetHeader> {
    let before = machine.wire.sent.len();
    let request = machine.xmit(0, frame, &[frame.len() / 2], offload).unwrap();
    machine.look(false, MANY);
    // Whatever becomes of it, it is completed.
    assert_eq!(machine.clean_tx(0), [request]);
    let sent = machine.wire.sent.get(before)?;
    assert!(sent.1 == frame);
    Some(sent.0)
}

const PLAIN: VnetHeader = VnetHeader {
    flags: 0,
    gso_type: 0,
    hdr_len: 0,
    gso_size: 0,
    csum_start: 0,
    csum_offset: 0,
};

#[test]
fn a_header_is_ten_bytes() {
    // struct virtio_net_hdr
    let header = VnetHeader {
        flags: 1,
        gso_type: 4,
        hdr_len: 0x1234,
        gso_size: 0x5678,
        csum_start: 0x9abc,
        csum_offset: 0xdef0,
    };
    let bytes = [1, 4, 0x34, 0x12, 0x78, 0x56, 0xbc, 0x9a, 0xf0, 0xde];
    assert_eq!(header.to_bytes(), bytes);
    assert_eq!(VnetHeader::from_bytes(&bytes), header);
    assert!(PLAIN.is_plain());
    // VIRTIO_NET_HDR_F_DATA_VALID does no harm.
    assert!(VnetHeader { flags: 2, ..PLAIN }.is_plain());
    assert!(!VnetHeader { flags: 1, ..PLAIN }.is_plain());
    let gso = VnetHeader {
        gso_type: 1,
        ..PLAIN
    };
    assert!(!gso.is_plain());
}

#[test]
fn a_frame_is_sent_in_pieces() {
    let mut machine = Machine::new(1);
    let frame = frame(1514, 3);
    for cuts in [&[][..], &[1], &[66], &[14, 34, 54, 700]] {
        let request = machine.xmit(0, &frame, cuts, &Offload::default()).unwrap();
        let looked = machine.look(false, MANY);
        assert_eq!((looked.frames, looked.is_busy), (1, false));
        assert!(machine.wire.sent.pop() == Some((PLAIN, frame.clone())));
        assert_eq!(machine.napi(0), [request]);
    }
    assert_eq!(machine.pairs[0].interrupts, 4);
}

#[test]
fn a_frame_of_as_many_pieces_as_there_can_be() {
    let mut machine = Machine::new(1);
    // With one for the headers, and metadata.
    let frame = frame(65_000, 3);
    let cuts: Vec<_> = (0..17).map(|piece| 66 + piece * 3800).collect();
    let meta = Meta {
        mss: 1448,
        l3_hdr_len: 20,
        l3_hdr_offset: 14,
        l4_hdr_len: 8,
    };
    machine
        .xmit(0, &frame, &cuts, &Offload::tso(IPV4 | TCP, meta))
        .unwrap();
    machine.look(false, MANY);
    assert!(machine.wire.sent[0].1 == frame);
    assert_eq!(machine.clean_tx(0).len(), 1);
}

#[test]
fn descriptors_wait_for_the_doorbell() {
    let mut machine = Machine::new(1);
    let piece = Piece {
        address: machine.pairs[0].data,
        len: 60,
    };
    machine.prepare(0, &[piece], &Offload::default()).unwrap();
    machine.look(true, MANY);
    assert!(machine.wire.sent.is_empty());
    // netdev_xmit_more()
    machine.prepare(0, &[piece], &Offload::default()).unwrap();
    machine.ring_tx(0);
    machine.look(false, MANY);
    assert_eq!(machine.wire.sent.len(), 2);
    // A new queue does not begin with the old one's doorbell.
    machine.clean_tx(0);
    machine.down();
    machine.up();
    machine.prepare(0, &[piece], &Offload::default()).unwrap();
    machine.look(false, MANY);
    assert_eq!(machine.wire.sent.len(), 2);
    assert!(!machine.card.is_fatal());
}

fn checksum(start: u16, offset: u16) -> Option<VnetHeader> {
    Some(VnetHeader {
        flags: NEEDS_CSUM,
        csum_start: start,
        csum_offset: offset,
        ..PLAIN
    })
}

#[test]
fn checksums() {
    let mut machine = Machine::new(1);
    let frame = frame(200, 0);
    let cases = [
        (Offload::checksum(IPV4 | TCP, 14, 20), checksum(34, 16)),
        (Offload::checksum(IPV4 | UDP, 14, 20), checksum(34, 6)),
        (Offload::checksum(IPV6 | TCP, 14, 40), checksum(54, 16)),
        (Offload::checksum(IPV6 | UDP, 14, 40), checksum(54, 6)),
        // In a VLAN; with options.
        (Offload::checksum(IPV4 | TCP, 18, 60), checksum(78, 16)),
        (Offload::default(), Some(PLAIN)),
        // What metadata was kept is not for this one.
        (Offload::default(), Some(PLAIN)),
        (Offload::checksum(IPV4 | TCP, 18, 60), checksum(78, 16)),
    ];
    for (offload, expected) in cases {
        assert_eq!(header_of(&mut machine, &frame, &offload), expected);
    }
}

#[test]
fn checksums_behind_extension_headers() {
    let mut machine = Machine::new(1);
    // IPv6 with Hop-by-Hop Options of 8 bytes, Destination Options of 16, a fragment header, TCP.
    let mut bytes = frame(200, 0);
    bytes[14 + 6] = 0;
    bytes[54..56].copy_from_slice(&[60, 0]);
    bytes[62..64].copy_from_slice(&[44, 1]);
    bytes[78..80].copy_from_slice(&[6, 0]);
    // To ena_tx_csum(), all but TCP is UDP.
    let offload = Offload::checksum(IPV6 | UDP, 14, 72);
    assert_eq!(header_of(&mut machine, &bytes, &offload), checksum(86, 16));
    bytes[78] = 17;
    assert_eq!(header_of(&mut machine, &bytes, &offload), checksum(86, 6));
    // Neither; and headers that end elsewhere.
    bytes[78] = 58;
    assert_eq!(header_of(&mut machine, &bytes, &offload), None);
    bytes[78] = 6;
    bytes[62..64].copy_from_slice(&[6, 200]);
    assert_eq!(header_of(&mut machine, &bytes, &offload), None);
    bytes[62..64].copy_from_slice(&[44, 0]);
    assert_eq!(header_of(&mut machine, &bytes, &offload), None);
    // Headers behind the end.
    let offload = Offload::checksum(IPV6 | UDP, 14, 255);
    assert_eq!(header_of(&mut machine, &frame(100, 0), &offload), None);
    assert_eq!(machine.card.counters().transmit.errors, 4);
}

fn segments(gso_type: u8, start: u16, hdr_len: u16, gso_size: u16) -> Option<VnetHeader> {
    Some(VnetHeader {
        flags: NEEDS_CSUM,
        gso_type,
        hdr_len,
        gso_size,
        csum_start: start,
        csum_offset: 16,
    })
}

#[test]
fn segmentation() {
    let mut machine = Machine::new(1);
    let frame = frame(60_000, 0);
    let v4 = Meta {
        mss: 1448,
        l3_hdr_len: 20,
        l3_hdr_offset: 14,
        l4_hdr_len: 8,
    };
    let v6 = Meta {
        mss: 8928,
        l3_hdr_len: 40,
        l3_hdr_offset: 18,
        l4_hdr_len: 5,
    };
    let jumbo = Meta { mss: 0x3fff, ..v4 };
    let options = Meta {
        l3_hdr_len: 60,
        l4_hdr_len: 15,
        ..v4
    };
    let cases = [
        (IPV4 | TCP, v4, segments(GSO_TCPV4, 34, 66, 1448)),
        // The second time, there is no metadata.
        (IPV4 | TCP, v4, segments(GSO_TCPV4, 34, 66, 1448)),
        (IPV6 | TCP, v6, segments(GSO_TCPV6, 58, 78, 8928)),
        // Behind extension headers, the driver says UDP.
        (IPV6 | UDP, v6, segments(GSO_TCPV6, 58, 78, 8928)),
        (IPV4 | TCP, jumbo, segments(GSO_TCPV4, 34, 66, 0x3fff)),
        (IPV4 | TCP, options, segments(GSO_TCPV4, 74, 134, 1448)),
    ];
    for (protocols, meta, expected) in cases {
        let offload = Offload::tso(protocols, meta);
        assert_eq!(header_of(&mut machine, &frame, &offload), expected);
    }
}

#[test]
fn each_queue_keeps_its_metadata() {
    let mut machine = Machine::new(2);
    let frame = frame(5000, 0);
    let meta = |mss| Meta {
        mss,
        l3_hdr_len: 20,
        l3_hdr_offset: 14,
        l4_hdr_len: 5,
    };
    for _ in 0..3 {
        for (pair, mss) in [(0, 1000), (1, 2000)] {
            let offload = Offload::tso(IPV4 | TCP, meta(mss));
            send(&mut machine, pair, &frame, &offload);
            machine.look(false, MANY);
            assert_eq!(machine.wire.sent.pop().unwrap().0.gso_size, mss);
            machine.napi(pair);
        }
    }
    // A new queue has none: a driver that thinks otherwise gets nothing sent.
    machine.down();
    machine.up();
    let mut offload = Offload::tso(IPV4 | TCP, meta(1000));
    offload.meta = None;
    assert_eq!(header_of(&mut machine, &frame, &offload), None);
}

#[test]
fn metadata_of_a_frame_that_waits_is_not_lost() {
    let mut machine = Machine::new(1);
    let meta = |mss| Meta {
        mss,
        l3_hdr_len: 20,
        l3_hdr_offset: 14,
        l4_hdr_len: 5,
    };
    let long = frame(5000, 0);
    for mss in [1000, 1000, 2000, 2000, 500] {
        send(&mut machine, 0, &long, &Offload::tso(IPV4 | TCP, meta(mss)));
        send(&mut machine, 0, &frame(60, 0), &Offload::default());
    }
    machine.wire.is_full = true;
    for _ in 0..3 {
        assert_eq!(machine.look(false, MANY), Default::default());
    }
    assert!(machine.clean_tx(0).is_empty());
    machine.wire.is_full = false;
    assert_eq!(machine.look(false, MANY).frames, 10);
    let sizes: Vec<_> = machine
        .wire
        .sent
        .iter()
        .map(|sent| sent.0.gso_size)
        .collect();
    assert_eq!(sizes, [1000, 0, 1000, 0, 2000, 0, 2000, 0, 500, 0]);
}

#[test]
fn frames_that_cant_be_are_refused_one_by_one() {
    let mut machine = Machine::new(1);
    let meta = Meta {
        mss: 1000,
        l3_hdr_len: 20,
        l3_hdr_offset: 14,
        l4_hdr_len: 5,
    };
    let tso = |meta| Offload::tso(IPV4 | TCP, meta);
    let control = |control| Offload {
        control,
        ..Offload::checksum(IPV4 | TCP, 14, 20)
    };
    let cases = [
        // Too short, too long.
        (13, Offload::default()),
        (9023, Offload::default()),
        (13, tso(meta)),
        (65_558, tso(meta)),
        // The checksum is behind the end, the protocol unknown, the pseudo-header's sum missing.
        (51, Offload::checksum(IPV4 | TCP, 14, 20)),
        (41, Offload::checksum(IPV4 | UDP, 14, 20)),
        (200, Offload::checksum(IPV4, 14, 20)),
        (200, Offload::checksum(IPV4 | (3 << 8), 14, 20)),
        (200, control(IPV4 | TCP | (1 << 14))),
        // No size, no header, headers behind the end, another protocol than IP.
        (5000, tso(Meta { mss: 0, ..meta })),
        (
            5000,
            tso(Meta {
                l4_hdr_len: 4,
                ..meta
            }),
        ),
        (
            80,
            tso(Meta {
                l4_hdr_len: 15,
                ..meta
            }),
        ),
        (5000, Offload::tso(TCP, meta)),
    ];
    for (index, (len, offload)) in cases.iter().enumerate() {
        assert_eq!(header_of(&mut machine, &frame(*len, 0), offload), None);
        assert_eq!(machine.card.counters().transmit.errors, index as u64 + 1);
    }
    let cases = [
        (14, Offload::default()),
        (9022, Offload::default()),
        (65_557, tso(meta)),
        (52, Offload::checksum(IPV4 | TCP, 14, 20)),
        (42, Offload::checksum(IPV4 | UDP, 14, 20)),
        (
            94,
            tso(Meta {
                l4_hdr_len: 15,
                ..meta
            }),
        ),
    ];
    for (len, offload) in cases {
        assert!(header_of(&mut machine, &frame(len, 0), &offload).is_some());
    }
    // A piece that is not memory.
    let piece = Piece {
        address: 0xffff_ffff_0000,
        len: 60,
    };
    machine.prepare(0, &[piece], &Offload::default()).unwrap();
    machine.ring_tx(0);
    machine.look(false, MANY);
    assert_eq!(machine.clean_tx(0).len(), 1);
    assert!(!machine.card.is_fatal());
}

#[test]
fn without_a_link_frames_are_dropped() {
    let mut machine = Machine::new(1);
    machine.card.set_link(false);
    send(&mut machine, 0, &frame(60, 0), &Offload::default());
    machine.wire.incoming.push_back(frame(60, 1));
    assert_eq!(machine.look(false, MANY).frames, 1);
    assert_eq!(machine.napi(0).len(), 1);
    assert!(machine.wire.sent.is_empty() && machine.wire.incoming.len() == 1);
    assert_eq!(machine.card.counters().transmit.drops, 1);
    machine.card.set_link(true);
    machine.look(false, MANY);
    machine.napi(0);
    assert!(machine.pairs[0].received == [frame(60, 1)]);
}

#[test]
fn a_frame_without_a_wish_is_not_completed() {
    let mut machine = Machine::new(1);
    let data = machine.pairs[0].data as u32;
    let memory = machine.memory.clone();
    let words = [60 | (3 << 26), 0, data, 0].map(u32::to_le_bytes).concat();
    machine.pairs[0].tx_sq.push(&memory, &words);
    machine.ring_tx(0);
    machine.look(false, MANY);
    assert_eq!(machine.wire.sent.len(), 1);
    assert!(machine.clean_tx(0).is_empty() && !machine.pairs[0].interrupted);
}

#[test]
fn frames_are_received_in_as_many_buffers_as_they_need() {
    let mut machine = Machine::new(1);
    assert_eq!(machine.set_feature(14, 0, &9000u32.to_le_bytes()), Ok(()));
    let buffer = usize::from(BUFFER_LEN);
    let lengths = [14, 60, 61, buffer - 1, buffer, buffer + 1, 2 * buffer, 9022];
    let buffers: usize = lengths.iter().map(|len| len.div_ceil(buffer)).sum();
    for (seed, len) in lengths.into_iter().enumerate() {
        machine.wire.incoming.push_back(frame(len, seed as u8));
    }
    let frames: Vec<_> = machine.wire.incoming.iter().cloned().collect();
    assert_eq!(machine.look(false, MANY).frames, lengths.len() as u32);
    // No more buffers than the longest frame needs.
    assert_eq!(machine.wire.offered, (3, 3 * u32::from(BUFFER_LEN)));
    let before = machine.pairs[0].rx_free.len();
    machine.clean_rx(0);
    assert_eq!(machine.pairs[0].rx_free.len() - before, buffers);
    assert!(machine.pairs[0].received == frames);
}

#[test]
fn nothing_but_the_frame_is_written() {
    let mut machine = Machine::new(1);
    machine.look(false, MANY);
    let before = machine.memory.all();
    machine.wire.incoming.push_back(frame(17, 1));
    machine.look(false, MANY);
    let after = machine.memory.all();
    let changed: Vec<_> = (0..after.len())
        .filter(|&at| before[at] != after[at])
        .collect();
    // The 17 bytes, none of them 0, and those of the completion: the length, the queue's index, and
    // the status's last. The request is 0.
    assert_eq!(changed.len(), 17 + 3);
    machine.napi(0);
    assert!(machine.pairs[0].received == [frame(17, 1)]);
}

#[test]
fn a_frame_waits_for_buffers() {
    let mut machine = Machine::with_depth(1, 4);
    assert_eq!(machine.set_feature(14, 0, &9000u32.to_le_bytes()), Ok(()));
    // 3 buffers are posted, which are enough for one jumbo frame.
    for seed in 0..3 {
        machine.wire.incoming.push_back(frame(9022, seed));
    }
    for seed in 0..3 {
        assert_eq!(machine.look(true, MANY).frames, 1);
        assert_eq!(machine.look(true, MANY), Default::default());
        assert_eq!(machine.wire.incoming.len(), 2 - usize::from(seed));
        machine.napi(0);
        assert!(machine.pairs[0].received.pop() == Some(frame(9022, seed)));
    }
    // One is not enough for any: it may be a long one.
    machine.wire.incoming.push_back(frame(60, 7));
    machine.wire.incoming.push_back(frame(60, 8));
    assert_eq!(machine.look(false, MANY).frames, 1);
    machine.clean_rx(0);
    assert_eq!(machine.look(false, MANY).frames, 0);
    machine.refill(0);
    assert_eq!(machine.look(false, MANY).frames, 1);
    assert_eq!(machine.card.counters().receive.errors, 0);
}

#[test]
fn buffers_are_seen_without_a_thorough_look() {
    let mut machine = Machine::with_depth(1, 8);
    for round in 0..1000u32 {
        for _ in 0..8 {
            machine.wire.incoming.push_back(frame(60, round as u8));
        }
        while !machine.wire.incoming.is_empty() {
            assert_ne!(machine.look(false, MANY).frames, 0);
            machine.napi(0);
        }
    }
    assert_eq!(machine.pairs[0].received.len(), 8000);
}

#[test]
fn received_frames_that_cant_be_are_dropped() {
    let mut machine = Machine::new(1);
    let posted = machine.pairs[0].rx_sq.free();
    for len in [0, 13, 20_000] {
        machine.wire.incoming.push_back(frame(len, 0));
    }
    assert_eq!(machine.look(false, MANY).frames, 3);
    machine.wire.header = VnetHeader {
        flags: NEEDS_CSUM,
        ..PLAIN
    };
    machine.wire.incoming.push_back(frame(100, 0));
    machine.look(false, MANY);
    // A TAP that says that a frame is longer than the buffers.
    machine.wire.header = PLAIN;
    machine.wire.too_many = 4000;
    machine.wire.incoming.push_back(frame(100, 0));
    machine.look(false, MANY);
    assert_eq!(machine.card.counters().receive.errors, 5);
    assert_eq!(machine.clean_rx(0), 0);
    assert!(!machine.pairs[0].interrupted);
    assert_eq!(machine.pairs[0].rx_sq.free(), posted);
}

#[test]
fn small_buffers_take_what_they_can() {
    let mut machine = Machine::new(1);
    machine.down();
    let cq = machine.create_cq(1, 16).unwrap();
    let mut sq = machine.create_sq(2, cq.index).unwrap();
    let memory = machine.memory.clone();
    let at = machine.alloc(0x1_0000);
    for request in 0..40 {
        let buffer = at + u64::from(request) * 64;
        sq.push(&memory, &rx_descriptor(buffer, 50, request));
    }
    machine.bar.set(sq.doorbell, sq.tail.into());
    machine.wire.incoming.extend([frame(850, 1), frame(851, 2)]);
    assert_eq!(machine.look(false, MANY).frames, 2);
    // sgl_size of Linux's driver.
    assert_eq!(machine.wire.offered, (17, 850));
    let counters = machine.card.counters().receive;
    assert_eq!((counters.frames, counters.errors), (1, 1));
    // A length of 0 is 64 KiB.
    one_buffer(&mut machine, 0);
    machine.wire.incoming.push_back(frame(1500, 1));
    assert_eq!(machine.look(false, MANY).frames, 1);
    assert_eq!(machine.wire.offered, (1, 0xffff));
}

/// Creates a receive queue that has one buffer of length `len`, as the descriptor says.
fn one_buffer(machine: &mut Machine, len: u16) {
    machine.reset();
    machine.init_admin();
    let cq = machine.create_cq(1, 16).unwrap();
    let mut sq = machine.create_sq(2, cq.index).unwrap();
    let memory = machine.memory.clone();
    let at = machine.alloc(0x1_0000);
    sq.push(&memory, &rx_descriptor(at, len, 0));
    machine.bar.set(sq.doorbell, sq.tail.into());
}

#[test]
fn an_interrupt_comes_once_until_it_is_unmasked() {
    let mut machine = Machine::new(1);
    for seed in 0..5 {
        machine.wire.incoming.push_back(frame(60, seed));
        send(&mut machine, 0, &frame(60, seed), &Offload::default());
        machine.look(false, MANY);
    }
    assert_eq!(machine.pairs[0].interrupts, 1);
    // What came meanwhile was taken, too; but the card can't know.
    machine.napi(0);
    machine.look(false, MANY);
    assert_eq!(machine.pairs[0].interrupts, 2);
    machine.napi(0);
    for _ in 0..10 {
        machine.look(true, MANY);
    }
    assert_eq!(machine.pairs[0].interrupts, 2);
    // The driver looks at its rings; then a frame comes; then it unmasks.
    machine.wire.incoming.push_back(frame(60, 9));
    machine.look(false, MANY);
    assert_eq!(machine.pairs[0].interrupts, 3);
    machine.pairs[0].interrupted = false;
    machine.clean_rx(0);
    machine.wire.incoming.push_back(frame(60, 10));
    machine.look(false, MANY);
    assert_eq!(machine.pairs[0].interrupts, 3);
    machine.unmask(0);
    machine.look(false, MANY);
    assert_eq!(machine.pairs[0].interrupts, 4);
    machine.napi(0);
    assert_eq!(machine.pairs[0].received.len(), 7);
}

#[test]
fn frames_go_to_the_pair_that_has_sent_last() {
    let mut machine = Machine::new(4);
    for pair in [2, 0, 3, 3, 1] {
        send(&mut machine, pair, &frame(60, 0), &Offload::default());
        machine.look(false, MANY);
        machine.napi(pair);
        machine.wire.incoming.push_back(frame(60, pair as u8));
        machine.look(false, MANY);
        for pair in 0..4 {
            machine.napi(pair);
        }
        machine.look(false, MANY);
    }
    let received: Vec<_> = machine
        .pairs
        .iter()
        .map(|pair| pair.received.len())
        .collect();
    assert_eq!(received, [1, 1, 1, 2]);
}

#[test]
fn frames_stay_with_a_pair_that_is_busy() {
    let mut machine = Machine::new(2);
    machine.wire.incoming.push_back(frame(60, 0));
    machine.look(false, MANY);
    assert!(machine.pairs[0].interrupted);
    // Pair 0 has not been unmasked, so its frames may not have been seen.
    send(&mut machine, 1, &frame(60, 0), &Offload::default());
    machine.wire.incoming.push_back(frame(60, 1));
    machine.look(false, MANY);
    machine.napi(0);
    // It has one more interrupt to take, for the second one.
    machine.wire.incoming.push_back(frame(60, 2));
    machine.look(false, MANY);
    machine.napi(0);
    machine.look(false, MANY);
    machine.napi(0);
    assert_eq!(machine.pairs[0].received.len(), 3);
    machine.wire.incoming.push_back(frame(60, 3));
    machine.look(false, MANY);
    machine.napi(1);
    assert_eq!(machine.pairs[1].received.len(), 1);
}

#[test]
fn a_pair_for_sending_only_receives_nothing() {
    // ena_create_io_tx_queues_in_range(), for XDP.
    let mut machine = Machine::off(2);
    machine.card.power_on(&machine.bar);
    machine.probe();
    machine.queues = 1;
    machine.up();
    machine.queues = 2;
    let cq = machine.create_cq(2, 8).unwrap();
    let mut sq = machine.create_sq(1, cq.index).unwrap();
    let memory = machine.memory.clone();
    let words = [60 | (7 << 26), 0, 0x1000, 0]
        .map(u32::to_le_bytes)
        .concat();
    sq.push(&memory, &words);
    machine.bar.set(sq.doorbell, sq.tail.into());
    machine.look(false, MANY);
    assert_eq!(machine.wire.sent.len(), 1);
    machine.wire.incoming.push_back(frame(60, 0));
    machine.look(false, MANY);
    machine.napi(0);
    assert_eq!(machine.pairs[0].received.len(), 1);
}

#[test]
fn nobody_waits_for_one_who_sends_much() {
    let mut machine = Machine::new(3);
    for _ in 0..30 {
        for pair in 0..2 {
            send(
                &mut machine,
                pair,
                &frame(60, pair as u8),
                &Offload::default(),
            );
        }
    }
    send(&mut machine, 2, &frame(60, 2), &Offload::default());
    machine.wire.incoming.push_back(frame(60, 3));
    let looked = machine.look(false, 32);
    assert_eq!((looked.frames, looked.is_busy), (32, true));
    let of = |machine: &Machine, seed| {
        let is_its = |sent: &&(VnetHeader, Vec<u8>)| sent.1[0] == seed;
        machine.wire.sent.iter().filter(is_its).count()
    };
    assert_eq!((of(&machine, 2), machine.wire.incoming.len()), (1, 0));
    assert!(of(&machine, 0) >= 8 && of(&machine, 1) >= 8);
    // A small budget gets around, too.
    let mut turns = 0;
    while machine.look(false, 1).is_busy {
        turns += 1;
    }
    assert_eq!(turns, 62 - 32);
    assert_eq!((of(&machine, 0), of(&machine, 1)), (30, 30));
}

#[test]
fn nothing_is_done_without_a_budget() {
    let mut machine = Machine::new(1);
    send(&mut machine, 0, &frame(60, 0), &Offload::default());
    let looked = machine.look(true, 0);
    assert_eq!((looked.frames, looked.is_busy), (0, true));
    assert!(machine.wire.sent.is_empty());
}

#[test]
fn rings_go_round_and_round() {
    let mut machine = Machine::with_depth(3, 16);
    let mut rng = Rng(16);
    let mut expected = vec![Vec::new(); 3];
    let mut sent = 0;
    let mut received = Vec::new();
    // More often than positions have values: 2^16.
    for round in 0..60_000u32 {
        let pair = rng.below(3) as usize;
        let len = 80 + rng.below(1400) as usize;
        let offload = match rng.below(3) {
            0 => Offload::default(),
            1 => Offload::checksum(IPV4 | TCP, 14, 20),
            _ => Offload::checksum(IPV6 | UDP, 14, 40),
        };
        let cuts = [14, 60][..rng.below(3) as usize].to_vec();
        let frame = frame(len, round as u8);
        if machine.xmit(pair, &frame, &cuts, &offload).is_some() {
            sent += 1;
            expected[pair].push(frame.clone());
        }
        machine.wire.incoming.push_back(frame.clone());
        received.push(frame);
        machine.look(rng.below(8) == 0, 1 + rng.below(8) as u32);
        while !machine.wire.incoming.is_empty() || rng.below(2) == 0 {
            machine.napi(rng.below(3) as usize);
            machine.look(false, 8);
        }
        // A frame's data lies at one place for each pair.
        while machine.wire.sent.len() < sent {
            machine.look(false, 8);
        }
        machine.memory.trace.borrow_mut().clear();
        machine.bar.reads.borrow_mut().clear();
        let sent_here = std::mem::take(&mut machine.wire.sent);
        sent = 0;
        for (_, frame) in sent_here {
            assert!(expected[pair].pop() == Some(frame));
        }
        if round % 100 == 0 {
            settle(&mut machine);
            let count: usize = machine.pairs.iter().map(|pair| pair.received.len()).sum();
            assert_eq!(count, received.len());
            for pair in &mut machine.pairs {
                pair.received.clear();
            }
            received.clear();
        }
    }
    settle(&mut machine);
    for pair in &machine.pairs {
        assert!(pair.tx_requests.iter().all(Option::is_none));
    }
    assert!(!machine.card.is_fatal());
}

/// Lets the driver take all that there is.
fn settle(machine: &mut Machine) {
    for _ in 0..4 {
        for pair in 0..machine.pairs.len() {
            machine.napi(pair);
        }
        machine.look(false, MANY);
    }
}
