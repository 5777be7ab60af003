// SPDX-License-Identifier: GPL-2.0

//! The page in which a successor's firmware leaves what the successor asked it for.
//!
//! It is zeroed before each start.

use crate::firmware::acpi::SLP_TYP_S5;

/// Offset of the byte that is the successor's sleep control and sleep status register.
pub const SLEEP: usize = 0;
/// Offset of the 32-bit word that ResetSystem() writes; see `efi_runtime.S`.
pub const RESET: usize = 8;

// UEFI specification 2.10, 8.5.1 "EFI_RUNTIME_SERVICES.ResetSystem()", EFI_RESET_TYPE; as ResetSystem() of
// `efi_runtime.S` writes them, one more, since 0 is that it was not called.
const RESET_COLD: u32 = 1;
const RESET_WARM: u32 = 2;
const RESET_SHUTDOWN: u32 = 3;
const RESET_PLATFORM_SPECIFIC: u32 = 4;

/// ACPI specification 6.3, table 4-33, sleep control register: SLP_EN, and SLP_TYP from bit 2 on.
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
        RESET_COLD | RESET_PLATFORM_SPECIFIC => Some(Call::Reset),
        RESET_WARM => Some(Call::ResetAfterPanic),
        RESET_SHUTDOWN => Some(Call::PowerOff),
        _ if sleep == SLP_TYP_S5 << SLP_TYP_SHIFT | SLP_EN => Some(Call::PowerOff),
        _ => None,
    }
}
