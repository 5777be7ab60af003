// SPDX-License-Identifier: GPL-2.0

//! The emulated I/O APIC of a successor: plain memory that Linux accepts as an I/O APIC.
//!
//! An I/O APIC has two registers in memory: an index, and a window to the register of that index.
//! In plain memory the index has no effect: each register reads as the value that was last written
//! to any of them. That is enough for Linux, 64-bit and 32-bit (`arch/x86/kernel/apic/io_apic.c`):
//!
//! - `mp_register_ioapic()` comes first, and reads [`VERSION`] from each register. It reads
//!   registers 0 to 2, which must not all be -1 (`bad_ioapic_register()`), then the version and the
//!   number of pins. It takes the ID from the MADT (`io_apic_unique_id()`), and writes nothing. A
//!   32-bit kernel on a CPU older than the Pentium 4 may write another ID, but the ID is in other
//!   bits.
//! - The kernel uses no pin for legacy interrupts, since hardware-reduced ACPI has none
//!   (`mp_config_acpi_legacy_irqs()` in `arch/x86/kernel/acpi/boot.c`, `enable_IO_APIC()`,
//!   `setup_IO_APIC()`).
//! - On a CPU with x2APIC, the kernel reads all redirection entries, masks those that are unmasked,
//!   and writes them back (`enable_IR_x2apic()` in `apic.c`). Bit 16 of the version reads as
//!   "masked", so the value stays the same.
//! - When a driver requests an interrupt, the kernel writes the redirection entry of its pin
//!   (`ioapic_configure_entry()`), the lower half last. From then on each register reads as that
//!   half. Its bit 14, "Remote IRR", is 0, so the kernel never takes the interrupt to be in service
//!   (`ioapic_irq_get_chip_state()`).
//! - On reboot and kexec, `clear_IO_APIC()` masks each pin. It skips pins that deliver SMIs, and
//!   warns about a Remote IRR that stays set. Neither is set in the value that was written.
//!
//! After that, each register reads as 0, which means an I/O APIC with a single pin. The next
//! kernel, started by kexec, still finds [`GSI`], without which it could not enable a device.
//!
//! Reference: Intel 82093AA I/O Advanced Programmable Interrupt Controller (IOAPIC), section 3.

/// Length in bytes; the highest register that a kernel accesses is the EOI register, at 0x40.
pub const LEN: usize = 256;
/// Offset of the window register, IOWIN.
const WINDOW: usize = 0x10;
/// IOAPICVER: version 0x20, and 0x17 as the number of the last pin. The kernel numbers MSIs from
/// after these 24 pins on (`arch_dynirq_lower_bound()`). So no MSI gets the number 3 or 4, which
/// the serial driver takes for the interrupts of the PC's serial ports.
const VERSION: u32 = (0x17 << 16) | 0x20;

/// The pin to which `_PRT` routes all interrupt pins of PCI devices. No device is really connected
/// to it; devices can interrupt only by MSI. Without a route, the kernel would warn about each
/// device that has an interrupt pin (`acpi_pci_irq_enable()` in `drivers/acpi/pci_irq.c`).
pub const GSI: u32 = 0;

/// Returns the initial contents of the emulated registers.
pub fn registers() -> [u8; LEN] {
    let mut registers = [0; LEN];
    registers[WINDOW..WINDOW + 4].copy_from_slice(&VERSION.to_le_bytes());
    registers
}
