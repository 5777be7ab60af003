// SPDX-License-Identifier: GPL-2.0

//! The card's registers (ena_regs_defs.h), and where they lie in BAR 0.
//!
//! The BAR also has the MSI-X table and its pending bits, which are not the card's.
//!
//! Bit 0 of the function's revision must be set: it tells the driver to read registers by plain
//! reads (ENA_MMIO_DISABLE_REG_READ, `ena_device_init()`).

use crate::memory_device::access::Registers;

/// The highest number of queue pairs.
pub const MAX_QUEUE_PAIRS: u16 = 8;

/// Length of BAR 0.
pub const BAR_LEN: u32 = 0x4000;
/// Offset of the MSI-X table.
pub const MSIX_TABLE: u32 = 0x2000;
/// Offset of the MSI-X table's pending bits (PBA).
pub const MSIX_PENDING: u32 = 0x3000;

/// Returns the number of interrupt vectors of a card with `pairs` queue pairs: one for each, and
/// vector 0 for management (`ena_enable_msix()`).
pub const fn vectors(pairs: u16) -> u16 {
    pairs + 1
}

// ena_registers offsets
const VERSION: u32 = 0x0;
const CONTROLLER_VERSION: u32 = 0x4;
const CAPS: u32 = 0x8;
const AQ_BASE: u32 = 0x10;
const AQ_CAPS: u32 = 0x18;
const ACQ_BASE: u32 = 0x20;
const ACQ_CAPS: u32 = 0x28;
/// The doorbell of the admin queue.
pub(super) const AQ_DOORBELL: u32 = 0x2c;
const AENQ_CAPS: u32 = 0x34;
const AENQ_BASE: u32 = 0x38;
const AENQ_HEAD: u32 = 0x40;
const INTR_MASK: u32 = 0x4c;
const DEV_CTL: u32 = 0x54;
const DEV_STS: u32 = 0x58;

/// The registers that a reset clears: what the driver writes, but not DEV_CTL, which it has just
/// written.
const CLEARED: core::ops::Range<u32> = AQ_BASE..DEV_CTL;

// Where the driver is told that these are, when it creates a queue.
/// Doorbells of submission queues, by the queue's index.
const SQ_DOORBELLS: u32 = 0x1000;
/// The registers for interrupts, by vector.
const UNMASK: u32 = 0x1800;

/// ENA_COMMON_SPEC_VERSION_MAJOR and _MINOR: 2.0.
const VERSION_VALUE: u32 = 2 << 8;
/// The lowest that the driver accepts: MIN_ENA_CTRL_VER, `ena_com_validate_version()`.
const CONTROLLER_VERSION_VALUE: u32 = 1;

/// Bits of an address, as many as descriptors have (ena_eth_io_defs.h).
pub(super) const ADDRESS_BITS: u32 = 48;
/// ENA_REGS_CAPS_RESET_TIMEOUT in units of 100 ms: the longest that it can tell.
const RESET_TIMEOUT: u32 = 31;
// ENA_REGS_CAPS_CONTIGUOUS_QUEUE_REQUIRED; ENA_REGS_CAPS_ADMIN_CMD_TO is 0, for the driver's own
// limit of 3 s.
const CAPS_VALUE: u32 = 1 | (RESET_TIMEOUT << 1) | (ADDRESS_BITS << 8);

/// ENA_REGS_DEV_CTL_DEV_RESET
const CTL_RESET: u32 = 1 << 0;
/// ENA_REGS_DEV_STS_READY: `ena_com_dev_reset()` gives up without.
const STS_READY: u32 = 1 << 0;
/// ENA_REGS_DEV_STS_RESET_IN_PROGRESS
const STS_RESET_IN_PROGRESS: u32 = 1 << 3;
/// ENA_REGS_DEV_STS_FATAL_ERROR
const STS_FATAL_ERROR: u32 = 1 << 5;

/// ENA_REGS_ADMIN_INTR_MASK: no interrupt for admin commands; the driver polls.
const ADMIN_INTR_MASK: u32 = 1 << 0;
/// ENA_ETH_IO_INTR_REG_INTR_UNMASK
const INTR_UNMASK: u32 = 1 << 30;

/// What DEV_STS says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeviceStatus {
    /// The driver may use the card.
    Ready,
    /// All was forgotten; the driver is to clear DEV_CTL.
    Resetting,
    /// The card has stopped. Linux's driver finds out by its watchdogs, and resets the card.
    Fatal,
}

/// Sets DEV_STS.
pub(super) fn set_status(registers: &impl Registers, status: DeviceStatus) {
    let value = match status {
        DeviceStatus::Ready => STS_READY,
        DeviceStatus::Resetting => STS_READY | STS_RESET_IN_PROGRESS,
        DeviceStatus::Fatal => STS_READY | STS_FATAL_ERROR,
    };
    registers.write(DEV_STS, value);
}

/// Returns whether DEV_CTL asks for a reset.
pub(super) fn asks_for_reset(registers: &impl Registers) -> bool {
    registers.read(DEV_CTL) & CTL_RESET != 0
}

/// Where a ring of the admin queue lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingPlace {
    /// The address of the first entry.
    pub base: u64,
    /// The number of entries.
    pub depth: u16,
    /// The length of an entry.
    pub entry_len: u16,
}

/// Where the admin queue lies: the ring of commands, and that of completions.
pub(super) fn admin_rings(registers: &impl Registers) -> [RingPlace; 2] {
    [
        place(registers, AQ_BASE, AQ_CAPS),
        place(registers, ACQ_BASE, ACQ_CAPS),
    ]
}

/// Where the asynchronous event notification queue (AENQ) lies.
pub(super) fn event_ring(registers: &impl Registers) -> RingPlace {
    place(registers, AENQ_BASE, AENQ_CAPS)
}

/// The base's upper half lies 4 bytes behind the lower. In the capabilities, the depth is bits 15:0,
/// and the entry's length bits 31:16.
fn place(registers: &impl Registers, base: u32, caps: u32) -> RingPlace {
    let caps = registers.read(caps);
    RingPlace {
        base: u64::from(registers.read(base)) | (u64::from(registers.read(base + 4)) << 32),
        depth: caps as u16,
        entry_len: (caps >> 16) as u16,
    }
}

/// Returns whether the driver has given the first admin command.
pub(super) fn has_admin_command(registers: &impl Registers) -> bool {
    registers.read(AQ_DOORBELL) != 0
}

/// Returns whether the driver wants an interrupt for completions of admin commands.
pub(super) fn wants_admin_interrupt(registers: &impl Registers) -> bool {
    registers.read(INTR_MASK) & ADMIN_INTR_MASK == 0
}

/// Returns the head doorbell of the AENQ: 0 before the driver is ready for events
/// (`ena_com_admin_aenq_enable()`), then the number of events that it has taken and of entries.
pub(super) fn event_head(registers: &impl Registers) -> u32 {
    registers.read(AENQ_HEAD)
}

/// The doorbell of submission queue `queue`, as an offset in BAR 0.
pub(super) fn sq_doorbell(queue: u16) -> u32 {
    SQ_DOORBELLS + u32::from(queue) * 4
}

/// The register by which the driver unmasks interrupt `vector`, as an offset in BAR 0.
pub(super) fn unmask_register(vector: u16) -> u32 {
    UNMASK + u32::from(vector) * 4
}

/// Returns whether the driver has unmasked interrupt `vector`. Where it has not, it looks at its rings
/// before it does so.
pub(super) fn is_unmasked(registers: &impl Registers, vector: u16) -> bool {
    registers.read(unmask_register(vector)) & INTR_UNMASK != 0
}

/// Masks interrupt `vector`. The driver writes the same value each time that it unmasks the interrupt,
/// which could not be seen otherwise.
pub(super) fn mask(registers: &impl Registers, vector: u16) {
    registers.write(unmask_register(vector), 0);
}

/// Sets all registers as after power-on.
pub(super) fn power_on(registers: &impl Registers) {
    fill(registers, 0..MSIX_TABLE, 0);
    registers.write(VERSION, VERSION_VALUE);
    registers.write(CONTROLLER_VERSION, CONTROLLER_VERSION_VALUE);
    registers.write(CAPS, CAPS_VALUE);
}

/// Clears what the driver has written, for `pairs` queue pairs.
pub(super) fn reset(registers: &impl Registers, pairs: u16) {
    fill(registers, CLEARED, 0);
    fill(registers, SQ_DOORBELLS..sq_doorbell(pairs * 2), 0);
    fill(registers, UNMASK..unmask_register(vectors(pairs)), 0);
}

/// Sets all registers to all ones, as a function reads that is not there.
pub(super) fn vanish(registers: &impl Registers) {
    fill(registers, 0..MSIX_TABLE, u32::MAX);
}

fn fill(registers: &impl Registers, range: core::ops::Range<u32>, value: u32) {
    for offset in range.step_by(4) {
        registers.write(offset, value);
    }
}
