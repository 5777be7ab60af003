// SPDX-License-Identifier: GPL-2.0

//! Requests the I/O ports of a serial port for a successor.

use core::ptr::addr_of_mut;
use kernel::{bindings, prelude::*, str::CString};

/// The number of I/O ports of a 16550A (8250_port.c: `serial8250_port_size()`).
const UART_PORTS: u64 = 8;

/// The I/O ports of a UART, requested for as long as this lives.
///
/// # Invariants
///
/// The `UART_PORTS` ports from `base` on were requested under `_name`.
pub(crate) struct IoPorts {
    base: u16,
    /// The name that the resource points to.
    _name: CString,
}

impl IoPorts {
    /// Requests the ports of the UART at `base` for `os`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the first OS or another successor uses them.
    pub(crate) fn request(base: u16, os: &CString) -> Result<Self> {
        let name = CString::try_from(&**os)?;
        // SAFETY: `ioport_resource` is static, and the name lives until the ports are released.
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
        // INVARIANT: `__request_region()` has succeeded.
        Ok(IoPorts { base, _name: name })
    }

    /// Returns the first port.
    pub(crate) fn base(&self) -> u16 {
        self.base
    }
}

impl Drop for IoPorts {
    fn drop(&mut self) {
        // SAFETY: By the type invariants these ports were requested.
        unsafe {
            bindings::__release_region(
                addr_of_mut!(bindings::ioport_resource),
                self.base.into(),
                UART_PORTS,
            )
        };
    }
}
