// SPDX-License-Identifier: GPL-2.0

//! Interrupts of a function made of memory, whose registers change between any two reads.
//!
//! The input is the number of vectors, and steps: a byte that tells what happens, and what that needs.
//! Each read of a register takes its value from the input, too.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mint_fuzz::input::Input;
use mint_unit::memory_device::access::Registers;
use mint_unit::memory_device::msix::{Message, Msix, Table, CAPABILITY, MAX_VECTORS};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

const TABLE: u32 = 0x2000;
const PBA: u32 = 0x3000;
const COMMAND: u32 = 4;

/// What the successor makes of the registers, and all reads in their order.
struct Successor<'a> {
    input: Input<'a>,
    reads: Vec<(u32, u32)>,
    pba: [u32; 4],
}

impl Successor<'_> {
    fn read(&mut self, offset: u32, plausible: fn(u8) -> u32) -> u32 {
        let value = match self.input.u8() % 8 {
            0..4 => plausible(self.input.u8()),
            // No change.
            4..7 => {
                let mut before = self.reads.iter().rev().filter(|read| read.0 == offset);
                before.next().map_or(plausible(0x55), |read| read.1)
            }
            _ => self.input.u32(),
        };
        self.reads.push((offset, value));
        value
    }

    /// The value that was read last at `offset`, and the one before.
    fn last_two(&self, offset: u32) -> [Option<u32>; 2] {
        let mut values = self.reads.iter().rev().filter(|read| read.0 == offset);
        [(); 2].map(|()| values.next().map(|read| read.1))
    }
}

struct Config<'a, 'b>(&'a RefCell<Successor<'b>>);

impl Registers for Config<'_, '_> {
    fn read(&self, offset: u32) -> u32 {
        assert!([CAPABILITY, COMMAND].contains(&offset));
        let on: fn(u8) -> u32 = if offset == CAPABILITY {
            |_| 0x807f_0011
        } else {
            |_| 0x0010_0406
        };
        self.0.borrow_mut().read(offset, on)
    }

    fn write(&self, _: u32, _: u32) {
        panic!("the configuration space is the successor's");
    }
}

struct Bar<'a, 'b>(&'a RefCell<Successor<'b>>);

impl Registers for Bar<'_, '_> {
    fn read(&self, offset: u32) -> u32 {
        let in_table = offset.checked_sub(TABLE).expect("in the table");
        assert!(in_table < 16 * u32::from(MAX_VECTORS));
        let plausible: fn(u8) -> u32 = match in_table % 16 {
            0 => |id| 0xfee0_0000 | (u32::from(id) << 12),
            8 => |vector| vector.into(),
            4 | 12 => |_| 0,
            _ => panic!("{offset:#x} is not the address of a register"),
        };
        self.0.borrow_mut().read(offset, plausible)
    }

    fn write(&self, offset: u32, value: u32) {
        assert_eq!(offset % 4, 0);
        let word = offset.checked_sub(PBA).expect("in the PBA") / 4;
        let word = &mut self.0.borrow_mut().pba[word as usize];
        assert_ne!(*word, value, "written only when it changes");
        *word = value;
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let vectors = 1 + u16::from(input.u8()) % MAX_VECTORS;
    let successor = RefCell::new(Successor {
        input,
        reads: Vec::new(),
        pba: [0; 4],
    });
    let mut msix = Msix::new(Table::new(vectors, TABLE, PBA).unwrap());
    let mut pending = BTreeSet::new();
    loop {
        let [step, vector] = {
            let input = &mut successor.borrow_mut().input;
            if input.is_empty() {
                break;
            }
            [input.u8(), input.u8()]
        };
        match step % 8 {
            0..4 => {
                let vector = u16::from(vector);
                msix.raise(vector);
                if vector < vectors {
                    pending.insert(vector);
                }
            }
            4 if vector < 16 => {
                msix.reset();
                pending.clear();
                successor.borrow_mut().pba = [0; 4];
            }
            _ => look(&mut msix, &successor, &mut pending),
        }
        assert_eq!(msix.is_pending(), !pending.is_empty());
    }
});

/// Has `msix` deliver, and checks that with the interrupts that are `pending`.
fn look(msix: &mut Msix, successor: &RefCell<Successor<'_>>, pending: &mut BTreeSet<u16>) {
    let refused = msix.refused();
    // What was sent, and after how many reads.
    let mut sent = BTreeMap::new();
    let is_destination = |id| id % 5 != 3;
    successor.borrow_mut().reads.clear();
    msix.deliver(
        &Config(successor),
        &Bar(successor),
        is_destination,
        |message| {
            let successor = successor.borrow();
            let vector = check_sent(&successor, message);
            assert!(is_destination(message.destination));
            assert!(pending.contains(&vector), "a vector that is not pending");
            let again = sent.insert(vector, successor.reads.len());
            assert!(again.is_none(), "once");
        },
    );

    let successor = successor.borrow();
    assert!(successor.reads.len() <= 2 + 9 * pending.len());
    // Nothing is read of a vector that is not pending.
    let in_table = successor.reads.iter().filter(|read| read.0 >= TABLE);
    let looked_at: BTreeSet<_> = in_table.map(|read| vector_at(read.0)).collect();
    assert!(looked_at.is_subset(pending));

    // What is left is shown. All others were sent or refused; those that were sent and are left had
    // their entry changed.
    let has = |vector: &u16| (successor.pba[usize::from(vector / 32)] >> (vector % 32)) & 1 == 1;
    let left: BTreeSet<_> = (0..MAX_VECTORS).filter(has).collect();
    assert!(left.is_subset(pending));
    let gone = pending
        .difference(&left)
        .filter(|&vector| !sent.contains_key(vector));
    assert_eq!(msix.refused() - refused, gone.count() as u64);
    for (vector, reads) in &sent {
        let (before, after) = successor.reads.split_at(*reads);
        let is_same = [0, 8].iter().all(|field| {
            let value = |reads: &[(u32, u32)]| {
                let offset = TABLE + 16 * u32::from(*vector) + field;
                let mut reads = reads.iter().rev();
                reads.find(|read| read.0 == offset).map(|read| read.1)
            };
            value(before) == value(after)
        });
        assert_eq!(left.contains(vector), !is_same);
    }
    *pending = left;
}

fn vector_at(offset: u32) -> u16 {
    ((offset - TABLE) / 16) as u16
}

/// Checks `message` by all that was read for it; returns the vector of the function that it is for.
fn check_sent(successor: &Successor<'_>, message: Message) -> u16 {
    let [control, _] = successor.last_two(CAPABILITY);
    assert_eq!(control.unwrap() >> 30, 2, "on, and not masked");
    assert_eq!(successor.last_two(COMMAND)[0].unwrap() & 4, 4);

    let vector = vector_at(successor.reads.last().unwrap().0);
    let read = |field| successor.last_two(TABLE + 16 * u32::from(vector) + field);
    let [address, upper, data, masks] = [0, 4, 8, 12].map(read);
    assert!(
        masks.iter().all(|mask| mask.unwrap() & 1 == 0),
        "looked at twice"
    );
    assert!(address[0] == address[1] && data[0] == data[1]);

    // Intel SDM volume 3, 12.11: an address of 0xFEE in the upper 12 bits, destination mode and format
    // 0; fixed, by edge, no exception.
    let (address, data) = (address[0].unwrap(), data[0].unwrap());
    assert_eq!(upper[0], Some(0));
    assert_eq!((address >> 20, address & 0b1_0111), (0xfee, 0));
    assert_eq!((data & 0x8700, data as u8), (0, message.vector));
    assert!(message.vector > 31);
    let low = (address & 0x000f_f000) >> 12;
    let high = (address & 0x0000_0fe0) >> 5;
    assert_eq!(message.destination, high * 256 + low);
    vector
}
