// SPDX-License-Identifier: GPL-2.0

//! What a successor's mailbox says, whatever is in it.

use mint_unit::firmware::mailbox::{call, Call, RESET, SLEEP};
use r_efi::system::{RESET_COLD, RESET_PLATFORM_SPECIFIC, RESET_SHUTDOWN, RESET_WARM};

// ACPI_X_SLEEP_ENABLE and ACPI_X_SLEEP_TYPE_POSITION of include/acpi/actbl.h, and what \_S5 says.
const POWER_OFF: u8 = 0x20 | (5 << 2);

/// The word that is left by a ResetSystem() of `kind`.
fn left_by(kind: u32) -> u32 {
    kind + 1
}

#[test]
fn powered_off_by_acpi() {
    for sleep in 0..=u8::MAX {
        let expected = (sleep == POWER_OFF).then_some(Call::PowerOff);
        assert_eq!(call(sleep, 0), expected, "{sleep:#x}");
    }
}

#[test]
fn reset_by_efi() {
    // Whatever was asked of ACPI before.
    for sleep in [0, POWER_OFF, 0xff] {
        for (kind, expected) in [
            (RESET_COLD, Call::Reset),
            (RESET_WARM, Call::ResetAfterPanic),
            (RESET_SHUTDOWN, Call::PowerOff),
            (RESET_PLATFORM_SPECIFIC, Call::Reset),
        ] {
            assert_eq!(call(sleep, left_by(kind)), Some(expected));
        }
    }
}

/// Types that the specification does not know are resets, too: the CPU does not come back.
#[test]
fn reset_of_another_type() {
    for word in [left_by(RESET_PLATFORM_SPECIFIC) + 1, 0x100, u32::MAX] {
        assert_eq!(call(POWER_OFF, word), Some(Call::Reset), "{word:#x}");
    }
}

/// `efi_runtime.S` writes 4 bytes, and a kernel the register alone.
#[test]
fn apart_from_each_other() {
    assert_eq!(RESET % 4, 0);
    assert!((RESET..RESET + 4).all(|at| at != SLEEP));
}
