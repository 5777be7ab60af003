// SPDX-License-Identifier: GPL-2.0

//! Sends INIT, startup and other IPIs through the interrupt command register (ICR) of the local APIC.
//!
//! The kernel does not export its own functions for that. Reference: Intel SDM volume 3, chapter 12
//! "Advanced Programmable Interrupt Controller", and 10.4.4 for the protocol.

use crate::{
    cpu_offline::OwnedCpu,
    firmware::acpi::XAPIC_ID_MAX,
    linux::{
        errno::ESHUTDOWN,
        interrupt::{local_interrupt_disable, LocalInterruptDisabled},
    },
    machine::exclusive, //
};
use core::arch::asm;
use kernel::{
    bindings,
    new_mutex,
    prelude::*,
    processor::cpu_relax,
    sync::Mutex,
    time::{delay::fsleep, Delta}, //
};

const IA32_APIC_BASE: u32 = 0x1b;
/// `IA32_APIC_BASE`: the local APIC is in x2APIC mode.
const X2APIC_ENABLED: u64 = 1 << 10;
/// `IA32_APIC_BASE`: the local APIC is enabled.
const APIC_ENABLED: u64 = 1 << 11;
const BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Offset of the ICR's low half in xAPIC mode.
const ICR_LOW: usize = 0x300;
/// Offset of the ICR's high half in xAPIC mode, with the destination in the top byte.
const ICR_HIGH: usize = 0x310;
/// The MSR of the ICR in x2APIC mode, with the destination in the high half.
const X2APIC_ICR: u32 = 0x830;

// Fields of the ICR's low half: delivery mode (bits 8-10); physical destination mode and no
// shorthand are 0.
const MODE_FIXED: u32 = 0;
const MODE_INIT: u32 = 5 << 8;
const MODE_STARTUP: u32 = 6 << 8;
/// Set while an IPI is pending (xAPIC only).
const DELIVERY_PENDING: u32 = 1 << 12;
const LEVEL_ASSERT: u32 = 1 << 14;
const TRIGGER_LEVEL: u32 = 1 << 15;

/// How often to poll for a pending IPI before giving up. Each poll is an uncached read, so this
/// takes some milliseconds; sending an IPI takes microseconds.
const PENDING_LIMIT: u32 = 100_000;

/// The local APIC, which resets and wakes other CPUs.
#[pin_data]
pub(crate) struct LocalApic {
    registers: Registers,
    /// Whether CPUs may be woken. The lock is held while a startup IPI is sent.
    #[pin]
    gate: Mutex<Gate>,
}

#[derive(PartialEq, Eq)]
enum Gate {
    Open,
    Closed,
}

/// The local APIC of the CPU that runs the code.
///
/// # Invariants
///
/// The variant matches the mode of all CPUs of the first OS, which is constant from boot on. The
/// pointer of `XApic` is an `ioremap()` mapping of the page with the registers.
enum Registers {
    /// Memory-mapped registers, at the same address for all CPUs.
    XApic(*mut u8),
    /// Registers in MSRs.
    X2Apic,
}

// SAFETY: The mapping is the same for all threads, and each CPU reaches its own registers through
// it. A sequence of accesses runs with interrupts disabled.
unsafe impl Send for Registers {}
// SAFETY: Each CPU reaches its own registers through the mapping, and a sequence of accesses runs
// with interrupts disabled, so threads do not interfere.
unsafe impl Sync for Registers {}

impl LocalApic {
    /// Finds the mode of the local APIC, and maps its registers if they are in memory.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the local APIC is disabled, `ENOMEM` if its registers can't be mapped.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(LocalApic {
            registers: Registers::find()?,
            gate <- new_mutex!(Gate::Open),
        }? Error)
    }

    /// Returns whether the CPUs are in x2APIC mode. A reset by INIT does not change the mode.
    pub(crate) fn is_x2apic(&self) -> bool {
        matches!(self.registers, Registers::X2Apic)
    }

    /// Resets CPUs of an OS by INIT. After that, each waits for a startup IPI and executes nothing.
    ///
    /// # Errors
    ///
    /// `EIO` if an IPI was not delivered.
    pub(crate) fn init(&self, cpus: &[OwnedCpu]) -> Result {
        for cpu in cpus {
            // SAFETY: An `OwnedCpu` is an OS's.
            unsafe { self.send_init(cpu.apic_id()) }?;
        }
        self.wait_reset();
        Ok(())
    }

    /// Sends INIT to one CPU, as [`LocalApic::init`] does, but does not wait for its reset. Call
    /// [`LocalApic::wait_reset`] before waking the CPU or reusing its memory.
    ///
    /// # Errors
    ///
    /// `EIO` if an IPI was not delivered.
    ///
    /// # Safety
    ///
    /// The CPU with this APIC ID must be an OS's: the INIT ends whatever runs there.
    pub(crate) unsafe fn send_init(&self, apic_id: u32) -> Result {
        self.registers
            .send(apic_id, MODE_INIT | LEVEL_ASSERT | TRIGGER_LEVEL)?;
        // CPUs before the Pentium 4 need the INIT de-asserted; later CPUs ignore this IPI.
        self.registers.send(apic_id, MODE_INIT | TRIGGER_LEVEL)
    }

    /// Waits until CPUs that got an INIT have reset themselves.
    pub(crate) fn wait_reset(&self) {
        // The 10 ms delay of the INIT-SIPI-SIPI protocol.
        fsleep(Delta::from_millis(10));
    }

    /// Starts a CPU, after an INIT, at the page at `address` below 1 MiB.
    ///
    /// # Errors
    ///
    /// `EIO` if the IPI was not delivered, `ESHUTDOWN` after [`LocalApic::close`].
    ///
    /// # Safety
    ///
    /// The CPU with this APIC ID must be an OS's. The page must contain code that keeps to the
    /// memory of the OS, and to that in which CPUs rest.
    pub(crate) unsafe fn startup(&self, apic_id: u32, address: u64) -> Result {
        let gate = self.gate.lock();
        let _held = exclusive::hold();
        if *gate == Gate::Closed {
            return Err(ESHUTDOWN.into());
        }
        // SAFETY: This function has the same safety requirements.
        unsafe { self.send_startup(apic_id, address) }
    }

    /// Starts a CPU as [`LocalApic::startup`] does, even after [`LocalApic::close`].
    ///
    /// # Errors
    ///
    /// `EIO` if the IPI was not delivered.
    ///
    /// # Safety
    ///
    /// Those of [`LocalApic::startup`].
    pub(crate) unsafe fn send_startup(&self, apic_id: u32, address: u64) -> Result {
        let vector = (address >> 12) as u32 & 0xff;
        self.registers.send(apic_id, MODE_STARTUP | vector)
    }

    /// Interrupts a CPU: fixed delivery mode, edge-triggered. Does not wait until the interrupt is
    /// delivered.
    ///
    /// # Errors
    ///
    /// `EBUSY` if an earlier IPI is not delivered yet.
    ///
    /// # Safety
    ///
    /// The CPU with this APIC ID must be an OS's.
    pub(crate) unsafe fn interrupt(&self, apic_id: u32, vector: u8) -> Result {
        let command = MODE_FIXED | LEVEL_ASSERT | u32::from(vector);
        self.registers.try_send(apic_id, command)
    }

    /// Refuses all further calls of [`LocalApic::startup`].
    pub(crate) fn close(&self) {
        *self.gate.lock() = Gate::Closed;
    }
}

impl Registers {
    fn find() -> Result<Self> {
        let base = rdmsr(IA32_APIC_BASE);
        if base & APIC_ENABLED == 0 {
            pr_err!("the local APIC is disabled: boot without nolapic\n");
            return Err(ENODEV);
        }
        if base & X2APIC_ENABLED != 0 {
            return Ok(Registers::X2Apic);
        }
        // SAFETY: `base` has the physical address of the registers; another mapping of this page is
        // harmless.
        let registers = unsafe { bindings::ioremap(base & BASE_ADDRESS, 4096) };
        if registers.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: `ioremap()` succeeded, and `IA32_APIC_BASE` says that this is xAPIC mode.
        Ok(Registers::XApic(registers.cast()))
    }

    fn send(&self, apic_id: u32, command: u32) -> Result {
        // Both halves must be written on the same CPU, without another IPI in between.
        let interrupts = local_interrupt_disable();
        match self {
            Registers::X2Apic => {
                wrmsr(
                    X2APIC_ICR,
                    u64::from(apic_id) << 32 | u64::from(command),
                    &interrupts,
                );
                Ok(())
            }
            // In xAPIC mode the destination has 8 bits, and 255 means all CPUs.
            Registers::XApic(_) if apic_id > XAPIC_ID_MAX => {
                pr_err!("no IPI can reach APIC ID {} in xAPIC mode\n", apic_id);
                Err(EIO)
            }
            Registers::XApic(registers) => {
                let icr_low = registers.wrapping_add(ICR_LOW).cast::<u32>();
                wait_idle(icr_low)?;
                // SAFETY: By the type invariants this is the mapping of the registers, in xAPIC mode.
                unsafe { write_icr(*registers, apic_id, command, &interrupts) };
                wait_idle(icr_low)
            }
        }
    }

    /// Sends an IPI if that needs no waiting, and does not wait until the IPI is delivered.
    fn try_send(&self, apic_id: u32, command: u32) -> Result {
        let interrupts = local_interrupt_disable();
        if let Registers::XApic(registers) = self {
            let icr_low = registers.wrapping_add(ICR_LOW).cast::<u32>();
            if apic_id > XAPIC_ID_MAX || !is_idle(icr_low) {
                return Err(EBUSY);
            }
            // SAFETY: By the type invariants this is the mapping of the registers, in xAPIC mode.
            unsafe { write_icr(*registers, apic_id, command, &interrupts) };
            return Ok(());
        }
        self.send(apic_id, command)
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        if let Registers::XApic(registers) = self {
            // SAFETY: By the type invariants `ioremap()` returned the pointer, which is not used
            // any more.
            unsafe { bindings::iounmap(registers.cast()) };
        }
    }
}

/// Sends an IPI in xAPIC mode.
///
/// # Safety
///
/// `registers` must be the mapping of the local APIC's registers.
unsafe fn write_icr(
    registers: *mut u8,
    apic_id: u32,
    command: u32,
    _interrupts: &LocalInterruptDisabled,
) {
    // SAFETY: The caller guarantees that both halves of the ICR are mapped. Interrupts are disabled, so
    // no other IPI comes in between.
    unsafe {
        let icr = |half| registers.wrapping_add(half).cast::<u32>();
        icr(ICR_HIGH).write_volatile(apic_id << 24);
        icr(ICR_LOW).write_volatile(command);
    }
}

fn is_idle(icr_low: *mut u32) -> bool {
    // SAFETY: `send()` and `try_send()` pass a pointer to the mapped low half of the ICR; reading it
    // has no side effect.
    (unsafe { icr_low.read_volatile() }) & DELIVERY_PENDING == 0
}

fn wait_idle(icr_low: *mut u32) -> Result {
    for _ in 0..PENDING_LIMIT {
        if is_idle(icr_low) {
            return Ok(());
        }
        cpu_relax();
    }
    pr_err!("the local APIC did not deliver an IPI\n");
    Err(EIO)
}

fn rdmsr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: `find()` is the only caller, and reads IA32_APIC_BASE, which every CPU with a local
    // APIC has.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high,
             options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

fn wrmsr(msr: u32, value: u64, _interrupts: &LocalInterruptDisabled) {
    // Unlike other WRMSRs, writes to x2APIC registers are not serialising: other CPUs might see
    // earlier stores after the IPI (Intel SDM volume 3, 12.12.3). MFENCE; LFENCE orders them.
    // SAFETY: `send()` is the only caller, and writes the ICR, in x2APIC mode. That sends an IPI
    // and does not change memory of this kernel.
    unsafe {
        asm!("mfence", "lfence", "wrmsr",
             in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32,
             options(nostack, preserves_flags));
    }
}
