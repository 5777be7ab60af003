// SPDX-License-Identifier: GPL-2.0

//! Disables local interrupts for as long as a value lives.

#[cfg(interrupt)]
pub(crate) use kernel::interrupt::{local_interrupt_disable, LocalInterruptDisabled};
#[cfg(not(interrupt))]
pub(crate) use without_abstraction::{local_interrupt_disable, LocalInterruptDisabled};

/// For a `kernel` crate without `kernel::interrupt`.
#[cfg(not(interrupt))]
mod without_abstraction {
    use core::arch::asm;
    use kernel::types::NotThreadSafe;

    /// Local interrupts are disabled while this lives.
    ///
    /// # Invariants
    ///
    /// `flags` is RFLAGS of this CPU from before its interrupts were disabled.
    pub(crate) struct LocalInterruptDisabled {
        flags: u64,
        _not_send: NotThreadSafe,
    }

    /// Disables the local interrupts, as `raw_local_irq_save()` does.
    pub(crate) fn local_interrupt_disable() -> LocalInterruptDisabled {
        let flags;
        // SAFETY: This saves RFLAGS and clears IF. The compiler takes it for an access to memory,
        // so it does not move guarded accesses before it.
        unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) };
        // INVARIANT: `flags` was saved just before the CLI.
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
                // SAFETY: By the type invariants interrupts were enabled before on this CPU, and
                // the value is not `Send`.
                unsafe { asm!("sti") };
            }
        }
    }
}
