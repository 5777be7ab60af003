// SPDX-License-Identifier: GPL-2.0

//! The page in which a successor's firmware leaves what the successor asked it for.
//!
//! It is zeroed before each start.

use crate::firmware::acpi::SLP_TYP_S5;

/// Offset of the byte that is the successor's sleep control and sleep status register.
pub const SLEEP: usize = 0;
/// Offset of the 32-bit word that ResetSystem() writes; see `efi_runtime.S`, `efi_runtime32.S`.
pub const RESET: usize = 8;

// UEFI specification 2.10, 8.5.1, EFI_RESET_TYPE; one more each, as ResetSystem() writes them,
// since 0 is that it was not called. Others are resets as well.
const NOT_CALLED: u32 = 0;
const RESET_WARM: u32 = 2;
const RESET_SHUTDOWN: u32 = 3;

/// ACPI specification 6.3, 4.8.3.7 "Sleep Control and Status Registers": SLP_EN, and SLP_TYP from
/// bit 2 on.
const SLP_EN: u8 = 1 << 5;
const SLP_TYP_SHIFT: u32 = 2;

/// What a successor asked its firmware for. Its CPUs run nothing else any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// To be powered off.
    PowerOff,
    /// To be reset, in order.
    Reset,
    /// To be reset after a panic: Mint tells kernels to ask for that by a warm reset.
    ResetAfterPanic,
}

/// What is asked for by the byte at [`SLEEP`] and the word at [`RESET`].
pub fn call(sleep: u8, reset: u32) -> Option<Call> {
    match reset {
        NOT_CALLED => (sleep == (SLP_TYP_S5 << SLP_TYP_SHIFT) | SLP_EN).then_some(Call::PowerOff),
        RESET_WARM => Some(Call::ResetAfterPanic),
        RESET_SHUTDOWN => Some(Call::PowerOff),
        _ => Some(Call::Reset),
    }
}
