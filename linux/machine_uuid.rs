// SPDX-License-Identifier: GPL-2.0

//! The machine's UUID, as its firmware tells it.

use kernel::prelude::*;

/// Returns the text of the machine's UUID; [`None`] if its firmware has none.
#[cfg(CONFIG_DMI)]
pub(crate) fn machine_uuid() -> Option<&'static CStr> {
    // `enum dmi_field` of include/linux/mod_devicetable.h.
    const DMI_PRODUCT_UUID: c_int = 10;
    // include/linux/dmi.h
    extern "C" {
        fn dmi_get_system_info(field: c_int) -> *const c_char;
    }
    // SAFETY: It returns null or a string that was made at boot and that nobody changes.
    unsafe {
        let uuid = dmi_get_system_info(DMI_PRODUCT_UUID);
        (!uuid.is_null()).then(|| CStr::from_char_ptr(uuid))
    }
}

#[cfg(not(CONFIG_DMI))]
pub(crate) fn machine_uuid() -> Option<&'static CStr> {
    None
}
