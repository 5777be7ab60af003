// SPDX-License-Identifier: GPL-2.0

//! The ENA card against a driver that does what Linux's does (drivers/net/ethernet/amazon/ena): set-up,
//! life, and what goes wrong. tests/ena_frames.rs has frames.
//!
//! Offsets, opcodes and status codes are those of ena_admin_defs.h, in numbers.

use mint_unit::ena::registers::{vectors, BAR_LEN, MSIX_PENDING, MSIX_TABLE};
use mint_unit::ena::wire::Piece;
use mint_unit::memory_device::msix::Table;

#[path = "common/ena_driver.rs"]
#[allow(dead_code)]
mod ena_driver;
use ena_driver::{
    u16_at, u32_at, Access, Machine, Offload, AENQ_HEAD_DB, AQ_DB, CAPS, CONTROLLER_VERSION,
    CREATE_CQ, CREATE_SQ, DESTROY_CQ, DESTROY_SQ, DEV_CTL, DEV_STS, FATAL_ERROR, GET_STATS, MAC,
    MTU_MAX, READY, RESET_IN_PROGRESS, VERSION,
};

/// enum ena_admin_aq_completion_status
const RESOURCE_ALLOCATION_FAILURE: u8 = 1;
const UNSUPPORTED_OPCODE: u8 = 3;
const ILLEGAL_PARAMETER: u8 = 5;

fn probed(queues: u16) -> Machine {
    let mut machine = Machine::off(queues);
    machine.card.power_on(&machine.bar);
    machine.probe();
    machine
}

/// A frame that says who it is.
fn frame(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| seed.wrapping_add((at % 251) as u8))
        .collect()
}

#[test]
fn registers_are_as_the_driver_checks_them() {
    let machine = probed(2);
    // ena_com_validate_version(), ena_com_get_dma_width()
    assert_eq!(machine.bar.get(VERSION), 0x200);
    assert_eq!(machine.bar.get(CONTROLLER_VERSION), 1);
    assert_eq!(machine.bar.get(CAPS), 1 | (31 << 1) | (48 << 8));
    assert_eq!(machine.bar.get(DEV_STS), READY);
    for pairs in 1..=8 {
        assert!(Table::new(vectors(pairs), MSIX_TABLE, MSIX_PENDING).is_some());
    }
    assert_eq!(vectors(8), 9);
}

#[test]
fn device_attributes() {
    let mut machine = probed(2);
    let answer = machine.get_feature(1).unwrap();
    let features = u32_at(&answer, 16);
    let expected = [1, 2, 11, 12, 14, 26, 27, 28];
    assert_eq!(features, expected.iter().map(|id| 1 << id).sum::<u32>());
    assert_eq!(u32_at(&answer, 20), 0);
    assert_eq!((u32_at(&answer, 24), u32_at(&answer, 28)), (48, 48));
    assert_eq!(answer[32..38], MAC);
    assert_eq!(u32_at(&answer, 40), u32::from(MTU_MAX));
}

#[test]
fn features_that_there_are() {
    let mut machine = probed(3);
    let answer = machine.get_feature(2).unwrap();
    let words: Vec<_> = (0..7).map(|word| u32_at(&answer, 8 + 4 * word)).collect();
    // ena_calc_io_queue_size(): at least ENA_MIN_RING_SIZE, 256.
    assert_eq!(words, [3, 512, 3, 512, 0, 0, 128]);
    assert_eq!((u16_at(&answer, 36), u16_at(&answer, 38)), (17, 17));
    let answer = machine.get_feature(11).unwrap();
    // NETIF_F_IP_CSUM, _IPV6_CSUM, _TSO and _TSO6 in ena_set_dev_offloads(), and no more.
    assert_eq!((u32_at(&answer, 8), u32_at(&answer, 12)), (0b110_1010, 0));
    // ena_com_indirect_table_allocate(): ENA_RX_RSS_TABLE_LOG_SIZE is between both.
    let answer = machine.get_feature(12).unwrap();
    assert_eq!((u16_at(&answer, 8), u16_at(&answer, 10)), (7, 7));
    let answer = machine.get_feature(26).unwrap();
    assert_eq!((u32_at(&answer, 8), u32_at(&answer, 12)), (1, 1));
    // ena_get_link_ksettings()
    let answer = machine.get_feature(27).unwrap();
    assert_eq!((u32_at(&answer, 8), u32_at(&answer, 16)), (10_000, 2));
}

#[test]
fn what_there_is_not_is_unsupported() {
    let mut machine = probed(1);
    for feature in [0, 3, 4, 7, 10, 14, 18, 20, 28, 29, 31, 255] {
        assert_eq!(machine.get_feature(feature), Err(UNSUPPORTED_OPCODE));
    }
    for feature in [1, 2, 4, 10, 18, 20, 27] {
        assert_eq!(
            machine.set_feature(feature, 0, &[]),
            Err(UNSUPPORTED_OPCODE)
        );
    }
    for opcode in [0, 5, 10, 12, 255] {
        assert_eq!(machine.admin(opcode, &[]), Err(UNSUPPORTED_OPCODE));
    }
    for kind in 1..5 {
        let stats = machine.admin(GET_STATS, &[(16, &[kind])]);
        assert_eq!(stats, Err(UNSUPPORTED_OPCODE));
    }
    assert!(!machine.card.is_fatal());
}

#[test]
fn values_that_cant_be_are_refused() {
    let mut machine = probed(1);
    for mtu in [0, 127, 9001, 0x1_0000 + 1500] {
        let mtu: u32 = mtu;
        let set = machine.set_feature(14, 0, &mtu.to_le_bytes());
        assert_eq!(set, Err(ILLEGAL_PARAMETER));
    }
    for mtu in [128, 9000] {
        let mtu: u32 = mtu;
        assert_eq!(machine.set_feature(14, 0, &mtu.to_le_bytes()), Ok(()));
    }
    // Keep-alive is not offered.
    let set = machine.set_feature(26, 4, &0x11u32.to_le_bytes());
    assert_eq!(set, Err(ILLEGAL_PARAMETER));
    let set = machine.set_feature(12, 4, &6u16.to_le_bytes());
    assert_eq!(set, Err(ILLEGAL_PARAMETER));
}

fn create_cq(machine: &mut Machine, fields: &[(usize, &[u8])]) -> Result<Vec<u8>, u8> {
    let base = 0x1000u64.to_le_bytes();
    let depth = 64u16.to_le_bytes();
    let mut all: Vec<(usize, &[u8])> = vec![(4, &[0x20, 2]), (6, &depth), (8, &[1]), (12, &base)];
    all.extend(fields);
    machine.admin(CREATE_CQ, &all)
}

#[test]
fn queues_that_cant_be_are_refused() {
    let mut machine = probed(2);
    let wrong: [&[(usize, &[u8])]; 8] = [
        // Depths: not a power of 2, none, and more than offered.
        &[(6, &[63])],
        &[(6, &[0, 0])],
        &[(6, &[0, 4])],
        // Lengths of entries.
        &[(5, &[0])],
        &[(5, &[8])],
        // Vectors: that of management, and one that is not there.
        &[(8, &[0])],
        &[(8, &[3])],
        // An address that is not aligned.
        &[(12, &[1])],
    ];
    for fields in wrong {
        assert_eq!(create_cq(&mut machine, fields), Err(ILLEGAL_PARAMETER));
    }
    let cq = machine.create_cq(1, 8).unwrap();
    let index = cq.index.to_le_bytes();
    let sq: [(usize, &[u8]); 4] = [
        (4, &[1 << 5, 0, 1, 1]),
        (8, &index),
        (10, &[64, 0]),
        (12, &[0, 0x10]),
    ];
    let wrong: [&[(usize, &[u8])]; 8] = [
        // The wrong way, or none.
        &[(4, &[2 << 5])],
        &[(4, &[0])],
        // In the card's memory; in pieces.
        &[(6, &[3])],
        &[(7, &[0])],
        // A CQ that is not there.
        &[(8, &[2])],
        &[(8, &[0xff, 0xff])],
        &[(10, &[65])],
        &[(12, &[2])],
    ];
    for fields in wrong {
        let mut all = sq.to_vec();
        all.extend(fields);
        assert_eq!(machine.admin(CREATE_SQ, &all), Err(ILLEGAL_PARAMETER));
    }
    assert!(machine.admin(CREATE_SQ, &sq).is_ok());
    // A CQ has one SQ.
    assert_eq!(machine.admin(CREATE_SQ, &sq), Err(ILLEGAL_PARAMETER));
    // It goes after the SQ.
    let cq: [(usize, &[u8]); 1] = [(4, &index)];
    assert_eq!(machine.admin(DESTROY_CQ, &cq), Err(ILLEGAL_PARAMETER));
    assert!(machine.admin(DESTROY_SQ, &cq).is_ok());
    assert_eq!(machine.admin(DESTROY_SQ, &cq), Err(ILLEGAL_PARAMETER));
    assert!(machine.admin(DESTROY_CQ, &cq).is_ok());
    assert_eq!(machine.admin(DESTROY_CQ, &cq), Err(ILLEGAL_PARAMETER));
    assert_eq!(
        machine.admin(DESTROY_CQ, &[(4, &[16, 0])]),
        Err(ILLEGAL_PARAMETER)
    );
}

#[test]
fn there_are_as_many_queues_as_offered() {
    let mut machine = probed(2);
    for entry_len in [8, 16] {
        for vector in [1, 2] {
            assert!(machine.create_cq(vector, entry_len).is_ok());
        }
        let more = machine.create_cq(1, entry_len);
        assert_eq!(more.map(|_| ()), Err(RESOURCE_ALLOCATION_FAILURE));
    }
}

#[test]
fn admin_commands_interrupt_unless_the_driver_polls() {
    let mut machine = Machine::off(1);
    machine.card.power_on(&machine.bar);
    machine.reset();
    machine.init_admin();
    assert!(machine.get_feature(1).is_ok());
    assert_eq!(machine.management_interrupts, 0);
    machine.bar.set(0x4c, 0);
    assert!(machine.get_feature(1).is_ok());
    assert_eq!(machine.management_interrupts, 1);
}

#[test]
fn many_admin_commands_are_answered_in_turn() {
    let mut machine = probed(1);
    for _ in 0..20 {
        let ids: Vec<_> = (0..32)
            .map(|_| machine.submit_admin(GET_STATS, &[]))
            .collect();
        for id in ids {
            let answer = loop {
                match machine.answer(id) {
                    Some(answer) => break answer,
                    None => assert!(machine.look(false, 1).is_busy),
                }
            };
            assert!(answer.is_ok());
        }
        // Not more than some at a time.
        assert!(!machine.look(false, 1).is_busy);
    }
}

#[test]
fn admin_commands_come_from_rings_that_can_be() {
    for (register, value) in [(0x18, 32 | (63 << 16)), (0x18, 33 | (64 << 16)), (0x28, 0)] {
        let mut machine = Machine::off(1);
        machine.card.power_on(&machine.bar);
        machine.reset();
        machine.init_admin();
        machine.bar.set(register, value);
        machine.submit_admin(GET_STATS, &[]);
        machine.look(true, 1);
        assert!(machine.card.is_fatal());
    }
}

#[test]
fn the_link_is_told_once_the_driver_is_ready() {
    let mut machine = probed(1);
    machine.is_running = false;
    let before = machine.management_interrupts;
    machine.look(false, 8);
    assert_eq!(machine.management_interrupts, before);
    // The driver does not take it, so the interrupt comes again, but not each time.
    for _ in 0..80 {
        machine.look(true, 8);
    }
    assert_eq!(machine.management_interrupts, before + 10);
    machine.is_running = true;
    for _ in 0..8 {
        machine.look(true, 8);
    }
    assert_eq!(machine.link, Some(true));
    // And then no more.
    let interrupts = machine.management_interrupts;
    for _ in 0..80 {
        machine.look(true, 8);
    }
    assert_eq!(machine.management_interrupts, interrupts);
}

#[test]
fn each_change_of_the_link_is_told() {
    let mut machine = probed(1);
    machine.look(true, 8);
    assert_eq!(machine.link, Some(true));
    // More often than the ring has entries, and than positions have values.
    for round in 0..70_000 {
        let is_up = round % 2 == 1;
        machine.card.set_link(is_up);
        machine.look(true, 8);
        machine.look(true, 8);
        assert_eq!(machine.link, Some(is_up));
        machine.memory.trace.borrow_mut().clear();
        machine.bar.reads.borrow_mut().clear();
    }
    // Up and down again between two looks is nothing new.
    let interrupts = machine.management_interrupts;
    machine.card.set_link(false);
    machine.card.set_link(true);
    machine.look(true, 8);
    assert_eq!(machine.management_interrupts, interrupts);
}

#[test]
fn a_link_that_is_down_is_told_after_a_reset() {
    let mut machine = probed(1);
    machine.card.set_link(false);
    machine.look(true, 8);
    assert_eq!(machine.link, Some(false));
    machine.probe();
    machine.look(true, 8);
    assert_eq!(machine.link, Some(false));
}

#[test]
fn no_event_before_the_driver_asks() {
    let mut machine = Machine::off(1);
    machine.card.power_on(&machine.bar);
    machine.reset();
    machine.init_admin();
    machine.bar.set(AENQ_HEAD_DB, 16);
    assert!(machine.get_feature(1).is_ok());
    machine.look(true, 1);
    machine.take_events();
    assert_eq!(machine.link, None);
    // The group, but not yet the head.
    assert_eq!(machine.set_feature(26, 4, &[1, 0, 0, 0]), Ok(()));
    machine.bar.set(AENQ_HEAD_DB, 0);
    machine.look(true, 1);
    machine.take_events();
    assert_eq!(machine.link, None);
    machine.bar.set(AENQ_HEAD_DB, 16);
    machine.look(true, 1);
    machine.take_events();
    assert_eq!(machine.link, Some(true));
}

#[test]
fn an_idle_look_reads_no_register() {
    let mut machine = Machine::new(4);
    machine.look(true, 32);
    machine.look(true, 32);
    machine.bar.reads.borrow_mut().clear();
    assert_eq!(machine.look(false, 32), Default::default());
    assert!(machine.bar.reads.borrow().is_empty());
    // A thorough one reads DEV_CTL.
    machine.look(true, 32);
    assert_eq!(*machine.bar.reads.borrow(), [DEV_CTL]);
}

#[test]
fn completions_are_there_before_their_phase() {
    let mut machine = Machine::new(1);
    machine
        .xmit(0, &frame(60, 0), &[], &Offload::default())
        .unwrap();
    machine.wire.incoming.push_back(frame(60, 1));
    machine.memory.trace.borrow_mut().clear();
    machine.look(false, 8);
    let trace = machine.memory.trace.borrow();
    let write = |index: usize| match &trace[index] {
        Access::Write(at, bytes) => (*at, bytes.clone()),
        Access::Barrier => panic!("{trace:?}"),
    };
    let phases: Vec<_> = (0..trace.len())
        .filter(|&index| matches!(&trace[index], Access::Write(_, bytes) if bytes.len() == 1))
        .collect();
    assert_eq!(phases.len(), 2);
    for (index, len) in phases.into_iter().zip([8, 16]) {
        let (at, last) = write(index);
        assert_eq!(trace[index - 1], Access::Barrier);
        let (start, entry) = write(index - 2);
        assert_eq!((start, entry.len()), (at - 3, len));
        // In the first round, the phase of the round before is 0.
        assert_eq!((entry[3] & 1, last), (0, vec![entry[3] | 1]));
    }
}

#[test]
fn statistics() {
    let mut machine = Machine::new(1);
    for _ in 0..3 {
        machine
            .xmit(0, &frame(100, 0), &[], &Offload::default())
            .unwrap();
        machine.look(false, 8);
    }
    // Too short.
    machine
        .xmit(0, &frame(13, 0), &[], &Offload::default())
        .unwrap();
    machine.wire.incoming.push_back(frame(70, 0));
    machine.wire.incoming.push_back(frame(20_000, 0));
    machine.look(false, 8);
    machine.card.set_link(false);
    machine
        .xmit(0, &frame(60, 0), &[], &Offload::default())
        .unwrap();
    machine.look(false, 8);
    let answer = machine.admin(GET_STATS, &[]).unwrap();
    let counts: Vec<_> = (0..6).map(|at| u32_at(&answer, 8 + 8 * at)).collect();
    assert_eq!(counts, [300, 3, 70, 1, 1, 2]);
    let counters = *machine.card.counters();
    assert_eq!((counters.transmit.errors, counters.transmit.drops), (1, 1));
    assert_eq!((counters.receive.errors, counters.receive.drops), (1, 0));
    assert_eq!((counters.resets, counters.failures), (1, 0));
}

#[test]
fn down_and_up() {
    let mut machine = Machine::new(3);
    for round in 0..20 {
        machine.down();
        machine.up();
        let pair = round % 3;
        let sent = machine.wire.sent.len();
        machine
            .xmit(pair, &frame(60, 7), &[], &Offload::default())
            .unwrap();
        machine.look(false, 8);
        assert_eq!(machine.wire.sent.len(), sent + 1);
        assert_eq!(machine.napi(pair).len(), 1);
    }
    assert_eq!(machine.link, None);
    machine.look(true, 8);
    assert_eq!(machine.link, Some(true));
}

#[test]
fn an_interrupt_that_no_queue_has_is_forgotten() {
    let mut machine = Machine::new(1);
    machine
        .xmit(0, &frame(60, 7), &[], &Offload::default())
        .unwrap();
    machine.look(false, 8);
    assert!(machine.pairs[0].interrupted);
    machine
        .xmit(0, &frame(60, 7), &[], &Offload::default())
        .unwrap();
    // Masked: it stays with the queue, and goes with it.
    machine.look(false, 8);
    let unmask = machine.pairs[0].tx_cq.unmask;
    machine.down();
    machine.bar.set(unmask, 1 << 30);
    machine.look(false, 8);
    assert_eq!(machine.raised, 0);
}

#[test]
fn a_reset_forgets_all() {
    let mut machine = Machine::new(2);
    machine
        .xmit(0, &frame(60, 1), &[], &Offload::default())
        .unwrap();
    machine.wire.is_full = true;
    machine.look(false, 8);
    machine.wire.incoming.push_back(frame(60, 2));
    let memory = machine.memory.all();
    machine.bar.set(DEV_CTL, 1);
    machine.look(true, 8);
    assert_eq!(machine.bar.get(DEV_STS), READY | RESET_IN_PROGRESS);
    // Until the driver clears the bit, nothing happens.
    machine.wire.is_full = false;
    machine.look(true, 8);
    assert_eq!(machine.bar.get(AQ_DB), 0);
    machine.bar.set(DEV_CTL, 0);
    machine.look(true, 8);
    assert_eq!(machine.bar.get(DEV_STS), READY);
    machine.look(true, 8);
    assert!(machine.memory.all() == memory);
    assert!(machine.wire.sent.is_empty());
    machine.probe();
    machine.up();
    machine.look(true, 8);
    assert_eq!(machine.link, Some(true));
    assert_eq!(machine.wire.incoming.len(), 0);
    machine.napi(0);
    machine.napi(1);
    let received = machine.pairs.iter().map(|pair| pair.received.len());
    assert_eq!(received.sum::<usize>(), 1);
    assert_eq!(machine.card.counters().resets, 3);
}

#[test]
fn a_new_kernel_finds_the_card_of_the_old_one() {
    // A panic in the midst of a reset, and a new start by the successor itself (kexec).
    let mut machine = Machine::new(1);
    machine.bar.set(DEV_CTL, 1);
    machine.look(true, 8);
    machine.probe();
    machine.up();
    machine.look(true, 8);
    assert_eq!(machine.link, Some(true));
    // A new start by the first OS.
    machine.card.power_off();
    machine.card.power_on(&machine.bar);
    for offset in (0x10..MSIX_TABLE).step_by(4).filter(|at| *at != DEV_STS) {
        assert_eq!(machine.bar.get(offset), 0, "{offset:#x}");
    }
    machine.probe();
    machine.up();
    machine.look(true, 8);
    assert_eq!(machine.link, Some(true));
}

#[test]
fn a_card_that_is_off_touches_nothing() {
    let mut machine = Machine::new(1);
    machine
        .xmit(0, &frame(60, 1), &[], &Offload::default())
        .unwrap();
    machine.wire.incoming.push_back(frame(60, 2));
    machine.card.power_off();
    machine.memory.trace.borrow_mut().clear();
    machine.bar.reads.borrow_mut().clear();
    let memory = machine.memory.all();
    assert_eq!(machine.look(true, 8), Default::default());
    assert!(machine.memory.all() == memory);
    assert!(machine.bar.reads.borrow().is_empty());
    assert!(machine.wire.sent.is_empty() && machine.wire.incoming.len() == 1);
}

#[test]
fn a_card_that_is_gone_reads_as_ones() {
    let mut machine = Machine::new(1);
    machine.card.vanish(&machine.bar);
    for offset in (0..MSIX_TABLE).step_by(4) {
        assert_eq!(machine.bar.get(offset), u32::MAX);
    }
    for offset in (MSIX_TABLE..BAR_LEN).step_by(4) {
        assert_eq!(machine.bar.get(offset), 0);
    }
    machine.card.power_on(&machine.bar);
    machine.card.set_link(false);
    assert_eq!(machine.look(true, 8), Default::default());
    assert_eq!(machine.bar.get(VERSION), u32::MAX);
}

/// Lets a driver do something wrong: the card must stop, until it is reset.
fn is_fatal(wrong: impl Fn(&mut Machine)) {
    let mut machine = Machine::new(2);
    machine.look(true, 8);
    wrong(&mut machine);
    machine.look(false, 8);
    assert!(machine.card.is_fatal());
    assert_eq!(machine.bar.get(DEV_STS), READY | FATAL_ERROR);
    assert_eq!(machine.card.counters().failures, 1);
    machine.wire.sent.clear();
    let memory = machine.memory.all();
    machine.bar.reads.borrow_mut().clear();
    machine
        .xmit(1, &frame(60, 0), &[], &Offload::default())
        .unwrap();
    let with_frame = machine.memory.all();
    assert!(with_frame != memory);
    assert_eq!(machine.look(false, 8), Default::default());
    assert_eq!(machine.look(true, 8), Default::default());
    assert!(machine.memory.all() == with_frame);
    assert_eq!(*machine.bar.reads.borrow(), [DEV_CTL]);
    assert!(machine.wire.sent.is_empty());
    machine.probe();
    machine.up();
    assert!(!machine.card.is_fatal());
    machine
        .xmit(1, &frame(60, 0), &[], &Offload::default())
        .unwrap();
    machine.look(false, 8);
    assert_eq!(machine.wire.sent.len(), 1);
}

/// A transmit descriptor without its phase.
fn descriptor(machine: &mut Machine, word0: u32) {
    let at = machine.pairs[0].data as u32;
    let words = [word0, 0, at, 0].map(u32::to_le_bytes).concat();
    let memory = machine.memory.clone();
    machine.pairs[0].tx_sq.push(&memory, &words);
}

const FIRST: u32 = 1 << 26;
const LAST: u32 = 1 << 27;

#[test]
fn a_doorbell_that_cant_be_stops_the_card() {
    for tail in [65, 0xffff, 0x1_0000, u32::MAX] {
        is_fatal(|machine| {
            machine.prepare(
                0,
                &[Piece {
                    address: 0x1000,
                    len: 60,
                }],
                &Offload::default(),
            );
            machine.bar.set(machine.pairs[0].tx_sq.doorbell, tail);
            machine.look(false, 8);
            assert!(machine.wire.sent.is_empty());
        });
    }
    is_fatal(|machine| {
        machine.submit_admin(GET_STATS, &[]);
        machine.bar.set(AQ_DB, 5000);
    });
}

#[test]
fn descriptors_that_cant_be_stop_the_card() {
    let cases: [&[u32]; 8] = [
        // No first one.
        &[60 | LAST],
        // No last one.
        &[60 | FIRST],
        &[60 | FIRST, 60],
        // Two first ones.
        &[60 | FIRST, 60 | FIRST | LAST],
        // Metadata without a frame, twice, or in a frame.
        &[FIRST | (1 << 23)],
        &[FIRST | (1 << 23), 1 << 23, 60 | LAST],
        &[60 | FIRST, (1 << 23) | LAST],
        // A frame with metadata that begins twice.
        &[FIRST | (1 << 23), 60 | FIRST | LAST],
    ];
    for words in cases {
        is_fatal(|machine| {
            for word in words {
                descriptor(machine, *word);
            }
            machine.ring_tx(0);
        });
    }
    for empty in [false, true] {
        is_fatal(|machine| {
            // One more than 18.
            descriptor(machine, 60 | FIRST);
            for _ in 0..17 {
                descriptor(machine, if empty { 0 } else { 60 });
            }
            descriptor(machine, 60 | LAST);
            machine.ring_tx(0);
        });
    }
}

#[test]
fn an_entry_of_another_round_stops_the_card() {
    is_fatal(|machine| {
        descriptor(machine, 60 | FIRST | LAST);
        descriptor(machine, 60 | FIRST | LAST);
        // The second one is what was there before.
        let at = machine.pairs[0].tx_sq.base + 16 + 3;
        let byte = machine.memory.bytes(at, 1)[0];
        machine.memory.put(at, &[byte ^ 1]);
        machine.ring_tx(0);
        machine.look(false, 8);
        assert_eq!(machine.wire.sent.len(), 1);
    });
}

#[test]
fn rings_outside_of_memory_stop_the_card() {
    let mut machine = probed(1);
    let at = (machine.memory.size() as u64).to_le_bytes();
    let cq = create_cq(&mut machine, &[(12, &at)]).unwrap();
    let mut sq = machine.create_sq(1, u16_at(&cq, 8)).unwrap();
    let words = [60 | FIRST | LAST | (1 << 28), 0, 0x1000, 0];
    sq.push(&machine.memory, &words.map(u32::to_le_bytes).concat());
    machine.bar.set(sq.doorbell, sq.tail.into());
    machine.look(false, 8);
    assert!(machine.card.is_fatal());
}
