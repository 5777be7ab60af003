// SPDX-License-Identifier: GPL-2.0

//! The memory that a successor takes for its I/O APIC, and what `arch/x86/kernel/apic/io_apic.c` of
//! Linux 7.3 does with it. The functions here have the names and the accesses of those there.

use mint_unit::firmware::ioapic::{registers, GSI, LEN};

/// Memory in which each access must be one to an index or to what stands for a register.
struct Memory([u8; LEN]);

impl Memory {
    fn read(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.0[offset..offset + 4].try_into().unwrap())
    }

    fn write(&mut self, offset: usize, value: u32) {
        self.0[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn io_apic_read(&mut self, register: u32) -> u32 {
        self.write(0x00, register);
        self.read(0x10)
    }

    fn io_apic_write(&mut self, register: u32, value: u32) {
        self.write(0x00, register);
        self.write(0x10, value);
    }

    fn ioapic_read_entry(&mut self, pin: u32) -> Entry {
        Entry {
            w1: self.io_apic_read(0x10 + 2 * pin),
            w2: self.io_apic_read(0x11 + 2 * pin),
        }
    }

    fn ioapic_write_entry(&mut self, pin: u32, entry: Entry) {
        self.io_apic_write(0x11 + 2 * pin, entry.w2);
        self.io_apic_write(0x10 + 2 * pin, entry.w1);
    }

    fn ioapic_mask_entry(&mut self, pin: u32) {
        self.io_apic_write(0x10 + 2 * pin, MASKED);
        self.io_apic_write(0x11 + 2 * pin, 0);
    }

    /// What `mp_register_ioapic()` finds, if anything: the version and the number of pins. The ID is
    /// that of the MADT, but for a 32-bit kernel on an old CPU, which has `id` written.
    fn register(&mut self, id: Option<u32>) -> Option<(u32, u32)> {
        if (0..=2).all(|register| self.io_apic_read(register) == u32::MAX) {
            return None;
        }
        if let Some(id) = id {
            let old = self.io_apic_read(0);
            if (old >> 24) & 0xf != id {
                self.io_apic_write(0, (old & !(0xf << 24)) | (id << 24));
                assert_eq!((self.io_apic_read(0) >> 24) & 0xf, id, "can't be changed");
            }
        }
        let version = self.io_apic_read(1) & 0xff;
        let pins = ((self.io_apic_read(1) >> 16) & 0xff) + 1;
        Some((version, pins))
    }

    /// `enable_IR_x2apic()`
    fn save_mask_and_restore(&mut self, pins: u32) {
        let saved: Vec<_> = (0..pins).map(|pin| self.ioapic_read_entry(pin)).collect();
        for (pin, entry) in (0..).zip(&saved) {
            if entry.w1 & MASKED == 0 {
                let w1 = entry.w1 | MASKED;
                self.ioapic_write_entry(pin, Entry { w1, ..*entry });
            }
        }
        for (pin, entry) in (0..).zip(saved) {
            self.ioapic_write_entry(pin, entry);
        }
    }

    /// `clear_IO_APIC()`; where it does more than mask a pin, or complains, it fails here.
    fn clear(&mut self, pins: u32) {
        for pin in 0..pins {
            let mut entry = self.ioapic_read_entry(pin);
            assert_ne!((entry.w1 >> 8) & 7, SMI);
            if entry.w1 & MASKED == 0 {
                entry.w1 |= MASKED;
                self.ioapic_write_entry(pin, entry);
                entry = self.ioapic_read_entry(pin);
            }
            assert_eq!(entry.w1 & REMOTE_IRR, 0);
            self.ioapic_mask_entry(pin);
            let entry = self.ioapic_read_entry(pin);
            assert_eq!(entry.w1 & REMOTE_IRR, 0, "Unable to reset IRR");
        }
    }
}

/// `struct IO_APIC_route_entry`
#[derive(Clone, Copy)]
struct Entry {
    w1: u32,
    w2: u32,
}

const SMI: u32 = 2;
const ACTIVE_LOW: u32 = 1 << 13;
const REMOTE_IRR: u32 = 1 << 14;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;

fn new() -> Memory {
    Memory(registers())
}

#[test]
fn it_has_the_pins_of_a_pc() {
    for id in [None, Some(0), Some(7), Some(15)] {
        assert_eq!(new().register(id), Some((0x20, 24)));
    }
}

#[test]
fn looking_for_x2apic_changes_nothing() {
    let mut memory = new();
    memory.save_mask_and_restore(24);
    assert_eq!(memory.register(None), Some((0x20, 24)));
}

/// An interrupt of a device without MSI is requested, masked, unmasked, and freed.
#[test]
fn interrupts_that_are_used() {
    for vector in 0x20..=0xff {
        for destination in [0, 1, 0xfe, 0x7fff] {
            let mut memory = new();
            let (_, pins) = memory.register(None).unwrap();
            assert!(GSI < pins);
            // ioapic_setup_msg_from_msi()
            let entry = Entry {
                w1: vector | ACTIVE_LOW | LEVEL,
                w2: ((destination & 0xff) << 24) | ((destination >> 8) << 17),
            };
            memory.ioapic_write_entry(GSI, entry);
            for masked in [0, MASKED, 0] {
                // io_apic_modify_irq()
                memory.io_apic_write(0x10 + 2 * GSI, entry.w1 | masked);
                // ioapic_irq_get_chip_state(), before it is freed.
                let entry = memory.ioapic_read_entry(GSI);
                assert_eq!(entry.w1 & (REMOTE_IRR | LEVEL), LEVEL);
            }
            let left = memory.read(0x10);
            memory.save_mask_and_restore(pins);
            assert_eq!(memory.read(0x10), left);
            memory.clear(pins);
        }
    }
}

/// A kernel that was started by kexec.
#[test]
fn the_pin_is_there_after_a_shutdown() {
    let mut memory = new();
    memory.clear(24);
    let (_, pins) = memory.register(None).unwrap();
    assert!(GSI < pins);
    memory.save_mask_and_restore(pins);
    memory.clear(pins);
}
