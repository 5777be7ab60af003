// SPDX-License-Identifier: GPL-2.0

//! Interrupts of a function made of memory: what is sent for what a driver writes, and when.

use mint_unit::memory_device::access::Registers;
use mint_unit::memory_device::msix::{Message, Msix, Table, CAPABILITY, MAX_VECTORS};
use std::cell::{Cell, RefCell};

const TABLE: u32 = 0x2000;
const PBA: u32 = 0x3000;
const BAR_LEN: usize = 16 << 10;

// include/uapi/linux/pci_regs.h
const PCI_COMMAND: u32 = 4;
const PCI_COMMAND_MEMORY: u32 = 2;
const PCI_COMMAND_MASTER: u32 = 4;
const PCI_MSIX_FLAGS_MASKALL: u32 = 0x4000;
const PCI_MSIX_FLAGS_ENABLE: u32 = 0x8000;
const PCI_MSIX_ENTRY_LOWER_ADDR: u32 = 0;
const PCI_MSIX_ENTRY_UPPER_ADDR: u32 = 4;
const PCI_MSIX_ENTRY_DATA: u32 = 8;
const PCI_MSIX_ENTRY_VECTOR_CTRL: u32 = 12;

/// Registers made of memory, and the writes of a driver that come before some of the reads.
struct Memory {
    words: RefCell<Vec<u32>>,
    reads: Cell<usize>,
    writes: Cell<usize>,
    /// After how many reads a word is written, in that order.
    driver: RefCell<Vec<(usize, u32, u32)>>,
}

impl Memory {
    fn new(len: usize) -> Self {
        Memory {
            words: RefCell::new(vec![0; len / 4]),
            reads: Cell::new(0),
            writes: Cell::new(0),
            driver: RefCell::default(),
        }
    }

    /// Writes as a driver does.
    fn set(&self, offset: u32, value: u32) {
        self.words.borrow_mut()[offset as usize / 4] = value;
    }

    fn get(&self, offset: u32) -> u32 {
        self.words.borrow()[offset as usize / 4]
    }

    /// Lets the driver write as far as it has got.
    fn advance(&self) {
        let mut driver = self.driver.borrow_mut();
        while driver
            .first()
            .is_some_and(|write| write.0 <= self.reads.get())
        {
            let (_, offset, value) = driver.remove(0);
            self.set(offset, value);
        }
    }
}

impl Registers for Memory {
    fn read(&self, offset: u32) -> u32 {
        assert_eq!(offset % 4, 0);
        self.advance();
        self.reads.set(self.reads.get() + 1);
        self.get(offset)
    }

    fn write(&self, offset: u32, value: u32) {
        assert_eq!(offset % 4, 0);
        // Nothing but the PBA is the device's to write.
        assert!((PBA..PBA + 16).contains(&offset));
        self.writes.set(self.writes.get() + 1);
        self.set(offset, value);
    }
}

/// A function.
struct Function {
    config: Memory,
    bar: Memory,
    msix: Msix,
}

impl Function {
    /// One whose driver has switched on MSI-X, and masked all vectors (`msix_mask_all()`).
    fn new(vectors: u16) -> Self {
        let function = Function {
            config: Memory::new(4096),
            bar: Memory::new(BAR_LEN),
            msix: Msix::new(Table::new(vectors, TABLE, PBA).unwrap()),
        };
        for vector in 0..vectors {
            let control = entry(vector) + PCI_MSIX_ENTRY_VECTOR_CTRL;
            function.bar.set(control, 1);
        }
        function.control(PCI_MSIX_FLAGS_ENABLE);
        function.command(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
        function
    }

    /// Sets Message Control.
    fn control(&self, flags: u32) {
        let size = 0x7ff;
        self.config.set(CAPABILITY, 0x11 | ((flags | size) << 16));
    }

    fn command(&self, flags: u32) {
        // With bits of the status register.
        self.config.set(PCI_COMMAND, flags | 0x0010_0000);
    }

    /// Sets an entry of the table.
    fn entry(&self, vector: u16, message: [u32; 3], is_masked: bool) {
        let at = entry(vector);
        let [address, upper, data] = message;
        self.bar.set(at + PCI_MSIX_ENTRY_LOWER_ADDR, address);
        self.bar.set(at + PCI_MSIX_ENTRY_UPPER_ADDR, upper);
        self.bar.set(at + PCI_MSIX_ENTRY_DATA, data);
        // The upper half is a steering tag.
        let control = 0xabcd_0000 | u32::from(is_masked);
        self.bar.set(at + PCI_MSIX_ENTRY_VECTOR_CTRL, control);
    }

    /// Looks at what is pending; returns what is sent.
    fn look(&mut self) -> Vec<(u32, u8)> {
        self.look_with(|id| id < 0x8000)
    }

    fn look_with(&mut self, is_destination: impl Fn(u32) -> bool) -> Vec<(u32, u8)> {
        let mut sent = Vec::new();
        let send = |Message {
                        destination,
                        vector,
                    }| sent.push((destination, vector));
        self.msix
            .deliver(&self.config, &self.bar, is_destination, send);
        sent
    }

    fn pba(&self) -> [u32; 4] {
        [0, 4, 8, 12].map(|offset| self.bar.get(PBA + offset))
    }
}

fn entry(vector: u16) -> u32 {
    TABLE + 16 * u32::from(vector)
}

/// The message that Linux writes for vector `vector` of the CPU with this APIC ID, with extended
/// destination IDs if the ID needs them (`__irq_msi_compose_msg()` in `arch/x86/kernel/apic/apic.c`;
/// `struct x86_msi_addr_lo` in `arch/x86/include/asm/msi.h`).
fn composed(apic_id: u32, vector: u8) -> [u32; 3] {
    let base_address = 0xfee00000 >> 20;
    let (destid_0_7, virt_destid_8_14) = (apic_id & 0xff, apic_id >> 8);
    assert!(virt_destid_8_14 < 0x80);
    let address = (base_address << 20) | (destid_0_7 << 12) | (virt_destid_8_14 << 5);
    [address, 0, vector.into()]
}

#[test]
fn what_linux_writes_is_sent() {
    let mut function = Function::new(3);
    for id in [0, 1, 7, 254, 255, 256, 0x1ff, 0x200, 0x1234, 0x7fff] {
        for vector in [0x20, 0x21, 0x41, 0xec, 0xff] {
            function.entry(1, composed(id, vector), false);
            assert!(function.look().is_empty(), "none was raised");
            function.msix.raise(1);
            assert!(function.msix.is_pending());
            assert_eq!(function.look(), [(id, vector)]);
            assert!(!function.msix.is_pending());
            assert!(function.look().is_empty(), "once");
        }
    }
    assert_eq!(function.msix.refused(), 0);
    assert_eq!(function.bar.writes.get(), 0, "the PBA is as it was");
}

#[test]
fn other_messages_are_refused() {
    let good = composed(5, 0x30);
    let with = |index: usize, bits: u32| {
        let mut message = good;
        message[index] ^= bits;
        message
    };
    // Bits that change nothing: the redirection hint in physical destination mode, the level of an
    // edge, reserved bits of the data.
    for (index, bits) in [(0, 1 << 3), (2, 1 << 14), (2, 0xffff_0000), (2, 0x3800)] {
        let mut function = Function::new(1);
        function.entry(0, with(index, bits), false);
        function.msix.raise(0);
        assert_eq!(function.look(), [(5, 0x30)], "{index} {bits:x}");
        assert_eq!(function.msix.refused(), 0);
    }
    let mut wrong = vec![
        [0, 0, 0],
        [!0, !0, !0],
        [!0, 0, 0x30],
        // Logical destination mode, with and without the redirection hint.
        with(0, 1 << 2),
        with(0, 3 << 2),
        // Remappable format, not a doubleword.
        with(0, 1 << 4),
        with(0, 1 << 0),
        with(0, 1 << 1),
        // Level-triggered.
        with(2, 1 << 15),
        with(2, 3 << 14),
    ];
    // No address of a local APIC, and memory above 4 GiB.
    wrong.extend((20..32).map(|bit| with(0, 1 << bit)));
    wrong.extend((0..32).map(|bit| with(1, 1 << bit)));
    // Lowest priority, SMI, NMI, INIT, ExtINT and two that are reserved.
    wrong.extend((1..8).map(|mode| with(2, mode << 8)));
    // Exceptions.
    wrong.extend((0..0x20).map(|vector| composed(5, vector)));
    for message in wrong {
        let mut function = Function::new(2);
        function.entry(1, message, false);
        function.msix.raise(1);
        assert_eq!(function.look(), [], "{message:x?}");
        assert_eq!(function.msix.refused(), 1);
        assert!(!function.msix.is_pending(), "it is dropped");
        assert_eq!(function.pba(), [0; 4]);
    }
}

#[test]
fn only_cpus_of_the_successor_are_interrupted() {
    let mut function = Function::new(1);
    let mut refused = 0;
    for (id, is_there) in [(4, true), (6, false), (5, true), (0x104, false)] {
        function.entry(0, composed(id, 0x40), false);
        function.msix.raise(0);
        let sent = function.look_with(|id| [4, 5].contains(&id));
        assert_eq!(sent.len(), usize::from(is_there));
        refused += u64::from(!is_there);
        assert_eq!(function.msix.refused(), refused);
    }
}

#[test]
fn masked_interrupts_wait() {
    let on = PCI_MSIX_FLAGS_ENABLE;
    let unmasked = composed(2, 0x33);
    type Change = fn(&Function);
    let masks: [(Change, Change); 5] = [
        (
            |f| f.entry(70, composed(2, 0x33), true),
            |f| f.entry(70, composed(2, 0x33), false),
        ),
        (
            |f| f.control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL),
            |f| f.control(PCI_MSIX_FLAGS_ENABLE),
        ),
        (|f| f.control(0), |f| f.control(PCI_MSIX_FLAGS_ENABLE)),
        (
            |f| f.command(PCI_COMMAND_MEMORY),
            |f| f.command(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER),
        ),
        // A function that was never written, or that is gone.
        (
            |f| f.control(PCI_MSIX_FLAGS_MASKALL | 0x3800),
            |f| f.control(PCI_MSIX_FLAGS_ENABLE),
        ),
    ];
    for (index, (mask, unmask)) in masks.into_iter().enumerate() {
        let mut function = Function::new(128);
        function.control(on);
        function.entry(70, unmasked, false);
        mask(&function);
        for _ in 0..3 {
            function.msix.raise(70);
            assert_eq!(function.look(), []);
            assert!(function.msix.is_pending());
        }
        // A quadword for 64 vectors.
        assert_eq!(function.pba(), [0, 0, 1 << 6, 0], "{index}");
        assert_eq!(function.bar.writes.get(), 1, "only when it changes");
        unmask(&function);
        assert_eq!(function.look(), [(2, 0x33)], "once");
        assert_eq!(function.pba(), [0; 4]);
        assert_eq!(function.bar.writes.get(), 2);
        assert_eq!(function.look(), []);
        assert!(!function.msix.is_pending() && function.msix.refused() == 0);
    }
}

#[test]
fn each_vector_is_its_own() {
    let mut function = Function::new(MAX_VECTORS);
    let message = |vector: u16| (u32::from(vector) % 5, 0x20 + vector as u8);
    let is_masked = |vector: u16| vector % 3 == 0;
    for vector in 0..MAX_VECTORS {
        let (id, number) = message(vector);
        function.entry(vector, composed(id, number), is_masked(vector));
        function.msix.raise(vector);
    }
    let of = |masked: bool| {
        let vectors = (0..MAX_VECTORS).filter(move |&vector| is_masked(vector) == masked);
        vectors.map(message).collect::<Vec<_>>()
    };
    assert_eq!(function.look(), of(false));
    let pba = function.pba();
    for vector in 0..MAX_VECTORS {
        let bit = (pba[usize::from(vector / 32)] >> (vector % 32)) & 1;
        assert_eq!(bit == 1, is_masked(vector));
    }
    for vector in 0..MAX_VECTORS {
        let (id, number) = message(vector);
        function.entry(vector, composed(id, number), false);
    }
    assert_eq!(function.look(), of(true));
    assert_eq!(function.pba(), [0; 4]);
}

#[test]
fn vectors_that_there_are_not() {
    for vectors in [1, 31, 32, 33, 127, 128] {
        let mut function = Function::new(vectors);
        for vector in [vectors, vectors + 1, 128, 129, 0x1000, u16::MAX] {
            function.msix.raise(vector);
            assert!(!function.msix.is_pending());
        }
        function.entry(vectors - 1, composed(1, 0x50), false);
        function.msix.raise(vectors - 1);
        assert_eq!(function.look(), [(1, 0x50)]);
    }
}

#[test]
fn reset() {
    let mut function = Function::new(40);
    function.msix.raise(3);
    function.msix.raise(39);
    assert_eq!(function.look(), []);
    assert_eq!(function.pba(), [1 << 3, 1 << 7, 0, 0]);
    function.entry(0, [0; 3], false);
    function.msix.raise(0);
    function.look();
    assert_eq!(function.msix.refused(), 1);

    // All registers are made anew.
    function.bar = Memory::new(BAR_LEN);
    function.msix.reset();
    assert!(!function.msix.is_pending());
    assert_eq!(function.msix.refused(), 1);
    assert_eq!(function.look(), []);
    function.bar.set(entry(3) + PCI_MSIX_ENTRY_VECTOR_CTRL, 1);
    function.msix.raise(3);
    assert_eq!(function.look(), []);
    assert_eq!(function.pba(), [1 << 3, 0, 0, 0], "shown anew");
}

/// A driver moves an interrupt to another CPU while it is looked at, as Linux does
/// (`pci_write_msg_msix()`), step by step and at each possible moment. No message is sent but the old
/// one and the new one, and no interrupt goes to the old one alone after the move is over.
#[test]
fn moved_while_it_is_read() {
    // As many reads as a look takes, at least; later writes come before the next look.
    const READS: usize = 10;
    let old = (1, 0x41);
    let mut seen = [0; 3];
    for new in [(1, 0x62), (3, 0x41), (3, 0x62), (0x203, 0x62)] {
        let [old_message, new_message] = [old, new].map(|(id, vector)| composed(id, vector));
        let at = entry(0);
        let writes = [
            (PCI_MSIX_ENTRY_VECTOR_CTRL, 1),
            (PCI_MSIX_ENTRY_LOWER_ADDR, new_message[0]),
            (PCI_MSIX_ENTRY_UPPER_ADDR, new_message[1]),
            (PCI_MSIX_ENTRY_DATA, new_message[2]),
            (PCI_MSIX_ENTRY_VECTOR_CTRL, 0),
        ];
        for moments in ascending(writes.len(), READS) {
            let mut function = Function::new(1);
            function.entry(0, old_message, false);
            let writes = moments.iter().zip(writes);
            *function.bar.driver.borrow_mut() = writes
                .map(|(&moment, (offset, value))| (moment, at + offset, value))
                .collect();
            function.msix.raise(0);

            // Whether the move was over when each message was sent.
            let mut sent = Vec::new();
            for _ in 0..2 {
                let Function {
                    config, bar, msix, ..
                } = &mut function;
                msix.deliver(
                    config,
                    bar,
                    |_| true,
                    |message| {
                        bar.advance();
                        let is_over = bar.driver.borrow().is_empty();
                        sent.push(((message.destination, message.vector), is_over));
                    },
                );
                bar.reads.set(READS);
                bar.advance();
            }
            assert!(!function.msix.is_pending());
            assert!(
                sent.iter().all(|(message, _)| [old, new].contains(message)),
                "{sent:x?}"
            );
            let late = sent.contains(&(old, true));
            let arrives = sent.iter().any(|(message, _)| *message == new);
            assert!(
                !sent.is_empty() && (!late || arrives),
                "{moments:?} {sent:x?}"
            );
            seen[0] += usize::from(sent.len() == 2);
            seen[1] += usize::from(late);
            seen[2] += usize::from(!arrives);
        }
    }
    // Some are sent twice, some to the old CPU at the last moment, some to it before all.
    assert!(seen.iter().all(|&count| count > 10), "{seen:?}");
}

/// All lists of `len` numbers up to `max` that do not descend.
fn ascending(len: usize, max: usize) -> Vec<Vec<usize>> {
    let mut lists = vec![vec![]];
    for _ in 0..len {
        lists = lists
            .into_iter()
            .flat_map(|list: Vec<usize>| {
                let from = list.last().copied().unwrap_or(0);
                (from..=max).map(move |next| [&list[..], &[next]].concat())
            })
            .collect();
    }
    lists
}

#[test]
fn places_of_a_table() {
    for (vectors, offset, pba, can_be) in [
        (1, 0, 16, true),
        (1, 8, 0, true),
        (128, 0x2000, 0x3000, true),
        (128, 0x3800, 0, true),
        (128, 0x3000, 0x37f8 - 8, false),
        (128, 0x3000, 0x3800, true),
        (128, 0x3000, 0x2ff0, true),
        (64, 0x1000, 0x0ff8, true),
        (65, 0x1000, 0x0ff8, false),
        (0, 0, 0x1000, false),
        (129, 0, 0x1000, false),
        (u16::MAX, 0, 0x1000, false),
        (1, 4, 0x1000, false),
        (1, 0, 0x1004, false),
        (1, 0x3ff0, 0, true),
        (1, 0x3ff8, 0, false),
        (1, 0, 0x3ff8, true),
        (65, 0, 0x3ff8, false),
        (1, 0x4000, 0, false),
        (1, 0xffff_fff8, 0, false),
        (1, 0, 0xffff_fff8, false),
        (1, 0x1000, 0x1008, false),
    ] {
        let table = Table::new(vectors, offset, pba);
        assert_eq!(table.is_some(), can_be, "{vectors} {offset:x} {pba:x}");
        if let Some(table) = table {
            assert_eq!(
                (table.vectors(), table.offset(), table.pba()),
                (vectors, offset, pba)
            );
        }
    }
}
