// SPDX-License-Identifier: GPL-2.0

//! The NVMe controller against a driver that does what Linux's does (drivers/nvme/host/pci.c).
//!
//! Offsets, opcodes and status codes are those of include/linux/nvme.h, in numbers.

use mint_unit::nvme::dataset;
use mint_unit::nvme::status::Outcome;
use mint_unit::nvme::storage::Operation;

#[path = "common/nvme_driver.rs"]
mod nvme_driver;
use nvme_driver::{command, Access, Command, Machine, BLOCKS, DATA, MEMORY_LEN};

const DNR: u16 = 0x4000;

// enum nvme_admin_opcode
const DELETE_SQ: u8 = 0x00;
const CREATE_SQ: u8 = 0x01;
const GET_LOG_PAGE: u8 = 0x02;
const DELETE_CQ: u8 = 0x04;
const CREATE_CQ: u8 = 0x05;
const IDENTIFY: u8 = 0x06;
const ABORT: u8 = 0x08;
const SET_FEATURES: u8 = 0x09;
const GET_FEATURES: u8 = 0x0a;
const ASYNC_EVENT: u8 = 0x0c;
const DBBUF: u8 = 0x7c;
// enum nvme_opcode
const FLUSH: u8 = 0x00;
const WRITE: u8 = 0x01;
const READ: u8 = 0x02;
const WRITE_ZEROES: u8 = 0x08;
const DSM: u8 = 0x09;

/// NVME_REG_*
const CAP: u32 = 0x00;
const VS: u32 = 0x08;
const CC: u32 = 0x14;
const CSTS: u32 = 0x1c;

/// nvme_enable_ctrl(): NVME_CC_IOSQES, NVME_CC_IOCQES, NVME_CC_ENABLE.
const ENABLED: u32 = (6 << 16) | (4 << 20) | 1;

fn rw(opcode: u8, lba: u64, blocks: u32, prps: [u64; 2]) -> Command {
    let mut rw = command(opcode, 1, prps);
    rw.dwords[0] = lba as u32;
    rw.dwords[1] = (lba >> 32) as u32;
    rw.dwords[2] = blocks - 1;
    rw
}

fn identify(machine: &mut Machine, cns: u32, namespace: u32) -> Result<Vec<u8>, u16> {
    let mut identify = command(IDENTIFY, namespace, [DATA, 0]);
    identify.dwords[0] = cns;
    machine.memory.fill(DATA, 4096, 0xa5);
    machine.admin(&identify)?;
    Ok(machine.memory.bytes(DATA, 4096))
}

fn log_page(machine: &mut Machine, page: u32, offset: u32, len: u32) -> Result<Vec<u8>, u16> {
    let mut get = command(GET_LOG_PAGE, u32::MAX, [DATA, DATA + 4096]);
    get.dwords[0] = page | ((len / 4 - 1) << 16);
    get.dwords[2] = offset;
    machine.memory.fill(DATA, len as usize, 0xa5);
    machine.admin(&get)?;
    Ok(machine.memory.bytes(DATA, len as usize))
}

fn features(machine: &mut Machine, opcode: u8, dword10: u32, dword11: u32) -> Result<u32, u16> {
    let mut features = command(opcode, 0, [0; 2]);
    features.dwords[0] = dword10;
    features.dwords[1] = dword11;
    machine.admin(&features)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(bytes[at..at + 16].try_into().unwrap())
}

#[test]
fn registers_after_power_on() {
    let machine = Machine::off(4);
    let cap = u64::from(machine.register(CAP)) | (u64::from(machine.register(CAP + 4)) << 32);
    // NVME_CAP_MQES, CQR, NVME_CAP_TIMEOUT, NVME_CAP_STRIDE, NVME_CAP_CSS, NVME_CAP_MPSMIN and
    // NVME_CAP_MPSMAX, and all other bits.
    assert_eq!(cap & 0xffff, 1023);
    assert_eq!((cap >> 16) & 1, 1);
    assert_eq!((cap >> 24) & 0xff, 2 * 60);
    assert_eq!((cap >> 32) & 0xf, 0);
    assert_eq!((cap >> 37) & 0xff, 1);
    assert_eq!(cap >> 48, 0);
    assert_eq!(cap & !(0xffff | (1 << 16) | (0xff << 24) | (0xff << 37)), 0);
    // NVME_VS(1, 4, 0)
    assert_eq!(machine.register(VS), (1 << 16) | (4 << 8));
    assert_eq!((machine.register(CC), machine.register(CSTS)), (0, 0));
}

#[test]
fn enable_and_disable() {
    let mut machine = Machine::off(4);
    machine.set_admin_queues();
    machine.write(CC, ENABLED & !1);
    machine.look();
    assert_eq!(machine.register(CSTS), 0);
    machine.write(CC, ENABLED);
    // Not seen by a look that is not thorough.
    machine.look_quickly();
    assert_eq!(machine.register(CSTS), 0);
    machine.look();
    assert_eq!(machine.register(CSTS), 1);
    machine.write(CC, ENABLED & !1);
    machine.look();
    assert_eq!(machine.register(CSTS), 0);
}

#[test]
fn what_can_not_be_enabled_is_fatal() {
    // NVME_REG_AQA with a queue of one entry, NVME_REG_ASQ and NVME_REG_ACQ within a page.
    for (register, value) in [(0x24, 0), (0x24, 31), (0x28, 0x1004), (0x30, 0x2800)] {
        let mut machine = Machine::off(4);
        machine.set_admin_queues();
        machine.write(register, value);
        machine.write(CC, ENABLED);
        machine.look();
        assert_eq!(machine.register(CSTS), 2, "{register:#x}");
        assert!(machine.controller.is_fatal());
        // NVME_CSTS_CFS is gone after a reset.
        machine.write(CC, 0);
        machine.look();
        assert_eq!(machine.register(CSTS), 0);
    }
    // NVME_CC_CSS_CSI, a page of 8 KiB, NVME_CC_AMS_WRRU.
    for bits in [6 << 4, 1 << 7, 1 << 11] {
        let mut machine = Machine::off(4);
        machine.set_admin_queues();
        machine.write(CC, ENABLED | bits);
        machine.look();
        assert_eq!(machine.register(CSTS), 2, "{bits:#x}");
    }
}

/// struct nvme_id_ctrl
#[test]
fn identify_controller() {
    let mut machine = Machine::new(4);
    let id = identify(&mut machine, 1, 0).unwrap();
    assert_eq!((u16_at(&id, 0), u16_at(&id, 2)), (0x1b36, 0x1af4));
    assert_eq!(&id[4..24], b"serial              ");
    assert_eq!(&id[24..64], b"model                                   ");
    assert_eq!(&id[64..72], b"1       ");
    assert_eq!(id[77], 5);
    assert_eq!(u32_at(&id, 80), 0x1_0400);
    assert_eq!(u32_at(&id, 88), 30_000_000);
    // NVME_AEN_CFG_NS_ATTR, NVME_CTRL_IO
    assert_eq!(u32_at(&id, 92), 1 << 8);
    assert_eq!(id[111], 1);
    // NVME_CTRL_OACS_DBBUF_SUPP, NVME_CTRL_LPA_CMD_EFFECTS_LOG
    assert_eq!(u16_at(&id, 256), 1 << 8);
    assert_eq!(id[261] & 2, 2);
    assert_eq!((id[512], id[513]), (0x66, 0x44));
    assert_eq!(u32_at(&id, 516), 1);
    // NVME_CTRL_ONCS_DSM, NVME_CTRL_ONCS_WRITE_ZEROES, NVME_CTRL_VWC_PRESENT
    assert_eq!(u16_at(&id, 520) & 0x6f, (1 << 2) | (1 << 3));
    assert_eq!(id[525] & 1, 1);
    let name = b"nqn.2014-08.org.nvmexpress:uuid:00112233-4455-6677-8899-aabbccddeeff\0";
    assert_eq!(&id[768..][..name.len()], name);
    // There is nothing else. From 2048 on there are power states.
    assert!(id[100..111]
        .iter()
        .chain(&id[768 + 68..])
        .all(|&byte| byte == 0));
}

/// struct nvme_id_ns
#[test]
fn identify_namespace() {
    let mut machine = Machine::new(4);
    let id = identify(&mut machine, 0, 1).unwrap();
    for at in [0, 8, 16] {
        assert_eq!(u64_at(&id, at), BLOCKS);
    }
    // FLBAS, DLFEAT, NOIOB, NVMCAP
    assert_eq!((id[25], id[26], id[33], u16_at(&id, 46)), (0, 0, 9, 0));
    assert_eq!(u128_at(&id, 48), u128::from(BLOCKS) * 512);
    // NVME_NS_FEAT_OPTPERF_SHIFT: npwg, npwa, npdg, npda, nows
    assert_eq!(id[24], 1 << 4);
    for at in [64, 66, 68, 70] {
        assert_eq!(u16_at(&id, at), 7);
    }
    assert_eq!(u16_at(&id, 72), 255);
    assert_eq!(id[99], 0);
    // lbaf[0]: no metadata, 2^9 bytes.
    assert_eq!(&id[128..132], [0, 0, 9, 0]);
    assert!(id[132..].iter().all(|&byte| byte == 0));

    for namespace in [0, 2, u32::MAX] {
        assert_eq!(identify(&mut machine, 0, namespace), Err(0x0b | DNR));
        assert_eq!(identify(&mut machine, 3, namespace), Err(0x0b | DNR));
    }
}

#[test]
fn blocks_of_4_kib() {
    let mut machine = Machine::off(1);
    machine.disk(|disk| {
        (disk.blocks, disk.block_shift) = (1000, 12);
        disk.discard_zeroes = false;
    });
    machine.boot(1);
    let id = identify(&mut machine, 0, 1).unwrap();
    assert_eq!((u64_at(&id, 0), u128_at(&id, 48)), (1000, 1000 * 4096));
    // DLFEAT, npwg, nows, lbaf[0].ds
    assert_eq!((id[33], id[130]), (0, 12));
    assert_eq!((u16_at(&id, 64), u16_at(&id, 72)), (0, 31));
    // MDTS
    let status = machine.io(1, &rw(READ, 0, 33, [DATA, 0x7000]));
    assert_eq!(status, 0x02 | DNR);
    machine.submit(1, &rw(READ, 0, 32, [DATA, 0x7000]));
    machine.look();
    assert_eq!(machine.controller.outstanding(), 1);
}

/// NVME_ID_CNS_NS_ACTIVE_LIST, NVME_ID_CNS_NS_DESC_LIST, and those of later versions.
#[test]
fn identify_lists() {
    let mut machine = Machine::new(4);
    let first = |machine: &mut _, above| {
        identify(machine, 2, above).map(|list| {
            assert!(list[4..].iter().all(|&byte| byte == 0));
            u32_at(&list, 0)
        })
    };
    assert_eq!(first(&mut machine, 0), Ok(1));
    assert_eq!(first(&mut machine, 1), Ok(0));
    assert_eq!(first(&mut machine, u32::MAX), Err(0x0b | DNR));

    // struct nvme_ns_id_desc with NVME_NIDT_UUID, then the end.
    let list = identify(&mut machine, 3, 1).unwrap();
    assert_eq!(&list[..4], [3, 16, 0, 0]);
    assert_eq!(&list[4..20], machine.controller.disk().uuid);
    assert!(list[20..].iter().all(|&byte| byte == 0));

    for cns in [
        4, 5, 6, 7, 8, 0x10, 0x11, 0x12, 0x13, 0x15, 0x16, 0x17, 0xff,
    ] {
        assert_eq!(identify(&mut machine, cns, 1), Err(0x02 | DNR), "{cns:#x}");
    }
}

#[test]
fn read_only_disk() {
    let mut machine = Machine::off(1);
    machine.disk(|disk| disk.read_only = true);
    machine.boot(1);
    // NVME_NS_ATTR_RO, and no discard.
    assert_eq!(identify(&mut machine, 0, 1).unwrap()[99], 1);
    assert_eq!(u16_at(&identify(&mut machine, 1, 0).unwrap(), 520) & 4, 0);
    // NVME_SC_NS_WRITE_PROTECTED
    for opcode in [WRITE, WRITE_ZEROES] {
        let status = machine.io(1, &rw(opcode, 0, 1, [DATA, 0]));
        assert_eq!(status, 0x20 | DNR);
    }
    assert_eq!(machine.io(1, &command(DSM, 1, [DATA, 0])), 0x01 | DNR);
    assert_eq!(machine.io(1, &command(FLUSH, 1, [0; 2])), 0);
    assert_eq!(machine.io(1, &rw(READ, 0, 1, [DATA, 0])), 0);
    assert_eq!(machine.storage.flushes, 0);
}

#[test]
fn number_of_queues() {
    let mut machine = Machine::off(4);
    machine.start();
    assert_eq!(
        features(&mut machine, SET_FEATURES, 7, 0x8_0008),
        Ok(0x3_0003)
    );
    assert_eq!(features(&mut machine, GET_FEATURES, 7, 0), Ok(0x3_0003));
    assert_eq!(
        features(&mut machine, SET_FEATURES, 7, 0xffff),
        Err(0x02 | DNR)
    );
    machine.create_queues(1);
    // NVME_SC_CMD_SEQ_ERROR
    assert_eq!(
        features(&mut machine, SET_FEATURES, 7, 0x8_0008),
        Err(0x0c | DNR)
    );
}

#[test]
fn features_are_kept_until_a_reset() {
    let mut machine = Machine::new(1);
    // NVME_FEAT_ARBITRATION to NVME_FEAT_ASYNC_EVENT: set, then the default.
    for (feature, value, default) in [
        (0x01, 0x0302_0103, 0),
        (0x04, 0x0150, 0x157),
        (0x05, 0x0007, 0),
        (0x06, 0, 1),
        (0x08, 0x0105, 0),
        (0x0a, 1, 0),
        (0x0b, 0x0101, 0),
    ] {
        assert_eq!(
            features(&mut machine, GET_FEATURES, feature, 0),
            Ok(default)
        );
        assert_eq!(features(&mut machine, SET_FEATURES, feature, value), Ok(0));
        let value = if feature == 4 { 0x150 } else { value };
        assert_eq!(features(&mut machine, GET_FEATURES, feature, 0), Ok(value));
        // Select: default, saved.
        for select in [1 << 8, 2 << 8] {
            let got = features(&mut machine, GET_FEATURES, feature | select, 0);
            assert_eq!(got, Ok(default));
        }
        // NVME_SC_FEATURE_NOT_SAVEABLE
        let saved = features(&mut machine, SET_FEATURES, feature | (1 << 31), value);
        assert_eq!(saved, Err(0x10d | DNR));
        machine.restart(1);
        assert_eq!(
            features(&mut machine, GET_FEATURES, feature, 0),
            Ok(default)
        );
    }
    // NVME_FEAT_LBA_RANGE, NVME_FEAT_AUTO_PST and others.
    for feature in [
        0x00, 0x03, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x16, 0x80, 0x81, 0x84, 0xc0,
    ] {
        for opcode in [GET_FEATURES, SET_FEATURES] {
            assert_eq!(features(&mut machine, opcode, feature, 0), Err(0x02 | DNR));
        }
    }
    // Values that are not allowed; NVME_SC_FEATURE_NOT_CHANGEABLE.
    assert_eq!(
        features(&mut machine, SET_FEATURES, 0x02, 1),
        Err(0x02 | DNR)
    );
    assert_eq!(
        features(&mut machine, SET_FEATURES, 0x04, 0x1_0150),
        Err(0x02 | DNR)
    );
    assert_eq!(
        features(&mut machine, SET_FEATURES, 0x0b, 1 << 9),
        Err(0x02 | DNR)
    );
    assert_eq!(features(&mut machine, GET_FEATURES, 0x09, 1), Ok(1));
    assert_eq!(
        features(&mut machine, GET_FEATURES, 0x09, 2),
        Err(0x02 | DNR)
    );
    assert_eq!(
        features(&mut machine, SET_FEATURES, 0x09, 1 << 16),
        Err(0x10e | DNR)
    );
}

#[test]
fn queues_that_can_not_be_created() {
    let mut machine = Machine::off(2);
    machine.start();
    let create = |machine: &mut Machine, opcode, id: u32, entries: u32, flags: u32, at| {
        let mut create = command(opcode, 0, [at, 0]);
        create.dwords[0] = id | ((entries - 1) << 16);
        create.dwords[1] = flags;
        machine.admin(&create)
    };
    // NVME_QUEUE_PHYS_CONTIG | NVME_CQ_IRQ_ENABLED, and the vector.
    let flags = 3 | (1 << 16);
    let at = 0x8000;
    // NVME_SC_QID_INVALID, NVME_SC_QUEUE_SIZE, NVME_SC_INVALID_VECTOR, NVME_SC_PRP_INVALID_OFFSET
    for (id, entries, flags, at, status) in [
        (0, 64, flags, at, 0x101),
        (3, 64, flags, at, 0x101),
        (1, 1, flags, at, 0x102),
        (1, 1025, flags, at, 0x102),
        (1, 64, 3 | (3 << 16), at, 0x108),
        (1, 64, 2 | (1 << 16), at, 0x02),
        (1, 64, flags, at + 512, 0x13),
    ] {
        let result = create(&mut machine, CREATE_CQ, id, entries, flags, at);
        assert_eq!(
            result,
            Err(status | DNR),
            "{id} {entries} {flags:#x} {at:#x}"
        );
    }
    // Without interrupts, the vector does not count.
    assert_eq!(
        create(&mut machine, CREATE_CQ, 2, 64, 1 | (99 << 16), 0x9000),
        Ok(0)
    );
    assert_eq!(create(&mut machine, CREATE_CQ, 1, 1024, flags, at), Ok(0));
    assert_eq!(
        create(&mut machine, CREATE_CQ, 1, 64, flags, at),
        Err(0x101 | DNR)
    );
    // NVME_SC_CQ_INVALID
    for (id, completion, status) in [(1, 0, 0x101), (1, 3, 0x101), (3, 1, 0x101)] {
        let result = create(&mut machine, CREATE_SQ, id, 64, 1 | (completion << 16), at);
        assert_eq!(result, Err(status | DNR));
    }
    assert_eq!(
        create(&mut machine, CREATE_SQ, 1, 64, 1 | (1 << 16), 0xa000),
        Ok(0)
    );
    assert_eq!(
        create(&mut machine, CREATE_SQ, 1, 64, 1 | (1 << 16), 0xa000),
        Err(0x101 | DNR)
    );

    let delete = |machine: &mut Machine, opcode, id| {
        let mut delete = command(opcode, 0, [0; 2]);
        delete.dwords[0] = id;
        machine.admin(&delete)
    };
    // NVME_SC_INVALID_QUEUE
    assert_eq!(delete(&mut machine, DELETE_CQ, 1), Err(0x10c | DNR));
    for id in [0, 2, 3, 0xffff] {
        assert_eq!(delete(&mut machine, DELETE_SQ, id), Err(0x101 | DNR));
    }
    assert_eq!(delete(&mut machine, DELETE_SQ, 1), Ok(0));
    assert_eq!(
        create(&mut machine, CREATE_SQ, 1, 64, 1 | (1 << 16), 0xa000),
        Ok(0)
    );
    assert_eq!(delete(&mut machine, DELETE_SQ, 1), Ok(0));
    assert_eq!(delete(&mut machine, DELETE_CQ, 1), Ok(0));
    assert_eq!(delete(&mut machine, DELETE_CQ, 1), Err(0x101 | DNR));
    // NVME_SC_CQ_INVALID
    assert_eq!(
        create(&mut machine, CREATE_SQ, 1, 64, 1 | (1 << 16), 0xa000),
        Err(0x100 | DNR)
    );
}

#[test]
fn what_there_is_not() {
    let mut machine = Machine::new(1);
    // nvme_admin_ns_mgmt, activate_fw, download_fw, dev_self_test, keep_alive, directive_send,
    // virtual_mgmt, format_nvm, security_send, sanitize_nvm, get_lba_status, vendor_start
    for opcode in [
        0x0d, 0x10, 0x11, 0x14, 0x18, 0x19, 0x1c, 0x80, 0x81, 0x84, 0x86, 0xc0, 0xff,
    ] {
        let status = machine.admin(&command(opcode, 1, [DATA, 0]));
        assert_eq!(status, Err(0x01 | DNR), "{opcode:#x}");
    }
    // nvme_cmd_write_uncor, compare, verify, resv_register, zone_mgmt_send, vendor_start
    for opcode in [0x04, 0x05, 0x0c, 0x0d, 0x79, 0x80] {
        assert_eq!(machine.io(1, &command(opcode, 1, [DATA, 0])), 0x01 | DNR);
    }
    // NVME_CMD_FUSE_FIRST, NVME_CMD_SGL_METABUF, metadata
    for (flags, metadata) in [(1, 0), (2, 0), (0x40, 0), (0x80, 0), (0, 0x3000)] {
        let mut read = rw(READ, 0, 1, [DATA, 0]);
        (read.flags, read.metadata) = (flags, metadata);
        assert_eq!(machine.io(1, &read), 0x02 | DNR);
        let mut identify = command(IDENTIFY, 1, [DATA, 0]);
        (identify.flags, identify.metadata) = (flags, metadata);
        assert_eq!(machine.admin(&identify), Err(0x02 | DNR));
    }
    for namespace in [0, 2, u32::MAX] {
        let mut read = rw(READ, 0, 1, [DATA, 0]);
        read.namespace = namespace;
        assert_eq!(machine.io(1, &read), 0x0b | DNR);
    }
    assert_eq!(machine.io(1, &command(FLUSH, u32::MAX, [0; 2])), 0);
    assert_eq!(machine.io(1, &command(FLUSH, 2, [0; 2])), 0x0b | DNR);
}

/// What is written is read, for all lengths and offsets that fit in two pages, and some others.
#[test]
fn write_and_read() {
    let mut machine = Machine::new(2);
    for (round, (blocks, offset)) in [
        (1, 0),
        (1, 0x0fc),
        (1, 0xf00),
        (8, 0),
        (8, 4),
        (9, 0),
        (16, 0),
        (17, 0),
        (100, 0xffc),
        (256, 0),
        (256, 0x800),
        (256, 0xffc),
    ]
    .into_iter()
    .enumerate()
    {
        for list_at in [0x7000, 0x7ff8, 0x7f00] {
            let queue = 1 + round as u16 % 2;
            let lba = 1000 * round as u64;
            let len = blocks as usize * 512;
            let bytes: Vec<u8> = (0..len)
                .map(|at| (at * 7 + at / 509 + round) as u8)
                .collect();
            // Pages in no order, and some of them neighbours.
            let prps = machine.scatter(offset, len, list_at, Some(&bytes));
            assert_eq!(machine.io(queue, &rw(WRITE, lba, blocks, prps)), 0);
            assert_eq!(machine.storage.blocks(lba, blocks), bytes);
            machine.memory.fill(DATA, MEMORY_LEN - DATA as usize, 0);
            let prps = machine.scatter(offset, len, list_at, None);
            assert_eq!(machine.io(queue, &rw(READ, lba, blocks, prps)), 0);
            assert_eq!(machine.gather(offset, len), bytes);
        }
    }
    let counters = machine.controller.counters();
    assert_eq!(counters.reads.commands, 36);
    assert_eq!(counters.reads, counters.writes);
    assert_eq!(counters.errors, 0);
}

#[test]
fn bad_data_pointers() {
    let mut machine = Machine::new(1);
    let far = MEMORY_LEN as u64 * 16;
    // NVME_SC_PRP_INVALID_OFFSET, NVME_SC_DATA_XFER_ERROR, NVME_SC_INVALID_FIELD
    for (blocks, prps, status) in [
        (1, [DATA + 2, 0], 0x13),
        (16, [DATA, DATA + 4100], 0x13),
        (17, [DATA, 0x7004], 0x13),
        (17, [DATA, far], 0x04),
        (1, [far, 0], 0x04),
        (1, [!3, 0], 0x04),
        (16, [DATA, !0xfff], 0x04),
        (257, [DATA, 0x7000], 0x02),
        (65536, [DATA, 0x7000], 0x02),
    ] {
        for opcode in [READ, WRITE] {
            let got = machine.io(1, &rw(opcode, 0, blocks, prps));
            assert_eq!(got, status | DNR, "{blocks} {prps:x?}");
        }
    }
    // An entry of a list that does not start a page, and a second list that does not.
    machine.memory.put(0x7000, &(DATA + 8).to_le_bytes());
    assert_eq!(machine.io(1, &rw(READ, 0, 17, [DATA, 0x7000])), 0x13 | DNR);
    machine.memory.put(0x7ff8, &(DATA + 8).to_le_bytes());
    assert_eq!(machine.io(1, &rw(READ, 0, 256, [DATA, 0x7ff8])), 0x13 | DNR);
    machine.memory.put(0x7ff8, &far.to_le_bytes());
    assert_eq!(machine.io(1, &rw(READ, 0, 256, [DATA, 0x7ff8])), 0x04 | DNR);
    // The disk does not stop for that.
    assert!(!machine.controller.is_fatal());
}

#[test]
fn beyond_the_end() {
    let mut machine = Machine::new(1);
    for (lba, blocks, status) in [
        (BLOCKS - 1, 1, 0),
        (BLOCKS - 8, 8, 0),
        (BLOCKS - 8, 9, 0x80 | DNR),
        (BLOCKS, 1, 0x80 | DNR),
        (u64::MAX, 1, 0x80 | DNR),
        (u64::MAX - 7, 8, 0x80 | DNR),
    ] {
        for opcode in [READ, WRITE, WRITE_ZEROES] {
            let got = machine.io(1, &rw(opcode, lba, blocks, [DATA, DATA + 4096]));
            assert_eq!(got, status, "{opcode} {lba} {blocks}");
        }
    }
}

#[test]
fn operations_as_the_storage_sees_them() {
    let mut machine = Machine::new(1);
    // NVME_RW_FUA, NVME_WZ_DEAC in the field `control`, bits 31:16.
    let (fua, deallocate) = (1 << 30, 1 << 25);
    let mut last = |mut command: Command, control: u32| {
        command.dwords[2] |= control;
        assert_eq!(machine.io(1, &command), 0);
        machine.storage.last.unwrap()
    };
    let (lba, blocks) = (5, 3);
    let write = last(rw(WRITE, 5, 3, [DATA, 0]), fua);
    assert_eq!(
        write,
        Operation::Write {
            lba,
            blocks,
            fua: true
        }
    );
    let write = last(rw(WRITE, 5, 3, [DATA, 0]), 0);
    assert_eq!(
        write,
        Operation::Write {
            lba,
            blocks,
            fua: false
        }
    );
    let read = last(rw(READ, 5, 3, [DATA, 0]), 0);
    assert_eq!(
        read,
        Operation::Read {
            lba,
            blocks,
            fua: false
        }
    );
    let zeroes = last(rw(WRITE_ZEROES, 5, 3, [0; 2]), deallocate | fua);
    let expected = Operation::WriteZeroes {
        lba,
        blocks,
        deallocate: true,
        fua: true,
    };
    assert_eq!(zeroes, expected);
    let zeroes = last(rw(WRITE_ZEROES, 0, 65536, [0; 2]), 0);
    let (lba, blocks) = (0, 65536);
    let expected = Operation::WriteZeroes {
        lba,
        blocks,
        deallocate: false,
        fua: false,
    };
    assert_eq!(zeroes, expected);
    assert_eq!(last(command(FLUSH, 1, [0; 2]), 0), Operation::Flush);
    // Without a write cache (NVME_FEAT_VOLATILE_WC), all writes go to the medium.
    features(&mut machine, SET_FEATURES, 6, 0).unwrap();
    assert_eq!(machine.io(1, &rw(WRITE, 5, 3, [DATA, 0])), 0);
    let (lba, blocks) = (5, 3);
    let expected = Operation::Write {
        lba,
        blocks,
        fua: true,
    };
    assert_eq!(machine.storage.last, Some(expected));
}

/// struct nvme_dsm_cmd, struct nvme_dsm_range
#[test]
fn discard() {
    let mut machine = Machine::new(1);
    let mut list = Vec::new();
    for (blocks, lba) in [(8u32, 16u64), (0, 9), (1, BLOCKS - 1)] {
        list.extend(0xffff_ffffu32.to_le_bytes());
        list.extend(blocks.to_le_bytes());
        list.extend(lba.to_le_bytes());
    }
    // Across a page.
    machine.memory.put(DATA + 4096 - 20, &list);
    let mut dsm = command(DSM, 1, [DATA + 4096 - 20, DATA + 4096]);
    dsm.dwords[0] = 2;
    // Without NVME_DSMGMT_AD there is nothing to do.
    assert_eq!(machine.io(1, &dsm), 0);
    assert_eq!(machine.storage.last, None);
    dsm.dwords[1] = 1 << 2;
    assert_eq!(machine.io(1, &dsm), 0);
    assert_eq!(machine.storage.discarded, [(16, 8), (BLOCKS - 1, 1)]);
    machine
        .memory
        .put(DATA + 4096 - 20 + 8, &BLOCKS.to_le_bytes());
    assert_eq!(machine.io(1, &dsm), 0x80 | DNR);

    let ranges = |list: &[u8]| dataset::ranges(list, 10).map(|ranges| ranges.count());
    assert_eq!(ranges(&[0; 100]), Ok(0));
    assert_eq!(ranges(&[0xff; 16]), Err(dataset::LbaOutOfRange));
}

/// nvme_error_status() of core.c makes these BLK_STS_TARGET, NOSPC, MEDIUM and so on.
#[test]
fn errors_of_the_storage() {
    let mut machine = Machine::new(1);
    for (outcome, read, write) in [
        (Outcome::Failed, 0x281 | DNR, 0x280 | DNR),
        (Outcome::OutOfReach, 0x04 | DNR, 0x04 | DNR),
        (Outcome::NoSpace, 0x81 | DNR, 0x81 | DNR),
        (Outcome::ReadOnly, 0x20 | DNR, 0x20 | DNR),
        (Outcome::NotSupported, 0x01 | DNR, 0x01 | DNR),
        (Outcome::Busy, 0x06, 0x06),
    ] {
        machine.storage.outcome = Some(outcome);
        assert_eq!(machine.io(1, &rw(READ, 7, 1, [DATA, 0])), read);
        assert_eq!(machine.io(1, &rw(WRITE, 8, 1, [DATA, 0])), write);
    }
    machine.storage.outcome = Some(Outcome::Failed);
    let mut read = rw(READ, 77, 1, [DATA, 0]);
    read.id = 0x1234;
    assert_eq!(machine.io(1, &read), 0x281 | DNR);
    assert_eq!(machine.controller.counters().errors, 11);

    // struct nvme_smart_log: media_errors, num_err_log_entries
    let health = log_page(&mut machine, 2, 0, 512).unwrap();
    assert_eq!((u128_at(&health, 160), u128_at(&health, 176)), (11, 11));
    // The error log: count, queue, command, status, location, LBA, namespace; the latest first.
    let log = log_page(&mut machine, 1, 0, 256).unwrap();
    assert_eq!(u64_at(&log, 0), 11);
    assert_eq!((u16_at(&log, 8), u16_at(&log, 10)), (1, 0x1234));
    assert_eq!(u16_at(&log, 12), (0x281 | DNR) << 1);
    assert_eq!((u64_at(&log, 16), u32_at(&log, 24)), (77, 1));
    assert_eq!((u64_at(&log, 64), u64_at(&log, 192)), (10, 8));
}

#[test]
fn log_pages() {
    let mut machine = Machine::new(1);
    machine.scatter(0, 256 * 512, 0x7000, None);
    for _ in 0..9 {
        assert_eq!(machine.io(1, &rw(WRITE, 0, 256, [DATA, 0x7000])), 0);
    }
    assert_eq!(machine.io(1, &rw(READ, 0, 1, [DATA, 0])), 0);
    // struct nvme_smart_log
    let health = log_page(&mut machine, 2, 0, 512).unwrap();
    assert_eq!(health[0], 0);
    assert!((273..323).contains(&u16_at(&health, 1)));
    assert_eq!(&health[3..6], [100, 10, 0]);
    let written = machine.controller.counters().writes;
    assert_eq!(u128_at(&health, 32), 1);
    assert_eq!(
        u128_at(&health, 48),
        u128::from(written.blocks).div_ceil(1000)
    );
    assert_eq!(
        (u128_at(&health, 64), u128_at(&health, 80)),
        (1, written.commands.into())
    );
    assert_eq!((u128_at(&health, 112), u128_at(&health, 144)), (1, 0));
    // In parts, as 6.1 and later can.
    for offset in (0..512).step_by(28) {
        let part = log_page(&mut machine, 2, offset, 28).unwrap();
        let end = health.len().min(offset as usize + 28);
        assert_eq!(
            &part[..end - offset as usize],
            &health[offset as usize..end]
        );
    }
    // struct nvme_fw_slot_info_log
    let slots = log_page(&mut machine, 3, 0, 512).unwrap();
    assert_eq!((slots[0], &slots[8..16]), (1, &b"1       "[..]));
    // struct nvme_effects_log: NVME_CMD_EFFECTS_CSUPP, NVME_CMD_EFFECTS_LBCC
    let effects = log_page(&mut machine, 5, 0, 4096).unwrap();
    for opcode in 0..=255u8 {
        let known = [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 0x7c].contains(&opcode);
        assert_eq!(u32_at(&effects, usize::from(opcode) * 4), known.into());
        let expected = match opcode {
            FLUSH | READ => 1,
            WRITE | WRITE_ZEROES | DSM => 3,
            _ => 0,
        };
        assert_eq!(u32_at(&effects, 1024 + usize::from(opcode) * 4), expected);
    }
    // NVME_SC_INVALID_LOG_PAGE, and NVME_SC_INVALID_FIELD
    for page in [0, 6, 7, 0x0c, 0x70, 0x80, 0xff] {
        assert_eq!(log_page(&mut machine, page, 0, 512), Err(0x109 | DNR));
    }
    assert_eq!(log_page(&mut machine, 2, 2, 64), Err(0x02 | DNR));
    assert_eq!(log_page(&mut machine, 2, 516, 64), Err(0x02 | DNR));
}

/// nvme_enable_aen(), nvme_handle_aen_notice(), nvme_clear_changed_ns_log()
#[test]
fn a_disk_that_grows() {
    let mut machine = Machine::new(1);
    // NVME_FEAT_ASYNC_EVENT, NVME_AEN_CFG_NS_ATTR
    features(&mut machine, SET_FEATURES, 0x0b, 1 << 8).unwrap();
    for _ in 0..4 {
        machine.submit(0, &command(ASYNC_EVENT, 0, [0; 2]));
    }
    machine.look();
    assert!(machine.completions(0).is_empty());
    // NVME_SC_ASYNC_LIMIT
    assert_eq!(
        machine.admin(&command(ASYNC_EVENT, 0, [0; 2])),
        Err(0x105 | DNR)
    );

    machine.controller.resize(BLOCKS * 2);
    machine.look();
    let events = machine.completions(0);
    assert_eq!(events.len(), 1);
    // NVME_AER_NOTICE, NVME_AER_NOTICE_NS_CHANGED, NVME_LOG_CHANGED_NS
    assert_eq!((events[0].status, events[0].result), (0, 2 | (4 << 16)));
    assert_eq!(machine.controller.take_vectors(), [1, 0]);
    // Told once, until the log page is read.
    machine.controller.resize(BLOCKS * 3);
    machine.look();
    assert!(machine.completions(0).is_empty());
    let list = log_page(&mut machine, 4, 0, 4096).unwrap();
    assert_eq!((u32_at(&list, 0), u32_at(&list, 4)), (1, 0));
    let list = log_page(&mut machine, 4, 0, 4096).unwrap();
    assert_eq!(u32_at(&list, 0), 0);
    assert_eq!(
        u64_at(&identify(&mut machine, 0, 1).unwrap(), 0),
        BLOCKS * 3
    );
    machine.controller.resize(BLOCKS);
    machine.look();
    assert_eq!(machine.completions(0).len(), 1);
    // The same size is no change.
    log_page(&mut machine, 4, 0, 4096).unwrap();
    machine.controller.resize(BLOCKS);
    machine.look();
    assert!(machine.completions(0).is_empty());
}

#[test]
fn abort() {
    let mut machine = Machine::new(1);
    machine.submit(1, &rw(READ, 0, 1, [DATA, 0]));
    machine.look();
    assert_eq!(machine.controller.outstanding(), 1);
    // The command was not aborted, and is done later.
    assert_eq!(machine.admin(&command(ABORT, 0, [0; 2])), Ok(1));
    machine.release();
    assert_eq!(machine.completions(1).len(), 1);
}

/// Each completion has the head, and the phase tag changes with each round; see the driver.
#[test]
fn queues_go_round() {
    let mut machine = Machine::new(3);
    for round in 0..500u32 {
        let queue = 1 + round as u16 % 3;
        for _ in 0..round % 5 {
            machine.submit(queue, &rw(READ, round.into(), 1, [DATA, 0]));
        }
        machine.look();
        machine.release();
        assert_eq!(machine.completions(queue).len() as u32, round % 5);
        let vector = if round % 5 == 0 { 0 } else { 1 << queue };
        assert_eq!(machine.controller.take_vectors(), [vector, 0]);
    }
    assert_eq!(machine.controller.outstanding(), 0);
}

/// All of a completion is there before its phase tag is.
#[test]
fn the_phase_tag_comes_last() {
    let mut machine = Machine::new(1);
    for round in 0..200 {
        machine.submit(1, &rw(READ, round, 1, [DATA, 0]));
        machine.look();
        machine.memory.trace.borrow_mut().clear();
        machine.controller.take_vectors();
        machine.release();
        let trace = machine.memory.trace.borrow();
        let [.., Access::Write(at, entry), Access::Barrier, Access::Write(tag_at, tag)] =
            &trace[..]
        else {
            panic!("{trace:x?}");
        };
        assert_eq!((*tag_at, tag.len()), (at + 14, 1));
        assert_eq!(tag[0] ^ entry[14], 1);
        // The entry that was there had the same tag as what is written first.
        let phase = round / 64 % 2 == 0;
        assert_eq!(tag[0] & 1 == 1, phase);
        drop(trace);
        assert_eq!(machine.completions(1).len(), 1);
    }
}

/// A command is taken only if there is room for its completion.
#[test]
fn a_driver_that_takes_no_completions() {
    let mut machine = Machine::off(1);
    machine.start();
    machine.create_queues_of(1, 32, 8);
    for _ in 0..20 {
        machine.submit(1, &rw(READ, 0, 1, [DATA, 0]));
    }
    for _ in 0..3 {
        machine.look();
    }
    assert_eq!(machine.controller.outstanding() + machine.storage.done, 7);
    machine.release();
    for _ in 0..3 {
        machine.look();
        machine.release();
    }
    assert_eq!(machine.completions(1).len(), 7);
    machine.look();
    machine.release();
    assert_eq!(machine.completions(1).len(), 7);
    machine.look();
    machine.release();
    assert_eq!(machine.completions(1).len(), 6);
}

#[test]
fn storage_without_room() {
    let mut machine = Machine::new(2);
    machine.storage.room = 3;
    for queue in [1, 2] {
        for _ in 0..4 {
            machine.submit(queue, &rw(READ, 0, 1, [DATA, 0]));
        }
    }
    let looked = machine.look();
    assert_eq!((looked.commands, looked.is_busy), (3, false));
    // Admin commands need no room there.
    assert!(identify(&mut machine, 1, 0).is_ok());
    for _ in 0..3 {
        machine.release();
        machine.look();
    }
    machine.release();
    assert_eq!(
        machine.completions(1).len() + machine.completions(2).len(),
        8
    );
}

/// A queue that is always full does not keep the others waiting.
#[test]
fn budget() {
    let mut machine = Machine::new(4);
    for queue in 1..=4 {
        for _ in 0..20 {
            machine.submit(queue, &rw(READ, 0, 1, [DATA, 0]));
        }
    }
    let looked = machine.look_with(true, 16);
    assert_eq!((looked.commands, looked.is_busy), (16, true));
    let looked = machine.look_with(true, 16);
    assert_eq!((looked.commands, looked.is_busy), (16, true));
    machine.release();
    // Each queue had its turn.
    for queue in 1..=4 {
        assert_eq!(machine.completions(queue).len(), 8, "{queue}");
    }
    assert_eq!(machine.look_with(true, 0).commands, 0);
    let looked = machine.look_with(true, 1000);
    assert_eq!((looked.commands, looked.is_busy), (48, false));
}

/// nvme_dbbuf_set(), nvme_dbbuf_update_and_check_event()
#[test]
fn shadow_doorbells() {
    let mut machine = Machine::new(2);
    assert!(!machine.controller.has_shadows());
    assert_eq!(machine.set_shadows(), Ok(0));
    assert!(machine.controller.has_shadows());
    let mut written = 0;
    for round in 0..300u32 {
        let queue = 1 + round as u16 % 2;
        for _ in 0..round % 4 {
            written += u32::from(machine.submit(queue, &rw(READ, 0, 1, [DATA, 0])));
        }
        assert_eq!(machine.look_quickly().commands, round % 4);
        machine.release();
        assert_eq!(machine.completions(queue).len() as u32, round % 4);
    }
    // The queues have 64 entries, and went round less than four times each.
    assert!(written <= 8, "{written}");
    // The admin queue has no shadow, and its register is still looked at.
    assert!(identify(&mut machine, 1, 0).is_ok());
    // Old registers do no harm.
    for _ in 0..3 {
        assert_eq!(machine.look().commands, 0);
    }
    assert!(!machine.controller.is_fatal());
}

/// A driver that sets shadows up but does not use them for some queue.
#[test]
fn shadow_doorbells_that_are_not_used() {
    let mut machine = Machine::new(2);
    machine.set_shadows().unwrap();
    machine.forget_shadows();
    for round in 0..200 {
        machine.submit(1, &rw(READ, 0, 1, [DATA, 0]));
        assert_eq!(machine.look_quickly().commands, 0);
        assert_eq!(machine.look().commands, 1, "{round}");
        machine.release();
        assert_eq!(machine.completions(1).len(), 1);
    }
}

/// A queue that is created anew starts with doorbells of 0, which Linux relies on.
#[test]
fn shadow_doorbells_of_a_new_queue() {
    let mut machine = Machine::new(1);
    machine.set_shadows().unwrap();
    for _ in 0..5 {
        assert_eq!(machine.io(1, &rw(READ, 0, 1, [DATA, 0])), 0);
    }
    machine.delete_queues(1);
    machine.create_queues(1);
    assert_eq!(machine.shadows(1), [0, 0]);
    for _ in 0..5 {
        assert_eq!(machine.io(1, &rw(READ, 0, 1, [DATA, 0])), 0);
    }
}

#[test]
fn shadow_doorbells_that_can_not_be() {
    let mut machine = Machine::new(1);
    let far = MEMORY_LEN as u64 * 16;
    for (prps, status) in [
        ([0x6000, 0x6800], 0x02),
        ([0x6004, 0x7000], 0x02),
        ([0x6000, far], 0x04),
        ([far, 0x6000], 0x04),
        ([!0xfff, 0x6000], 0x04),
    ] {
        assert_eq!(machine.admin(&command(DBBUF, 0, prps)), Err(status | DNR));
    }
    assert_eq!(machine.io(1, &rw(READ, 0, 1, [DATA, 0])), 0);
}

/// nvme_disable_ctrl(ctrl, false), then everything anew.
#[test]
fn reset_under_load() {
    let mut machine = Machine::new(2);
    machine.set_shadows().unwrap();
    for round in 0..10 {
        for queue in [1, 2] {
            for _ in 0..3 {
                machine.submit(queue, &rw(READ, 0, 1, [DATA, 0]));
            }
        }
        machine.look();
        assert_eq!(machine.controller.outstanding(), 6);
        machine.write(CC, 0);
        machine.look();
        // CSTS.RDY stays until the storage has given all back.
        assert_eq!(machine.register(CSTS), 1);
        machine.release_some(5);
        machine.look();
        assert_eq!(machine.register(CSTS), 1);
        let before = machine.memory.all();
        machine.release();
        machine.look();
        assert_eq!(machine.register(CSTS), 0);
        // Nothing was completed, no data was copied, no interrupt raised.
        assert!(machine.memory.all() == before);
        assert_eq!(machine.storage.stale, 6 * (round + 1));
        assert_eq!(machine.controller.take_vectors(), [0; 2]);
        machine.boot(2);
        machine.set_shadows().unwrap();
        assert_eq!(machine.io(1, &rw(READ, 0, 1, [DATA, 0])), 0);
    }
}

/// What somebody has written to CSTS does not keep the next driver from starting.
#[test]
fn reset_after_nonsense_in_the_status() {
    let mut machine = Machine::new(1);
    machine.write(CSTS, u32::MAX);
    machine.write(CC, 0);
    machine.look();
    assert_eq!(machine.register(CSTS), 0);
    machine.write(CSTS, u32::MAX);
    machine.set_admin_queues();
    machine.write(CC, ENABLED);
    machine.look();
    assert_eq!(machine.register(CSTS), 1);
}

/// A kernel that starts where another one was (kexec): CC.EN is set, old queues are there.
#[test]
fn start_without_power_on() {
    let mut machine = Machine::new(2);
    machine.submit(1, &rw(READ, 0, 1, [DATA, 0]));
    machine.look();
    machine.write(CC, 0);
    machine.look();
    machine.release();
    machine.look();
    assert_eq!(machine.register(CSTS), 0);
    machine.boot(1);
    assert_eq!(machine.io(1, &rw(READ, 0, 1, [DATA, 0])), 0);
}

#[test]
fn power_off_with_requests_under_way() {
    let mut machine = Machine::new(2);
    machine.submit(1, &rw(READ, 0, 1, [DATA, 0]));
    machine.look();
    machine.controller.power_off();
    let before = machine.memory.all();
    machine.look();
    machine.release();
    assert!(machine.memory.all() == before);
    assert_eq!(machine.controller.outstanding(), 0);
    machine.restart(1);
    assert_eq!(machine.io(1, &rw(READ, 0, 1, [DATA, 0])), 0);
    // struct nvme_smart_log: power_cycles, unsafe_shutdowns
    let health = log_page(&mut machine, 2, 0, 512).unwrap();
    assert_eq!((u128_at(&health, 112), u128_at(&health, 144)), (2, 1));
}

/// What comes back late is not taken for a command of the next driver.
#[test]
fn power_on_with_requests_under_way() {
    let mut machine = Machine::new(1);
    machine.submit(1, &rw(READ, 0, 1, [DATA, 0]));
    machine.look();
    machine.restart(1);
    machine.submit(1, &rw(READ, 0, 1, [DATA, 0]));
    machine.look();
    assert_eq!(machine.controller.outstanding(), 2);
    machine.release_some(1);
    assert!(machine.completions(1).is_empty());
    assert_eq!(machine.storage.stale, 1);
    machine.release();
    assert_eq!(machine.completions(1).len(), 1);
    assert_eq!(machine.storage.stale, 1);
}

/// nvme_delete_io_queues(): all at once, with commands under way.
#[test]
fn delete_under_load() {
    let mut machine = Machine::new(2);
    for queue in [1, 2] {
        for _ in 0..3 {
            machine.submit(queue, &rw(READ, 0, 1, [DATA, 0]));
        }
    }
    machine.look();
    for queue in [2, 1] {
        let mut delete = command(DELETE_SQ, 0, [0; 2]);
        delete.dwords[0] = queue;
        machine.submit(0, &delete);
        // A command that is never taken.
        machine.submit(queue as u16, &rw(READ, 0, 1, [DATA, 0]));
    }
    machine.look();
    assert!(machine.completions(0).is_empty());
    // NVME_SC_QID_INVALID: the queue is still there, and so is its deletion.
    let mut delete = command(DELETE_SQ, 0, [0; 2]);
    delete.dwords[0] = 1;
    assert_eq!(machine.admin(&delete), Err(0x101 | DNR));
    let mut create = command(CREATE_SQ, 0, [0x8000, 0]);
    (create.dwords[0], create.dwords[1]) = (1 | (63 << 16), 1 | (1 << 16));
    assert_eq!(machine.admin(&create), Err(0x101 | DNR));

    machine.release_some(5);
    let deleted = machine.completions(0).len();
    assert_eq!(deleted, 1);
    machine.release();
    assert_eq!(machine.completions(0).len(), 1);
    machine.look();
    assert_eq!(
        machine.completions(1).len() + machine.completions(2).len(),
        6
    );
    for queue in [1, 2] {
        let mut delete = command(DELETE_CQ, 0, [0; 2]);
        delete.dwords[0] = queue;
        assert_eq!(machine.admin(&delete), Ok(0));
    }
    machine.create_queues(2);
    assert_eq!(machine.io(1, &rw(READ, 0, 1, [DATA, 0])), 0);
}

/// nvme_disable_ctrl(ctrl, true): NVME_CC_SHN_NORMAL, then NVME_CSTS_SHST_CMPLT is waited for.
#[test]
fn shutdown() {
    for notification in [1 << 14, 2 << 14] {
        let mut machine = Machine::new(1);
        machine.submit(1, &rw(WRITE, 0, 1, [DATA, 0]));
        machine.look();
        machine.write(CC, ENABLED | notification);
        machine.look();
        // NVME_CSTS_SHST_OCCUR
        assert_eq!(machine.register(CSTS), 1 | (1 << 2));
        assert_eq!(machine.storage.last, Some(write(0, 1)));
        machine.release();
        machine.look();
        assert_eq!(machine.storage.last, Some(Operation::Flush));
        assert_eq!(machine.register(CSTS), 1 | (1 << 2));
        assert_eq!(machine.completions(1).len(), 1);
        machine.release();
        machine.look();
        assert_eq!(machine.register(CSTS), 1 | (2 << 2));
        // Once.
        machine.look();
        assert_eq!(machine.controller.outstanding(), 0);
        // Resume: nvme_pci_enable().
        machine.write(CC, 0);
        machine.look();
        assert_eq!(machine.register(CSTS), 0);
        machine.boot(1);
        assert_eq!(machine.io(1, &rw(READ, 0, 1, [DATA, 0])), 0);
        // A start after a shutdown is a safe one.
        machine.write(CC, ENABLED | notification);
        machine.look();
        machine.release();
        machine.look();
        assert_eq!(machine.register(CSTS), 1 | (2 << 2));
        machine.restart(1);
        assert_eq!(machine.controller.counters().unsafe_shutdowns, 0);
    }
}

fn write(lba: u64, blocks: u32) -> Operation {
    Operation::Write {
        lba,
        blocks,
        fua: false,
    }
}

#[test]
fn nonsense_is_fatal_until_a_reset() {
    let far = MEMORY_LEN as u64 * 16;
    let spoil: [&dyn Fn(&mut Machine); 6] = [
        // Doorbells: a tail and a head that the queues do not have, and a head beyond the tail.
        &|machine| machine.write(0x1000, 32),
        &|machine| machine.write(0x1008, u32::MAX),
        &|machine| {
            machine.write(0x100c, 9);
            machine.fill_completion_queue(1);
        },
        &|machine| {
            machine.set_shadows().unwrap();
            machine.ring_shadow(1, 64);
        },
        // Queues in no memory.
        &|machine| {
            machine.create_queue_at(2, far, 0x9000);
            machine.write(0x1010, 1);
        },
        &|machine| {
            machine.create_queue_at(2, 0x9000, far);
            machine.write(0x1010, 1);
        },
    ];
    for (index, spoil) in spoil.iter().enumerate() {
        let mut machine = Machine::new(1);
        machine.reboot_with_queues(2, 1);
        spoil(&mut machine);
        for _ in 0..3 {
            machine.look();
            machine.release();
        }
        machine.look();
        // NVME_CSTS_CFS
        assert_eq!(machine.register(CSTS), 3, "{index}");
        assert!(machine.controller.is_fatal());
        assert_eq!(machine.look().commands, 0);
        // nvme_timeout(): nvme_should_reset().
        machine.write(CC, 0);
        machine.look();
        assert_eq!(machine.register(CSTS), 0);
        machine.boot(1);
        assert_eq!(machine.io(1, &rw(READ, 0, 1, [DATA, 0])), 0);
    }
}

#[test]
fn gone_for_good() {
    let mut machine = Machine::new(1);
    machine.submit(1, &rw(READ, 0, 1, [DATA, 0]));
    machine.look();
    machine.submit(0, &command(ASYNC_EVENT, 0, [0; 2]));
    machine.look();
    machine.vanish();
    assert_eq!(machine.controller.take_vectors(), [1, 0]);
    for offset in (0..0x2000).step_by(4) {
        assert_eq!(machine.register(offset), u32::MAX);
    }
    let before = machine.memory.all();
    machine.look();
    machine.release();
    machine.look();
    assert!(machine.memory.all() == before);
    assert_eq!(machine.register(CSTS), u32::MAX);
    assert_eq!(machine.controller.outstanding(), 0);
    // NVME_AER_ERROR, NVME_AER_ERROR_PERSIST_INT_ERR: nvme_complete_async_event() resets the controller.
    let events = machine.completions(0);
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].status, events[0].result),
        (0, (3 << 8) | (1 << 16))
    );

    // One that has no event to answer, and one that is not used.
    let mut machine = Machine::new(1);
    let before = machine.memory.all();
    machine.vanish();
    assert!(machine.memory.all() == before);
    assert_eq!(machine.controller.take_vectors(), [0, 0]);
    let mut machine = Machine::off(1);
    machine.vanish();
    assert_eq!(machine.controller.take_vectors(), [0, 0]);
}
