// SPDX-License-Identifier: GPL-2.0

//! The machine's ACPI table MCFG, for whose bytes host_bridge.rs has the parser.

use core::ptr;
use kernel::{bindings, prelude::*};

/// The machine's table MCFG, which tells where the ECAM is.
///
/// # Invariants
///
/// The pointer is null or to a table that is mapped and as long as its header says.
pub(crate) struct Mcfg(*mut bindings::acpi_table_header);

impl Mcfg {
    /// The table, or none.
    pub(crate) fn get() -> Self {
        let mut table = ptr::null_mut();
        // SAFETY: The signature is a C string of four characters, which is not written to.
        let status =
            unsafe { bindings::acpi_get_table(c"MCFG".as_char_ptr().cast_mut(), 1, &mut table) };
        // INVARIANT: Mapped if it was found.
        Mcfg(if status == 0 { table } else { ptr::null_mut() })
    }

    /// Its bytes; none if the machine does not have it.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: By the type invariants.
        match unsafe { self.0.as_ref() } {
            // SAFETY: As above.
            Some(header) => unsafe {
                core::slice::from_raw_parts(self.0.cast(), header.length as usize)
            },
            None => &[],
        }
    }
}

impl Drop for Mcfg {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; null is taken as well.
        unsafe { bindings::acpi_put_table(self.0) };
    }
}
