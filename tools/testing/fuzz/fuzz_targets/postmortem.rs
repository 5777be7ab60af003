// SPDX-License-Identifier: GPL-2.0

//! A kernel's memory with anything in it: what is read of it may be wrong, but must come to an end
//! and be no more than there is.
//!
//! The memory is that of a kernel that can be read, with changes. The input is the kind of paging
//! (8 bits) and the changes: in which part of the memory (8 bits), where there (16 bits), how many
//! bytes (8 bits), and these.

#![no_main]

#[path = "../../unit/tests/common/kernel.rs"]
mod kernel;

use kernel::{Kernel, Ring, State, ALL_PAGING, PAGE, PRB};
use libfuzzer_sys::fuzz_target;
use mint_fuzz::input::Input;
use mint_unit::memory::memmap::Range;
use mint_unit::postmortem::elf_core::ElfCore;
use mint_unit::postmortem::events::Events;
use mint_unit::postmortem::page_walk::AddressSpace;
use mint_unit::postmortem::printk_log::{Entry, Log, TEXT_LEN_MAX};
use mint_unit::postmortem::vmcoreinfo::{find, VmcoreInfo, NOTE_LEN_MAX};
use mint_unit::postmortem::PhysicalMemory;
use std::cell::RefCell;

/// Where in the memory the tables below the top one, and the log's arrays are; see kernel.rs.
const TABLES: u64 = 0x18_0000;
const ARRAYS: u64 = 0x20_0000;

const TEXTS: [(&[u8], u8, State); 8] = [
    (b"Linux version 7.3.4-test", 0, State::Finalized),
    (b"two\nlines", 0, State::Finalized),
    (b"", 0, State::Finalized),
    (b"\x1b[31mred\x1b[0m", 0, State::Finalized),
    (
        b"---[ end Kernel panic - not syncing: test ]---",
        1,
        State::Finalized,
    ),
    (
        b"---[ end Kernel panic - not syncing: test ]---",
        0,
        State::Finalized,
    ),
    (b"growing", 0, State::Committed),
    (b"reserved", 0, State::Reserved),
];

thread_local! {
    static KERNELS: RefCell<Vec<Kernel>> = RefCell::new(ALL_PAGING.map(whole).into());
}

/// A kernel that can be read.
fn whole(paging: kernel::Paging) -> Kernel {
    let mut kernel = Kernel::new(paging);
    let mut ring = Ring::new(paging.word(), 3, 9, true);
    for (text, facility, state) in TEXTS {
        ring.write(text, facility, state);
    }
    kernel.write_log(&ring);
    kernel
}

fuzz_target!(|bytes: &[u8]| {
    KERNELS.with_borrow_mut(|kernels| {
        let mut input = Input(bytes);
        let kernel = &mut kernels[usize::from(input.u8()) % ALL_PAGING.len()];
        let undo = change(kernel, input);
        look(kernel);
        for (address, bytes) in undo.into_iter().rev() {
            kernel.memory.put(address, &bytes);
        }
    });
});

/// Changes the memory; returns what was there before.
fn change(kernel: &mut Kernel, mut input: Input<'_>) -> Vec<(u64, Vec<u8>)> {
    let start = kernel.memory.start;
    let parts = [
        kernel.note_at,
        kernel.root,
        kernel.image_physical(PRB & !(PAGE - 1)),
        start + TABLES,
        start + ARRAYS,
        start,
    ];
    let mut undo = Vec::new();
    while !input.is_empty() {
        let part = parts[usize::from(input.u8()) % parts.len()];
        let address = part + u64::from(input.u16());
        let len = usize::from(input.u8()).min(input.0.len());
        let (new, rest) = input.0.split_at(len);
        undo.push((address, kernel.memory.get(address, len).to_vec()));
        kernel.memory.put(address, new);
        input = Input(rest);
    }
    undo
}

/// Reads all that is read of an OS.
fn look(kernel: &mut Kernel) {
    let range = kernel.memory.range();
    let mut from = 0;
    while from < range.end() {
        let (found, next) = find(&mut kernel.memory, &range, from, 64);
        assert!(next > from);
        from = next;
        if let Some(at) = found {
            assert!(at >= range.start() && at < range.end() && at % PAGE == 0);
            look_at(kernel, at);
        }
    }
}

fn look_at(kernel: &mut Kernel, note_at: u64) {
    let mem = &mut kernel.memory;
    let mut note = vec![0; NOTE_LEN_MAX];
    if mem.read(note_at, &mut note).is_none() {
        return;
    }
    let Ok(info) = VmcoreInfo::parse(&note) else {
        return;
    };
    assert!(info.note_len() <= note.len() + 3);
    let _ = (info.osrelease(), info.build_id());
    let Ok(space) = AddressSpace::new(mem, &info) else {
        return;
    };
    let page_offset = space.page_offset(mem);
    if let Ok(architecture) = info.architecture() {
        let note = &note[..info.note_len().min(note.len())];
        let ranges = [Range::new(0x2_2000, 0xe000).unwrap(), mem.range()];
        let core = ElfCore::new(architecture, note, &ranges, page_offset).unwrap();
        check_core(&core, mem);
    }
    match Log::open(mem, &info, &space) {
        Ok(log) => check_log(&log, mem),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A file that is read by parts is the one that is read at once.
fn check_core(core: &ElfCore<'_>, mem: &mut dyn PhysicalMemory) {
    const SOME: usize = 3 * PAGE as usize;
    let (mut all, mut parts) = (vec![0xa5; SOME], Vec::new());
    // The start is headers and the note; behind them is low memory, which is not there.
    let Ok(len) = core.read(mem, 0, &mut all[..256]) else {
        panic!("the headers are read without the OS");
    };
    let mut part = [0; 100];
    while parts.len() < len {
        let room = part.len().min(len - parts.len());
        let read = core
            .read(mem, parts.len() as u64, &mut part[..room])
            .unwrap();
        assert!(read > 0 && read <= room);
        parts.extend_from_slice(&part[..read]);
    }
    assert_eq!(parts, all[..len]);
    for offset in [core.len() - 1, core.len(), u64::MAX] {
        let read = core.read(mem, offset, &mut part).unwrap();
        assert_eq!(read as u64, core.len().saturating_sub(offset).min(100));
    }
}

fn check_log(log: &Log, mem: &mut dyn PhysicalMemory) {
    let mut text = vec![0; TEXT_LEN_MAX];
    let mut out = String::new();
    let written = log.write_text(mem, &mut text, &mut out);
    assert!(out
        .bytes()
        .all(|byte| matches!(byte, b'\t' | b'\n' | b' '..=b'~')));
    if let Err(error) = written {
        assert!(!error.to_string().is_empty());
    }
    let mut events = Events::new();
    let _ = events.scan(log, mem, &mut text);
    // Nothing has changed since, so that nothing is new.
    if let Ok(again) = events.scan(log, mem, &mut text) {
        assert_eq!(again, None);
    }
    let Ok(ids) = log.ids(mem, None) else {
        return;
    };
    for id in ids.take(64) {
        match log.read(mem, id, &mut text[..16]) {
            Ok(Entry::Record(record)) => assert!(record.len <= 16),
            Ok(Entry::Pending | Entry::Gone) => {}
            Err(_) => return,
        }
    }
}
