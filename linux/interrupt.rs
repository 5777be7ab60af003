// SPDX-License-Identifier: GPL-2.0

//! Local interrupts, disabled for as long as a value lives.

#[cfg(interrupt)]
pub(crate) use kernel::interrupt::{local_interrupt_disable, LocalInterruptDisabled};
#[cfg(not(interrupt))]
pub(crate) use without_abstraction::{local_interrupt_disable, LocalInterruptDisabled};

/// For a `kernel` crate that has no abstraction of it.
#[cfg(not(interrupt))]
mod without_abstraction {
    use core::arch::asm;
    use kernel::types::NotThreadSafe;

    /// Local interrupts are disabled while this lives.
    ///
    /// # Invariants
    ///
    /// `flags` are those of this CPU before its interrupts were disabled.
    pub(crate) struct LocalInterruptDisabled {
        flags: u64,
        _not_send: NotThreadSafe,
    }

    /// Disables the local interrupts, as `raw_local_irq_save()` does.
    pub(crate) fn local_interrupt_disable() -> LocalInterruptDisabled {
        let flags;
        // SAFETY: Saves RFLAGS and clears IF. What the value that is returned guards comes after, since
        // the compiler takes this for an access to memory.
        unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) };
        // INVARIANT: Just saved.
        LocalInterruptDisabled {
            flags,
            _not_send: NotThreadSafe,
        }
    }

    impl Drop for LocalInterruptDisabled {
        fn drop(&mut self) {
            // X86_EFLAGS_IF, arch/x86/include/uapi/asm/processor-flags.h.
            const IF: u64 = 1 << 9;
            if self.flags & IF != 0 {
                // SAFETY: By the type invariants interrupts were enabled before on this CPU.
                unsafe { asm!("sti") };
            }
        }
    }
}
