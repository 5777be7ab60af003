// SPDX-License-Identifier: GPL-2.0

//! By what others know an OS again. Documentation/credentials.rst says what it is for.

use crate::{
    disk::identity,
    linux::machine_uuid::machine_uuid,
    os_instance::config::Config, //
};
use kernel::{prelude::*, str::CString};

/// What SMBIOS tells an OS of itself.
pub(crate) struct Identity {
    /// The serial number: what was configured, or 16 hexadecimal digits.
    pub(crate) serial_number: CString,
    /// The UUID.
    pub(crate) uuid: [u8; 16],
}

impl Identity {
    /// Returns the identity of the OS `os`, which `config` configures. Unless configured, it depends on
    /// the machine and on the OS's name, so that it is the same at each start, and differs between OSes
    /// and machines.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn of(config: &Config, os: &CStr) -> Result<Self> {
        let machine = machine_uuid().map_or(&b""[..], CStr::to_bytes);
        let mut seed = KVec::new();
        for part in [machine, b" ", os.to_bytes()] {
            seed.extend_from_slice(part, GFP_KERNEL)?;
        }
        let digits = identity::serial(&seed);
        let serial_number = match config.serial_number.is_empty() {
            true => {
                let digits = core::str::from_utf8(&digits).map_err(|_| EINVAL)?;
                CString::try_from_fmt(fmt!("{digits}"))?
            }
            false => CString::try_from(&*config.serial_number)?,
        };
        Ok(Identity {
            serial_number,
            uuid: identity::uuid(&seed),
        })
    }
}
