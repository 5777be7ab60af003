// SPDX-License-Identifier: GPL-2.0

//! The page in which a successor's firmware stores the successor's requests to power off or reset.
//!
//! The page is zeroed before each start.

use crate::firmware::acpi::SLP_TYP_S5;

/// Offset of the byte that is both the successor's sleep control and its sleep status register.
pub const SLEEP: usize = 0;
/// Offset of the 32-bit word that ResetSystem() writes; see `efi_runtime.S`, `efi_runtime32.S`.
pub const RESET: usize = 8;

// UEFI specification 2.10, 8.5.1, EFI_RESET_TYPE plus one, as ResetSystem() stores the type: 0
// means that it was not called. All other values are resets.
const NOT_CALLED: u32 = 0;
const RESET_WARM: u32 = 2;
const RESET_SHUTDOWN: u32 = 3;

/// ACPI specification 6.3, 4.8.3.7 "Sleep Control and Status Registers": SLP_EN, and SLP_TYP from
/// bit 2 on.
const SLP_EN: u8 = 1 << 5;
const SLP_TYP_SHIFT: u32 = 2;

/// A successor's request to its firmware. Its CPUs execute no more of its code after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Power off.
    PowerOff,
    /// Reset after an orderly shutdown.
    Reset,
    /// Reset after a panic. Mint's command line makes kernels request a warm reset then.
    ResetAfterPanic,
}

/// Returns the request that the byte at [`SLEEP`] and the word at [`RESET`] stand for.
pub fn call(sleep: u8, reset: u32) -> Option<Call> {
    match reset {
        NOT_CALLED => (sleep == (SLP_TYP_S5 << SLP_TYP_SHIFT) | SLP_EN).then_some(Call::PowerOff),
        RESET_WARM => Some(Call::ResetAfterPanic),
        RESET_SHUTDOWN => Some(Call::PowerOff),
        _ => Some(Call::Reset),
    }
}
