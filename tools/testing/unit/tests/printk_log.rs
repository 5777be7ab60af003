// SPDX-License-Identifier: GPL-2.0

//! Log buffers that a model of the kernel's writer has filled.

#[path = "common/kernel.rs"]
mod kernel;
#[path = "common/rng.rs"]
mod rng;

use kernel::{Kernel, Layout, Paging, Ring, State, ALL_PAGING, PRB, RING};
use mint_unit::postmortem::events::{Event, Events, RECORDS_MAX};
use mint_unit::postmortem::page_walk::AddressSpace;
use mint_unit::postmortem::printk_log::{Entry, Error, Escaped, Log, Record, TEXT_LEN_MAX};
use mint_unit::postmortem::vmcoreinfo::{find, VmcoreInfo, NOTE_LEN_MAX};
use mint_unit::postmortem::PhysicalMemory;
use rng::Rng;
use std::fmt;

const KERN: u8 = 0;
const USER: u8 = 1;

fn open(kernel: &mut Kernel, ring: &Ring) -> Result<Log, Error> {
    let note = kernel.write_log(ring);
    let info = VmcoreInfo::parse(&note).unwrap();
    let space = AddressSpace::new(&mut kernel.memory, &info).unwrap();
    Log::open(&mut kernel.memory, &info, &space)
}

/// All records, with their texts.
fn all(log: &Log, mem: &mut dyn PhysicalMemory) -> Vec<(Record, Vec<u8>)> {
    let mut text = [0; TEXT_LEN_MAX];
    let mut records = Vec::new();
    for id in log.ids(mem, None).unwrap() {
        if let Entry::Record(record) = log.read(mem, id, &mut text).unwrap() {
            records.push((record, text[..record.len].to_vec()));
        }
    }
    records
}

fn text_of(log: &Log, mem: &mut dyn PhysicalMemory) -> String {
    let mut out = String::new();
    log.write_text(mem, &mut [0; TEXT_LEN_MAX], &mut out)
        .unwrap();
    out
}

/// The `number`th text: of any length, empty now and then, and with the number at both ends.
fn text(number: usize) -> Vec<u8> {
    let len = (number * 37) % 90;
    let mut text = vec![b'a' + (number % 26) as u8; len];
    for at in [0, len.saturating_sub(4)] {
        if len >= 4 {
            text[at..at + 4].copy_from_slice(format!("{number:04}").as_bytes());
        }
    }
    text
}

/// Checks that the log is the end of what was written, and is all that the ring still has.
fn check(kernel: &mut Kernel, ring: &Ring, written: &[(u64, Vec<u8>)]) -> usize {
    let log = open(kernel, ring).unwrap();
    let got = all(&log, &mut kernel.memory);
    let kept: Vec<_> = written
        .iter()
        .filter(|(id, _)| ring.state(*id) == Some(State::Finalized))
        .collect();
    assert_eq!(got.len(), kept.len());
    for ((record, got), (id, text)) in got.iter().zip(kept) {
        let desc = ring.clone().desc(*id).clone();
        let expected = Record {
            id: *id,
            seq: desc.seq,
            ts_nsec: desc.ts_nsec,
            facility: desc.facility,
            level: desc.level,
            caller_id: desc.caller_id,
            is_final: true,
            len: text.len(),
        };
        assert_eq!(*record, expected);
        assert_eq!(got, text);
    }
    got.len()
}

#[test]
fn records_in_the_order_in_which_they_were_written() {
    for paging in ALL_PAGING {
        // Few records with much room for text, and many with little: either runs out first.
        for (count_bits, size_bits) in [(3, 12), (7, 9), (5, 11), (1, 8)] {
            for perfect_fit in [false, true] {
                let mut kernel = Kernel::new(paging);
                let mut ring = Ring::new(paging.word(), count_bits, size_bits, perfect_fit);
                let mut written = Vec::new();
                assert_eq!(check(&mut kernel, &ring, &written), 0);
                for number in 0..400 {
                    let text = text(number);
                    let facility = (number % 3) as u8;
                    let id = ring.write(&text, facility, State::Finalized);
                    written.push((id, text));
                    let kept = check(&mut kernel, &ring, &written);
                    assert!(kept >= 1, "{paging:?} {count_bits} {size_bits}");
                }
            }
        }
    }
}

#[test]
fn a_text_that_ends_with_the_buffer() {
    for paging in ALL_PAGING {
        let word = paging.word();
        for perfect_fit in [false, true] {
            let mut kernel = Kernel::new(paging);
            let mut ring = Ring::new(word, 4, 8, perfect_fit);
            let mut written = Vec::new();
            for letter in b'a'..b'f' {
                let text = vec![letter; 64 - word];
                written.push((ring.write(&text, KERN, State::Finalized), text));
                check(&mut kernel, &ring, &written);
            }
        }
    }
}

#[test]
fn states() {
    for paging in ALL_PAGING {
        let mut kernel = Kernel::new(paging);
        let mut ring = Ring::new(paging.word(), 4, 10, true);
        let first = ring.write(b"first", KERN, State::Finalized);
        let reserved = ring.write(b"reserved", KERN, State::Reserved);
        let lost = ring.write(b"lost", KERN, State::Finalized);
        (ring.desc(lost).begin, ring.desc(lost).next) = (1, 1);
        let reusable = ring.write(b"reusable", KERN, State::Reusable);
        let empty = ring.write(b"", KERN, State::Finalized);
        let other = ring.write(b"other", KERN, State::Finalized);
        let next_round = (other + 16) & ring.id_mask();
        let committed = ring.write(b"committed", KERN, State::Committed);
        let growing = ring.write(b"growing", KERN, State::Committed);
        ring.desc(growing).text_len = 100;
        ring.desc(other).state_var ^= other ^ next_round;

        let log = open(&mut kernel, &ring).unwrap();
        let mem = &mut kernel.memory;
        let mut text = [0; 64];
        let mut read = |id| log.read(mem, id, &mut text).unwrap();
        assert!(matches!(read(first), Entry::Record(record) if record.is_final));
        assert_eq!(read(reserved), Entry::Pending);
        assert_eq!(read(lost), Entry::Gone);
        assert_eq!(read(reusable), Entry::Gone);
        assert!(matches!(read(empty), Entry::Record(record) if record.len == 0));
        assert_eq!(read(other), Entry::Gone);
        assert!(matches!(read(committed), Entry::Record(record) if !record.is_final));
        // It has been made longer since its descriptor was read.
        assert_eq!(read(growing), Entry::Pending);
        assert_eq!(
            text_of(&log, mem),
            "[    0.000000] first\n[    4.938272] \n[    7.407408] committed\n"
        );
    }
}

#[test]
fn impossible_blocks() {
    for paging in ALL_PAGING {
        let word = paging.word() as u64;
        let base = Ring::new(paging.word(), 4, 8, true);
        let mask = if word == 8 { u64::MAX } else { 0xffff_ffff };
        let blocks = [
            (0, 0),
            (0, word - 1),
            (0, word - 2),
            (2, 64),
            (64, 64 - word),
            // Not enough at the start.
            (64, 256 + 2 * word),
            // Two wraps, and more than half of the buffer.
            (64, 512 + 32),
            (0, 136 + 2 * word),
            (0, 256),
            (3, 1),
            (1, 3),
            (3, 64),
            (mask - word + 1, 0),
        ];
        for (begin, next) in blocks {
            let mut kernel = Kernel::new(paging);
            let mut ring = base.clone();
            let id = ring.write(b"twelve bytes", KERN, State::Finalized);
            (ring.desc(id).begin, ring.desc(id).next) = (begin, next);
            let log = open(&mut kernel, &ring).unwrap();
            let got = log.read(&mut kernel.memory, id, &mut [0; 64]).unwrap();
            assert_eq!(got, Entry::Gone, "{paging:?} {begin:#x} {next:#x}");
        }
        // An empty line has no text.
        let mut kernel = Kernel::new(paging);
        let mut ring = base.clone();
        let id = ring.write(b"", KERN, State::Finalized);
        ring.desc(id).text_len = 1;
        let log = open(&mut kernel, &ring).unwrap();
        let got = log.read(&mut kernel.memory, id, &mut [0; 64]);
        assert_eq!(got, Ok(Entry::Gone));
    }
}

#[test]
fn ids() {
    for paging in ALL_PAGING {
        let mut kernel = Kernel::new(paging);
        let mut ring = Ring::new(paging.word(), 3, 10, true);
        let mask = ring.id_mask();
        // The ID wraps around in the second round of these.
        let mut ids: Vec<u64> = Vec::new();
        for _ in 0..30 {
            ids.push(ring.write(b"x", KERN, State::Finalized));
            let log = open(&mut kernel, &ring).unwrap();
            let mem = &mut kernel.memory;
            let mut from = |id| log.ids(mem, id).unwrap();
            let there = from(None);
            let end = (ids.last().unwrap() + 1) & mask;
            assert_eq!(there.end(), end);
            let there: Vec<u64> = there.collect();
            assert!(there.len() <= 8 && there.ends_with(&ids[ids.len().saturating_sub(8)..]));
            for count in 0..=there.len() {
                let newest = from(None).newest(count as u64);
                assert_eq!(newest.end(), end);
                let newest: Vec<u64> = newest.collect();
                assert_eq!(newest, there[there.len() - count..]);
            }
            assert_eq!(from(None).newest(100).count(), there.len());
            for skipped in 0..there.len() {
                let got: Vec<u64> = from(Some(there[skipped])).collect();
                assert_eq!(got, there[skipped..]);
            }
            assert_eq!(from(Some(end)).count(), 0);
            assert_eq!(from(Some(end)).end(), end);
            // Gone, and never there.
            for other in [
                (there[0].wrapping_sub(1)) & mask,
                (end + 1) & mask,
                u64::MAX,
            ] {
                if other & mask == end || there.contains(&(other & mask)) {
                    continue;
                }
                let got: Vec<u64> = from(Some(other)).collect();
                assert_eq!(got, there, "{other:#x}");
            }
        }
        assert!(ids.contains(&0) && ids.contains(&mask));

        // Many records were written between a look at the tail and one at the head.
        let tail = ring.tail_id;
        ring.head_id = (tail + 10) & mask;
        let log = open(&mut kernel, &ring).unwrap();
        let got: Vec<u64> = log.ids(&mut kernel.memory, None).unwrap().collect();
        let expected: Vec<u64> = (3..=10).map(|at| (tail + at) & mask).collect();
        assert_eq!(got, expected);
        // So many that it can't be.
        for apart in [16, 1000, mask, mask - 100] {
            ring.head_id = tail.wrapping_add(apart) & mask;
            let log = open(&mut kernel, &ring).unwrap();
            let got = log.ids(&mut kernel.memory, None);
            let head = ring.head_id;
            assert_eq!(got.err(), Some(Error::Ids { tail, head }));
        }
    }
}

#[test]
fn text_as_dmesg_prints_it() {
    let mut kernel = Kernel::new(Paging::FourLevels);
    let mut ring = Ring::new(8, 4, 12, true);
    for (text, ts_nsec) in [
        (&b"Linux version 7.3.4"[..], 0),
        (b"three\n\tlines\n", 5_123_456_789),
        (b"\x1b[2J\r\xc3\xa9\\x\x7f\0~", 99_999_999_999_999),
        (b"late", u64::MAX),
        (b"\n", 123_456_000_000_000),
    ] {
        let id = ring.write(text, KERN, State::Finalized);
        ring.desc(id).ts_nsec = ts_nsec;
    }
    let log = open(&mut kernel, &ring).unwrap();
    assert_eq!(
        text_of(&log, &mut kernel.memory),
        "[    0.000000] Linux version 7.3.4\n\
         [    5.123456] three\n\
         [    5.123456] \tlines\n\
         [    5.123456] \n\
         [99999.999999] \\x1b[2J\\x0d\\xc3\\xa9\\x\\x7f\\x00~\n\
         [18446744073.709551] late\n\
         [123456.000000] \n\
         [123456.000000] \n"
    );
    // A buffer that is too small cuts texts short.
    let mut out = String::new();
    log.write_text(&mut kernel.memory, &mut [0; 7], &mut out)
        .unwrap();
    assert!(out.starts_with("[    0.000000] Linux v\n[    5.123456] three\n[    5.123456] \t\n["));
    let line = Escaped(b"a\nb").to_string();
    assert_eq!(line, "a\\x0ab");
}

#[test]
fn events() {
    for paging in ALL_PAGING {
        let mut kernel = Kernel::new(paging);
        let mut ring = Ring::new(paging.word(), 4, 12, true);
        let mut events = Events::new();
        let mut text = [0; TEXT_LEN_MAX];
        let mut scan = |kernel: &mut Kernel, ring: &Ring| {
            let log = open(kernel, ring).unwrap();
            match events.scan(&log, &mut kernel.memory, &mut text).unwrap() {
                None => String::new(),
                Some(Event::Halted) => "halted".into(),
                Some(Event::Replaced) => "replaced".into(),
                Some(Event::Panicked(reason)) => format!("panicked: {}", Escaped(reason)),
            }
        };
        assert_eq!(scan(&mut kernel, &ring), "");
        for (text, facility) in [
            (&b"Linux version 7.3.4"[..], KERN),
            (
                b"Kernel panic - not syncing: a crash kernel may follow",
                KERN,
            ),
            (b"reboot: System halted", USER),
            (
                b"---[ end Kernel panic - not syncing: it is not so ]---",
                USER,
            ),
            (b"reboot: System halted.", KERN),
            (b" reboot: System halted", KERN),
            (b"reboot: Power down", KERN),
            (b"x ---[ end Kernel panic - not syncing: x ]---", KERN),
            (b"", KERN),
        ] {
            ring.write(text, facility, State::Finalized);
            assert_eq!(scan(&mut kernel, &ring), "");
        }
        let halted = b"reboot: System halted";
        let panicked = b"---[ end Kernel panic - not syncing: Fatal\nexception ]---";
        ring.write(halted, KERN, State::Finalized);
        assert_eq!(scan(&mut kernel, &ring), "halted");
        assert_eq!(scan(&mut kernel, &ring), "");
        ring.write(b"more", KERN, State::Finalized);
        assert_eq!(scan(&mut kernel, &ring), "");
        ring.write(
            b"reboot: Power off not available: System halted instead",
            KERN,
            State::Finalized,
        );
        assert_eq!(scan(&mut kernel, &ring), "halted");
        ring.write(b"kexec_core: Starting new kernel", KERN, State::Finalized);
        assert_eq!(scan(&mut kernel, &ring), "replaced");
        // The last one counts, and its text is there though others came behind.
        ring.write(halted, KERN, State::Finalized);
        ring.write(panicked, KERN, State::Finalized);
        ring.write(b"more", KERN, State::Finalized);
        assert_eq!(scan(&mut kernel, &ring), "panicked: Fatal\\x0aexception");
        assert_eq!(scan(&mut kernel, &ring), "");
        // More than the ring holds.
        for _ in 0..40 {
            ring.write(b"more", KERN, State::Finalized);
        }
        ring.write(halted, KERN, State::Finalized);
        assert_eq!(scan(&mut kernel, &ring), "halted");

        // Pending, while others come behind it.
        let slow = ring.write(panicked, KERN, State::Reserved);
        assert_eq!(scan(&mut kernel, &ring), "");
        ring.write(b"quick", KERN, State::Finalized);
        assert_eq!(scan(&mut kernel, &ring), "");
        ring.set_state(slow, State::Finalized);
        assert_eq!(scan(&mut kernel, &ring), "panicked: Fatal\\x0aexception");
        assert_eq!(scan(&mut kernel, &ring), "");
        // Committed is enough to be seen, and is seen once.
        let last = ring.write(halted, KERN, State::Committed);
        assert_eq!(scan(&mut kernel, &ring), "halted");
        assert_eq!(scan(&mut kernel, &ring), "");
        ring.set_state(last, State::Finalized);
        assert_eq!(scan(&mut kernel, &ring), "");
        // A panic's reason that was cut, as the kernel does with very long ones.
        ring.write(&panicked[..50], KERN, State::Finalized);
        assert_eq!(scan(&mut kernel, &ring), "panicked: Fatal\\x0aexcepti");
    }
}

#[test]
fn looking_again_costs_little() {
    let mut kernel = Kernel::new(Paging::FiveLevels);
    let mut ring = Ring::new(8, 10, 16, true);
    for number in 0..900 {
        ring.write(&text(number), KERN, State::Finalized);
    }
    let mut events = Events::new();
    let mut scan = |kernel: &mut Kernel, ring: &Ring| {
        let log = open(kernel, ring).unwrap();
        let reads = kernel.memory.reads;
        events.scan(&log, &mut kernel.memory, &mut [0; 64]).unwrap();
        kernel.memory.reads - reads
    };
    assert!(scan(&mut kernel, &ring) > 900);
    assert_eq!(scan(&mut kernel, &ring), 2);
    ring.write(b"x", KERN, State::Finalized);
    assert!(scan(&mut kernel, &ring) <= 2 + 4);
    // One that never gets final is looked at again, but not for ever.
    ring.write(b"x", KERN, State::Reserved);
    for _ in 0..100 {
        ring.write(b"x", KERN, State::Finalized);
        assert!(scan(&mut kernel, &ring) <= 2 + 65 * 4);
    }
    assert!(scan(&mut kernel, &ring) <= 2 + 4);
}

#[test]
fn a_log_that_claims_too_many_records() {
    let mut kernel = Kernel::new(Paging::FourLevels);
    let ring = Ring::new(8, 4, 10, true);
    kernel.write_log(&ring);
    let layout = Layout::of(8);
    let descs = kernel.image_physical(RING) + layout.desc_ring;
    let start = kernel.page_offset + kernel.memory.start;
    kernel
        .memory
        .put(descs + layout.count_bits, &15u32.to_le_bytes());
    for array in [layout.descs, layout.infos] {
        kernel.memory.put(descs + array, &start.to_le_bytes());
    }
    let head = ring.tail_id + (1 << 15) - 1;
    let at = descs + layout.head_id + layout.counter;
    kernel.memory.put(at, &head.to_le_bytes());

    let note_at = kernel.note_at;
    let note = kernel.memory.get(note_at, 4000).to_vec();
    let info = VmcoreInfo::parse(&note).unwrap();
    let space = AddressSpace::new(&mut kernel.memory, &info).unwrap();
    let log = Log::open(&mut kernel.memory, &info, &space).unwrap();
    assert_eq!(log.ids(&mut kernel.memory, None).unwrap().count(), 1 << 15);
    kernel.memory.reads = 0;
    let mut text = [0; TEXT_LEN_MAX];
    let got = Events::new().scan(&log, &mut kernel.memory, &mut text);
    assert_eq!(got, Ok(None));
    // None of them is there, which the first read of each tells.
    assert_eq!(kernel.memory.reads, 2 + RECORDS_MAX);
}

/// Text of which no more is taken than there is room for.
struct Short {
    text: String,
    room: usize,
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.len() + text.len() > self.room {
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

#[test]
fn a_text_that_gets_too_long() {
    let mut kernel = Kernel::new(Paging::FourLevels);
    let mut ring = Ring::new(8, 7, 12, true);
    for _ in 0..100 {
        ring.write(b"line", KERN, State::Finalized);
    }
    let log = open(&mut kernel, &ring).unwrap();
    let whole = text_of(&log, &mut kernel.memory);
    let mut write = |room| {
        let mut out = Short {
            text: String::new(),
            room,
        };
        let reads = kernel.memory.reads;
        let result = log.write_text(&mut kernel.memory, &mut [0; 64], &mut out);
        (result, out.text.len(), kernel.memory.reads - reads)
    };
    let (result, len, all) = write(whole.len());
    assert_eq!((result, len), (Ok(()), whole.len()));
    // Those before the first record that was written, and what tells of the IDs, are few.
    let (result, len, reads) = write(whole.len() / 4);
    assert_eq!(result, Err(Error::Stopped));
    assert!(
        len <= whole.len() / 4 && reads < all / 2,
        "{reads} of {all}"
    );
}

#[test]
fn a_record_that_goes_while_it_is_read() {
    for paging in ALL_PAGING {
        let mut kernel = Kernel::new(paging);
        let mut ring = Ring::new(paging.word(), 4, 10, true);
        let id = ring.write(b"the old text", KERN, State::Finalized);
        let log = open(&mut kernel, &ring).unwrap();
        let mut then = Kernel::new(paging);
        for _ in 0..16 {
            ring.write(b"another text", KERN, State::Finalized);
        }
        then.write_log(&ring);
        let reads = kernel.memory.reads;
        let mut text = [0; 64];
        for at in 1..=4 {
            let mut now = Kernel::new(paging);
            now.memory.bytes = kernel.memory.bytes.clone();
            let new = then.memory.bytes.clone();
            now.memory.at_read = Some((at, Box::new(move |bytes| bytes.copy_from_slice(&new))));
            let got = log.read(&mut now.memory, id, &mut text);
            assert_eq!(got, Ok(Entry::Gone), "{paging:?} {at}");
        }
        // It takes no more than 4 reads, and all of them before.
        assert!(matches!(
            log.read(&mut kernel.memory, id, &mut text),
            Ok(Entry::Record(_))
        ));
        assert_eq!(kernel.memory.reads - reads, 4);
        assert!(text.starts_with(b"the old text"));
    }
}

#[test]
fn buffers_that_are_refused() {
    for paging in ALL_PAGING {
        let mut kernel = Kernel::new(paging);
        let mut ring = Ring::new(paging.word(), 4, 10, true);
        ring.write(b"x", KERN, State::Finalized);
        let note = kernel.write_log(&ring);
        let text = String::from_utf8(note[24..].to_vec()).unwrap();
        let text = text.trim_end_matches('\0');
        let mut refused = |text: &str| {
            let note = kernel::note(text.as_bytes());
            let info = VmcoreInfo::parse(&note).unwrap();
            let space = AddressSpace::new(&mut kernel.memory, &info).unwrap();
            let log = Log::open(&mut kernel.memory, &info, &space);
            log.map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(refused(text), Ok(()));
        // Each line is needed, but for what other readers need, and no number may be too large.
        let lines = Layout::of(paging.word()).info(0);
        for line in lines.lines() {
            let name = line.split('=').next().unwrap();
            if name.ends_with(".fail)") {
                continue;
            }
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            let error = refused(&text.replace(&format!("{line}\n"), "")).unwrap_err();
            assert_eq!(error, format!("VMCOREINFO has no {name}"));
            for value in ["4097", "18446744073709551615", "257"] {
                let error = refused(&text.replace(line, &format!("{name}={value}")));
                assert!(error.is_err(), "{paging:?} {name}={value}");
            }
        }

        // The buffer itself.
        let good = kernel.memory.bytes.clone();
        let info = VmcoreInfo::parse(&note).unwrap();
        let layout = lines.clone();
        let member = |name: &str| -> u64 {
            let start = format!("OFFSET({name})=");
            let line = layout.lines().find_map(|line| line.strip_prefix(&start));
            line.unwrap().parse().unwrap()
        };
        let descs = member("printk_ringbuffer.desc_ring");
        let data = member("printk_ringbuffer.text_data_ring");
        let mut with = |at: u64, value: u64, len: usize| {
            kernel.memory.bytes.copy_from_slice(&good);
            let at = kernel.image_physical(at);
            kernel.memory.put(at, &value.to_le_bytes()[..len]);
            let space = AddressSpace::new(&mut kernel.memory, &info).unwrap();
            Log::open(&mut kernel.memory, &info, &space).err()
        };
        let word = paging.word();
        assert_eq!(with(0x1000, 0, 8), None);
        let at = RING + descs + member("prb_desc_ring.count_bits");
        for bits in [0, 27, 31, 32, 64, 0xffff_ffff] {
            assert_eq!(with(at, bits, 4), Some(Error::CountBits(bits)));
        }
        assert!(matches!(with(at, 26, 4), Some(Error::Address(_))));
        let at = RING + data + member("prb_data_ring.size_bits");
        for bits in [0, 5, 32, 64, 0xffff_ffff] {
            assert_eq!(with(at, bits, 4), Some(Error::SizeBits(bits)));
        }
        assert!(matches!(with(at, 31, 4), Some(Error::Address(_))));
        for at in [
            PRB,
            RING + descs + member("prb_desc_ring.descs"),
            RING + descs + member("prb_desc_ring.infos"),
            RING + data + member("prb_data_ring.data"),
        ] {
            for address in [0, 0x1234, 1 << 31, u64::MAX, u64::MAX - 100] {
                let error = with(at, address, word);
                assert!(
                    matches!(error, Some(Error::Address(_) | Error::Array { .. })),
                    "{paging:?} {at:#x} {address:#x} {error:?}"
                );
            }
        }
    }
}

#[test]
fn an_array_that_is_not_in_one_piece() {
    let mut kernel = Kernel::new(Paging::FourLevels);
    let ring = Ring::new(8, 6, 13, true);
    let start = kernel.memory.start;
    kernel.write_log(&ring);
    let note_at = kernel.note_at;
    let note = kernel.memory.get(note_at, 4000).to_vec();
    let info = VmcoreInfo::parse(&note).unwrap();
    let space = AddressSpace::new(&mut kernel.memory, &info).unwrap();
    assert!(Log::open(&mut kernel.memory, &info, &space).is_ok());
    // The third page of what memblock gave, in the middle of the text.
    let address = kernel.page_offset + start + 0x20_3000;
    kernel.map(address, start + 0x30_0000, 12);
    let address = kernel.page_offset + start + 0x20_4000;
    kernel.map(address, start + 0x30_0000, 12);
    let log = Log::open(&mut kernel.memory, &info, &space);
    assert!(
        matches!(log, Err(Error::Array { len: 8192, .. })),
        "{log:?}"
    );
}

/// All that is done with an OS's memory.
fn everything(kernel: &mut Kernel) -> Option<usize> {
    let range = kernel.memory.range();
    let mem = &mut kernel.memory;
    let at = find(mem, &range, range.start(), 8).0?;
    let mut note = [0; NOTE_LEN_MAX];
    mem.read(at, &mut note)?;
    let info = VmcoreInfo::parse(&note).ok()?;
    let _ = (info.osrelease(), info.build_id());
    let space = AddressSpace::new(mem, &info).ok()?;
    space.page_offset(mem);
    let log = Log::open(mem, &info, &space).ok()?;
    let mut text = [0; 100];
    let mut out = String::new();
    log.write_text(mem, &mut text, &mut out).ok()?;
    let mut events = Events::new();
    let _ = events.scan(&log, mem, &mut text);
    let _ = events.scan(&log, mem, &mut text);
    Some(out.len())
}

/// Bytes of all that has a meaning are changed: VMCOREINFO, the buffer's structures, descriptors,
/// infos, IDs in the text, page tables.
#[test]
fn memory_that_is_damaged() {
    for paging in ALL_PAGING {
        let mut kernel = Kernel::new(paging);
        let mut ring = Ring::new(paging.word(), 3, 9, true);
        for number in 0..20 {
            ring.write(&text(number), KERN, State::Finalized);
        }
        ring.write(
            b"---[ end Kernel panic - not syncing: x ]---",
            KERN,
            State::Finalized,
        );
        let note = kernel.write_log(&ring);
        let good = kernel.memory.bytes.clone();
        let whole = everything(&mut kernel).unwrap();

        // Only what is not zero, and what is near, has a meaning.
        let meaningful: Vec<usize> = (0..good.len())
            .filter(|&at| good[at.saturating_sub(4)..good.len().min(at + 5)] != [0; 9][..])
            .filter(|&at| good[at] != 0 || at % 4 == 0 || at > good.len() / 2)
            .collect();
        let note_at = (kernel.note_at - kernel.memory.start) as usize;
        let mut rng = Rng(paging as u64);
        let (mut refused, mut most) = (0, 0);
        for round in 0..25_000 {
            let mut changed = Vec::new();
            for _ in 0..=rng.below(3) {
                let at = match rng.below(4) {
                    // Most of what is there is VMCOREINFO, in which most changes are one's end.
                    0 => note_at + rng.below(note.len() as u64) as usize,
                    _ => loop {
                        let at = meaningful[rng.below(meaningful.len() as u64) as usize];
                        if !(note_at..note_at + note.len()).contains(&at) {
                            break at;
                        }
                    },
                };
                changed.push(at);
                kernel.memory.bytes[at] = match rng.below(4) {
                    0 => 0xff,
                    1 => 0,
                    2 => good[at] ^ (1 << rng.below(8)),
                    _ => rng.next() as u8,
                };
            }
            kernel.memory.reads = 0;
            match everything(&mut kernel) {
                None => refused += 1,
                Some(len) => assert!(len <= 100 * whole, "{paging:?} {round}"),
            }
            most = most.max(kernel.memory.reads);
            for at in changed {
                kernel.memory.bytes[at] = good[at];
            }
        }
        assert!((1000..24_000).contains(&refused), "{paging:?} {refused}");
        // However damaged, no more than the buffer's own size and a whole top table demand.
        assert!(most < 200_000, "{paging:?} {most}");
        assert_eq!(kernel.memory.bytes, good);
    }
}
