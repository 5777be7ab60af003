// SPDX-License-Identifier: GPL-2.0

//! What a successor takes for its I/O APIC: memory that looks like one when it is looked at.
//!
//! An I/O APIC has two registers in memory: an index, and a window to the register of that index. In
//! plain memory the index has no effect: whatever register is read, it has the value that was last
//! written to any. That is enough for Linux, 64-bit and 32-bit (`arch/x86/kernel/apic/io_apic.c`):
//!
//! - `mp_register_ioapic()` comes first, and finds [`VERSION`] everywhere. It reads registers 0 to 2,
//!   which must not all be -1 (`bad_ioapic_register()`), then the version and the number of pins. It
//!   takes the ID that the MADT says (`io_apic_unique_id()`), and writes nothing. A 32-bit kernel on
//!   a CPU from before the Pentium 4 may write another ID, which is in other bits.
//! - No pin is used for legacy interrupts, since hardware-reduced ACPI has none
//!   (`mp_config_acpi_legacy_irqs()` in `arch/x86/kernel/acpi/boot.c`, `enable_IO_APIC()`,
//!   `setup_IO_APIC()`).
//! - A CPU that knows x2APIC makes the kernel read all redirection entries, mask those that are not,
//!   and write them back (`enable_IR_x2apic()` in `apic.c`). Bit 16 of the version says "masked", and
//!   so the value stays what it was.
//! - An interrupt that is requested is written to the entry of its pin (`ioapic_configure_entry()`),
//!   the lower half last, and that is what is read from then on. "Remote IRR" in it, bit 14, is 0, so
//!   that the interrupt is never taken to be in service (`ioapic_irq_get_chip_state()`).
//! - On reboot and kexec, `clear_IO_APIC()` masks each pin. It passes over those that deliver SMIs,
//!   and complains of a remote IRR that does not go: neither is in what was written.
//!
//! The last leaves 0 behind, which reads as an I/O APIC with a single pin. A kernel that comes by
//! kexec still finds [`GSI`], without which it could not enable a device.
//!
//! Reference: Intel 82093AA I/O Advanced Programmable Interrupt Controller (IOAPIC), section 3.

/// Bytes that it takes; the highest that a kernel accesses is the EOI register, at 0x40.
pub const LEN: usize = 256;
/// Offset of the window, IOWIN.
const WINDOW: usize = 0x10;
/// IOAPICVER: version 0x20, and 0x17 for the number of the last pin. MSIs get the interrupt numbers
/// behind those of the 24 pins (`arch_dynirq_lower_bound()`), so that they are none of the numbers
/// that the PC's serial ports have to their driver, 3 and 4.
const VERSION: u32 = (0x17 << 16) | 0x20;

/// The pin that all interrupt pins of PCI devices are said to be connected to. None is: a device can
/// only interrupt by MSI. But were they said to be connected to none, the kernel would warn of each
/// device that has one (`acpi_pci_irq_enable()` in `drivers/acpi/pci_irq.c`).
pub const GSI: u32 = 0;

/// The memory as a kernel must find it.
pub fn registers() -> [u8; LEN] {
    let mut registers = [0; LEN];
    registers[WINDOW..WINDOW + 4].copy_from_slice(&VERSION.to_le_bytes());
    registers
}
