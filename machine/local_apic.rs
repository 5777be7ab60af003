// SPDX-License-Identifier: GPL-2.0

//! INIT and startup IPIs, by the local APIC's interrupt command register (ICR).
//!
//! The kernel's own functions for that are not there for modules. Reference: Intel SDM volume 3,
//! chapter 12 "Advanced Programmable Interrupt Controller", and 10.4.4 for the protocol.

use crate::{
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
/// Offset of its high half, the destination in its top byte.
const ICR_HIGH: usize = 0x310;
/// The ICR in x2APIC mode, the destination in its high half.
const X2APIC_ICR: u32 = 0x830;

// The ICR's low half: delivery mode (bits 8-10), physical destination, no shorthand.
const MODE_INIT: u32 = 5 << 8;
const MODE_STARTUP: u32 = 6 << 8;
/// Not 0 while an IPI is on its way (xAPIC only).
const DELIVERY_PENDING: u32 = 1 << 12;
const LEVEL_ASSERT: u32 = 1 << 14;
const TRIGGER_LEVEL: u32 = 1 << 15;

/// How often a pending IPI is looked at before it is given up. Each look is an uncached read, so
/// that this is some milliseconds; an IPI takes microseconds.
const PENDING_LIMIT: u32 = 100_000;

/// By what CPUs are reset and woken.
#[pin_data]
pub(crate) struct LocalApic {
    registers: Registers,
    /// Whether CPUs may be woken; held while one is.
    #[pin]
    gate: Mutex<Gate>,
}

#[derive(PartialEq, Eq)]
enum Gate {
    Open,
    Closed,
}

/// The local APIC of whatever CPU uses it.
///
/// # Invariants
///
/// In xAPIC mode, the pointer is a mapping of the page with its registers; the mode is that of
/// all CPUs of the first OS, from its boot on.
enum Registers {
    /// Registers in memory, at the same address for all CPUs.
    XApic(*mut u8),
    /// Registers in MSRs.
    X2Apic,
}

// SAFETY: Each CPU reaches its own registers through the same mapping; a sequence of accesses is
// done with interrupts off.
unsafe impl Send for Registers {}
// SAFETY: As above.
unsafe impl Sync for Registers {}

impl LocalApic {
    /// Finds out how to reach the local APIC.
    ///
    /// # Errors
    ///
    /// `ENODEV` if it is disabled, `ENOMEM` if it can't be mapped.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(LocalApic {
            registers: Registers::find()?,
            gate <- new_mutex!(Gate::Open),
        }? Error)
    }

    /// Whether the CPUs are in x2APIC mode, which they stay in when they are reset by INIT.
    pub(crate) fn is_x2apic(&self) -> bool {
        matches!(self.registers, Registers::X2Apic)
    }

    /// Resets the CPUs with these APIC IDs: each then waits for a startup IPI and runs nothing.
    ///
    /// # Errors
    ///
    /// `EIO` if an IPI was not delivered.
    pub(crate) fn init(&self, apic_ids: impl Iterator<Item = u32>) -> Result {
        for id in apic_ids {
            self.send_init(id)?;
        }
        self.wait_reset();
        Ok(())
    }

    /// As [`LocalApic::init`] for one CPU, but does not wait for it: [`LocalApic::wait_reset`]
    /// must be called before the CPU is woken or what it used is used again.
    ///
    /// # Errors
    ///
    /// `EIO` if an IPI was not delivered.
    pub(crate) fn send_init(&self, apic_id: u32) -> Result {
        self.registers
            .send(apic_id, MODE_INIT | LEVEL_ASSERT | TRIGGER_LEVEL)?;
        // CPUs before the Pentium 4 want the level taken back; later ones take no notice.
        self.registers.send(apic_id, MODE_INIT | TRIGGER_LEVEL)
    }

    /// Waits until CPUs that were sent an INIT have reset themselves.
    pub(crate) fn wait_reset(&self) {
        // The protocol's 10 ms.
        fsleep(Delta::from_millis(10));
    }

    /// Starts the CPU with this APIC ID, after INIT, at the page at `address` below 1 MiB.
    ///
    /// # Errors
    ///
    /// `EIO` if the IPI was not delivered, `ESHUTDOWN` after [`LocalApic::close`].
    pub(crate) fn startup(&self, apic_id: u32, address: u64) -> Result {
        let gate = self.gate.lock();
        let _held = exclusive::hold();
        if *gate == Gate::Closed {
            return Err(ESHUTDOWN.into());
        }
        let vector = (address >> 12) as u32 & 0xff;
        self.registers.send(apic_id, MODE_STARTUP | vector)
    }

    /// Lets no CPU be started any more.
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
        // SAFETY: The address is that of the registers; a further mapping of them does no harm.
        let registers = unsafe { bindings::ioremap(base & BASE_ADDRESS, 4096) };
        if registers.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: Just mapped, and the mode was looked at.
        Ok(Registers::XApic(registers.cast()))
    }

    fn send(&self, apic_id: u32, command: u32) -> Result {
        // Both halves must be written on one CPU, with no other IPI between.
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
            // The destination has 8 bits, of which 255 is all CPUs.
            Registers::XApic(_) if apic_id > XAPIC_ID_MAX => {
                pr_err!("no IPI can reach APIC ID {} in xAPIC mode\n", apic_id);
                Err(EIO)
            }
            Registers::XApic(registers) => {
                let icr_low = registers.wrapping_add(ICR_LOW).cast::<u32>();
                let icr_high = registers.wrapping_add(ICR_HIGH).cast::<u32>();
                wait_idle(icr_low)?;
                // SAFETY: By the type invariants these are the ICR's halves; interrupts are off.
                unsafe {
                    icr_high.write_volatile(apic_id << 24);
                    icr_low.write_volatile(command);
                }
                wait_idle(icr_low)
            }
        }
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        if let Registers::XApic(registers) = self {
            // SAFETY: By the type invariants `ioremap()` returned it.
            unsafe { bindings::iounmap(registers.cast()) };
        }
    }
}

fn wait_idle(icr_low: *mut u32) -> Result {
    for _ in 0..PENDING_LIMIT {
        // SAFETY: The caller's pointer is to the ICR; reading it has no effect.
        if unsafe { icr_low.read_volatile() } & DELIVERY_PENDING == 0 {
            return Ok(());
        }
        cpu_relax();
    }
    pr_err!("the local APIC did not deliver an IPI\n");
    Err(EIO)
}

fn rdmsr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: Only IA32_APIC_BASE is read, which every CPU with a local APIC has.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high,
             options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

fn wrmsr(msr: u32, value: u64, _interrupts: &LocalInterruptDisabled) {
    // Unlike other WRMSRs, those to x2APIC registers are not serialising, so stores before the
    // IPI might be seen after it (Intel SDM volume 3, 12.12.3): MFENCE; LFENCE orders them.
    // SAFETY: Only the ICR is written, in x2APIC mode; it sends what the caller built.
    unsafe {
        asm!("mfence", "lfence", "wrmsr",
             in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32,
             options(nostack, preserves_flags));
    }
}
