// SPDX-License-Identifier: GPL-2.0

//! The interrupts (MSI-X) of a function made of memory.
//!
//! A driver writes the message of each vector to a table in BAR 0: an address, which names a CPU, and
//! data, which names an interrupt vector of that CPU. A real function would write the data to the
//! address. Mint reads the message and sends an interprocessor interrupt instead, so a message is
//! checked first. Interrupt remapping does not concern interprocessor interrupts.
//!
//! Reference: PCI Express Base Specification 6.0, 7.7.2 "MSI-X Capability and Table Structure"; Intel
//! SDM volume 3, 12.11 "Message Signalled Interrupts".

use crate::memory_device::access::Registers;
use crate::memory_device::bus::BAR_LEN;

/// The maximum number of vectors of a function.
pub const MAX_VECTORS: u16 = 128;

/// Offset of the command register in the configuration space (7.5.1.1.3).
const COMMAND: u32 = 0x04;
const COMMAND_BUS_MASTER: u32 = 1 << 2;

/// Offset of the capability in the configuration space, chosen by Mint (`config_space.rs`). Message
/// Control (7.7.2.2) is the upper half of the first doubleword.
pub const CAPABILITY: u32 = 0x70;
const FUNCTION_MASK: u32 = 1 << 30;
const ENABLE: u32 = 1 << 31;

/// Length of an entry of the table, and the offsets in it (7.7.2.5 to 7.7.2.8).
const ENTRY_LEN: u32 = 16;
const ENTRY_ADDRESS: u32 = 0;
const ENTRY_UPPER_ADDRESS: u32 = 4;
const ENTRY_DATA: u32 = 8;
const ENTRY_CONTROL: u32 = 12;
const ENTRY_MASKED: u32 = 1 << 0;

/// Number of doublewords of the pending bit array (PBA).
const WORDS: usize = (MAX_VECTORS / 32) as usize;

/// Where the MSI-X table and the pending bit array (PBA) of a function lie in BAR 0.
///
/// # Invariants
///
/// There are 1 to [`MAX_VECTORS`] vectors. Table and PBA start at multiples of 8, lie in BAR 0, and do
/// not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    vectors: u16,
    offset: u32,
    pba: u32,
}

impl Table {
    /// Makes a table of `vectors` vectors at `offset`, with its PBA at `pba`. Returns [`None`] if this
    /// would violate the invariants.
    pub const fn new(vectors: u16, offset: u32, pba: u32) -> Option<Self> {
        let len = vectors as u64 * ENTRY_LEN as u64;
        // One bit for each vector, in quadwords (7.7.2.9).
        let pba_len = (vectors as u64).div_ceil(64) * 8;
        let (table_end, pba_end) = (offset as u64 + len, pba as u64 + pba_len);
        let can_be = vectors > 0
            && vectors <= MAX_VECTORS
            && offset % 8 == 0
            && pba % 8 == 0
            && table_end <= BAR_LEN
            && pba_end <= BAR_LEN
            && (table_end <= pba as u64 || pba_end <= offset as u64);
        if !can_be {
            return None;
        }
        // INVARIANT: Checked above.
        Some(Table {
            vectors,
            offset,
            pba,
        })
    }

    /// Returns the number of vectors.
    pub const fn vectors(&self) -> u16 {
        self.vectors
    }

    /// Returns the offset of the table in BAR 0.
    pub const fn offset(&self) -> u32 {
        self.offset
    }

    /// Returns the offset of the PBA in BAR 0.
    pub const fn pba(&self) -> u32 {
        self.pba
    }
}

/// An interrupt for a CPU of the successor: fixed delivery mode, edge-triggered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The APIC ID of the CPU.
    pub destination: u32,
    /// The vector, 32 or higher.
    pub vector: u8,
}

/// The interrupts of a function.
#[derive(Clone, Debug)]
pub struct Msix {
    table: Table,
    /// One bit for each vector: an interrupt waits to be sent.
    pending: [u32; WORDS],
    /// The PBA in BAR 0.
    shown: [u32; WORDS],
    refused: u64,
}

impl Msix {
    /// Makes the interrupts of a function with this table; none is pending. BAR 0 must be all zeros
    /// where the PBA is.
    pub const fn new(table: Table) -> Self {
        Msix {
            table,
            pending: [0; WORDS],
            shown: [0; WORDS],
            refused: 0,
        }
    }

    /// Makes an interrupt of `vector` pending. Does nothing if there is no such vector.
    pub fn raise(&mut self, vector: u16) {
        if vector >= self.table.vectors {
            return;
        }
        if let Some(word) = self.pending.get_mut(usize::from(vector / 32)) {
            *word |= 1 << (vector % 32);
        }
    }

    /// Returns whether an interrupt waits to be sent. As long as it does, [`Msix::deliver`] must be
    /// called again and again: nothing tells when the successor unmasks it.
    pub fn is_pending(&self) -> bool {
        self.pending.iter().any(|&word| word != 0)
    }

    /// Returns the number of messages that were refused since [`Msix::new`].
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Forgets what is pending. BAR 0 must be all zeros where the PBA is.
    pub fn reset(&mut self) {
        self.pending = [0; WORDS];
        self.shown = [0; WORDS];
    }

    /// Sends each pending interrupt by `send`, unless the successor has masked it or is changing its
    /// message; such an interrupt stays pending. Drops and counts an interrupt whose message is not
    /// valid, or names a CPU for which `is_destination` returns `false`.
    ///
    /// `config` is the configuration space of the function, and `bar` its BAR 0. What an interrupt
    /// reports must have been made visible to the successor before.
    pub fn deliver(
        &mut self,
        config: &impl Registers,
        bar: &impl Registers,
        is_destination: impl Fn(u32) -> bool,
        mut send: impl FnMut(Message),
    ) {
        if !self.is_pending() {
            return;
        }
        if is_on(config) {
            for vector in 0..self.table.vectors {
                let (index, bit) = (usize::from(vector / 32), 1 << (vector % 32));
                let Some(word) = self.pending.get(index) else {
                    return;
                };
                if word & bit == 0 {
                    continue;
                }
                let entry = Entry {
                    bar,
                    offset: self.table.offset + u32::from(vector) * ENTRY_LEN,
                };
                let done = match entry.read() {
                    None => false,
                    Some(raw) => match raw.decode().filter(|to| is_destination(to.destination)) {
                        None => {
                            self.refused = self.refused.saturating_add(1);
                            true
                        }
                        Some(message) => {
                            send(message);
                            entry.still_is(raw)
                        }
                    },
                };
                if let Some(word) = self.pending.get_mut(index).filter(|_| done) {
                    *word &= !bit;
                }
            }
        }
        self.show(bar);
    }

    /// Writes the PBA where it differs from what BAR 0 has.
    fn show(&mut self, bar: &impl Registers) {
        let words = self.pending.iter().zip(&mut self.shown);
        for (offset, (&pending, shown)) in (self.table.pba..).step_by(4).zip(words) {
            if pending != *shown {
                bar.write(offset, pending);
                *shown = pending;
            }
        }
    }
}

/// Returns whether the function may send messages: MSI-X is on, not masked as a whole, and the
/// function may write to memory.
fn is_on(config: &impl Registers) -> bool {
    config.read(CAPABILITY) & (ENABLE | FUNCTION_MASK) == ENABLE
        && config.read(COMMAND) & COMMAND_BUS_MASTER != 0
}

/// An entry of the MSI-X table.
struct Entry<'a, R> {
    bar: &'a R,
    offset: u32,
}

impl<R: Registers> Entry<'_, R> {
    fn field(&self, field: u32) -> u32 {
        self.bar.read(self.offset + field)
    }

    /// Reads the message; returns [`None`] if the entry is masked or is being changed.
    ///
    /// Linux masks an entry, writes address and data, and unmasks the entry
    /// (`pci_write_msg_msix()` in `drivers/pci/msi/msi.c`). So an address from before a change and data
    /// from after it are told by the second look: it finds the entry masked, or the new address.
    fn read(&self) -> Option<RawMessage> {
        let is_masked = || self.field(ENTRY_CONTROL) & ENTRY_MASKED != 0;
        if is_masked() {
            return None;
        }
        let raw = RawMessage {
            address: self.field(ENTRY_ADDRESS),
            upper_address: self.field(ENTRY_UPPER_ADDRESS),
            data: self.field(ENTRY_DATA),
        };
        (!is_masked() && self.still_is(raw)).then_some(raw)
    }

    /// Returns whether the entry has the message `raw`.
    ///
    /// A CPU of the successor that goes offline hands its interrupts on, waits for 1 ms, and looks a
    /// last time for those that came nevertheless (`fixup_irqs()` in `arch/x86/kernel/irq.c`). If a
    /// message is read before that and sent after it, the interrupt is lost. So the entry is read once
    /// more after a message was sent, and an interrupt whose entry has changed is sent anew. One
    /// interrupt too many does no harm.
    fn still_is(&self, raw: RawMessage) -> bool {
        self.field(ENTRY_ADDRESS) == raw.address && self.field(ENTRY_DATA) == raw.data
    }
}

/// A message as it is in the table.
#[derive(Clone, Copy)]
struct RawMessage {
    address: u32,
    upper_address: u32,
    data: u32,
}

// Intel SDM volume 3, 12.11.1: address.
const ADDRESS_BASE_MASK: u32 = 0xfff0_0000;
const ADDRESS_BASE: u32 = 0xfee0_0000;
/// Destination mode: logical. Logical IDs count from each system's own CPU 0.
const ADDRESS_LOGICAL: u32 = 1 << 2;
/// The format for interrupt remapping (`dmar_format` in `arch/x86/include/asm/msi.h`), and two bits
/// that are 0 because the address is a doubleword's. Bit 3, the redirection hint, has no effect in
/// physical destination mode.
const ADDRESS_RESERVED: u32 = (1 << 4) | 0b11;

// 12.11.2: data.
/// Delivery mode; 0 is "fixed".
const DATA_DELIVERY_MODE: u32 = 0b111 << 8;
/// Trigger mode: level.
const DATA_LEVEL: u32 = 1 << 15;
/// The vectors below are those of exceptions (7.2).
const FIRST_VECTOR: u8 = 32;

impl RawMessage {
    /// Returns the interrupt that the message stands for; [`None`] unless it is one that Linux writes
    /// without interrupt remapping (`__irq_msi_compose_msg()` in `arch/x86/kernel/apic/apic.c`).
    fn decode(self) -> Option<Message> {
        let vector = self.data as u8;
        let is_valid = self.upper_address == 0
            && self.address & ADDRESS_BASE_MASK == ADDRESS_BASE
            && self.address & (ADDRESS_LOGICAL | ADDRESS_RESERVED) == 0
            && self.data & (DATA_DELIVERY_MODE | DATA_LEVEL) == 0
            && vector >= FIRST_VECTOR;
        // Bits 12 to 19 are the low 8 bits of the APIC ID. Under a hypervisor that says so, Linux
        // writes 7 more to bits 5 to 11 (`virt_destid_8_14`); else these are 0.
        let low = (self.address >> 12) & 0xff;
        let high = (self.address >> 5) & 0x7f;
        is_valid.then_some(Message {
            destination: (high << 8) | low,
            vector,
        })
    }
}
