// SPDX-License-Identifier: GPL-2.0

//! The I/O ports of a serial port, taken from the first OS for a successor.

use core::ptr::addr_of_mut;
use kernel::{bindings, prelude::*, str::CString};

/// I/O ports of a 16550A (8250_port.c: `serial8250_port_size()`).
const UART_PORTS: u64 = 8;

/// I/O ports that are claimed while this lives.
///
/// # Invariants
///
/// The ports from `base` on were requested under `_name`.
pub(crate) struct IoPorts {
    base: u16,
    /// What the resource points to for its name.
    _name: CString,
}

impl IoPorts {
    /// Claims the ports of the UART at `base` for `os`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the first OS or another successor uses them.
    pub(crate) fn request(base: u16, os: &CString) -> Result<Self> {
        let name = CString::try_from(&**os)?;
        // SAFETY: The name lives as long as the request.
        let resource = unsafe {
            bindings::__request_region(
                addr_of_mut!(bindings::ioport_resource),
                base.into(),
                UART_PORTS,
                name.as_char_ptr(),
                0,
            )
        };
        if resource.is_null() {
            pr_err!(
                "{}: console {:#x} is in use, see /proc/ioports: choose another, or unbind its driver (write its name, such as 00:02, to /sys/bus/pnp/drivers/serial/unbind)\n",
                &**os,
                base
            );
            return Err(EBUSY);
        }
        // INVARIANT: Requested just now.
        Ok(IoPorts { base, _name: name })
    }

    /// The first port.
    pub(crate) fn base(&self) -> u16 {
        self.base
    }
}

impl Drop for IoPorts {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe {
            bindings::__release_region(
                addr_of_mut!(bindings::ioport_resource),
                self.base.into(),
                UART_PORTS,
            )
        };
    }
}
