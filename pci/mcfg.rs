// SPDX-License-Identifier: GPL-2.0

//! The machine's ACPI table MCFG; firmware/host_bridge.rs parses its bytes.

use core::ptr;
use kernel::{bindings, prelude::*};

/// The machine's MCFG table, which has the addresses of the ECAM.
///
/// # Invariants
///
/// The pointer is null, or to a mapped table of the length that its header says.
pub(crate) struct Mcfg(*mut bindings::acpi_table_header);

impl Mcfg {
    /// Gets the table, if the machine has one.
    pub(crate) fn get() -> Self {
        let mut table = ptr::null_mut();
        // SAFETY: The signature is a C string of four characters, which the function only reads.
        let status =
            unsafe { bindings::acpi_get_table(c"MCFG".as_char_ptr().cast_mut(), 1, &mut table) };
        // INVARIANT: On success the table is mapped; otherwise the pointer is null.
        Mcfg(if status == 0 { table } else { ptr::null_mut() })
    }

    /// Returns the bytes of the table; none if the machine does not have it.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: By the type invariants the pointer is null or to a mapped table.
        match unsafe { self.0.as_ref() } {
            // SAFETY: By the type invariants the table is mapped, and as long as its header says.
            Some(header) => unsafe {
                core::slice::from_raw_parts(self.0.cast(), header.length as usize)
            },
            None => &[],
        }
    }
}

impl Drop for Mcfg {
    fn drop(&mut self) {
        // SAFETY: The pointer is null, which is allowed, or is from `acpi_get_table()`.
        unsafe { bindings::acpi_put_table(self.0) };
    }
}
