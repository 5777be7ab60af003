// SPDX-License-Identifier: GPL-2.0

//! The configuration of an OS.

use crate::{
    cpu_offline::CpuSet,
    memory::memmap,
    network::plug::Plug,
    os_instance::secret::Secret,
    pci::unit::Request, //
};
use kernel::{prelude::*, str::CString, sync::Arc};

/// The configuration of an OS. A person sets each field by the file of the same name.
pub(crate) struct Config {
    /// The CPUs that the OS gets.
    pub(crate) cpus: Option<CpuSet>,
    /// The memory that the OS gets.
    pub(crate) memory: Option<memmap::Request>,
    /// The path of its kernel.
    pub(crate) kernel: Option<CString>,
    /// Its initrd.
    pub(crate) initrd: Initrd,
    /// The parameters that a person adds to its command line. If empty, those in the kernel's file,
    /// if there are any.
    pub(crate) cmdline: CString,
    /// The I/O port of its serial port.
    pub(crate) console: Option<u16>,
    /// The PCI functions that the OS gets.
    pub(crate) devices: KVec<Request>,
    /// The disks that the OS gets, as [`wanted::each`](crate::disk::wanted::each) reads them.
    pub(crate) disks: CString,
    /// The plug of the OS's network card, if it gets one.
    pub(crate) network: Option<Arc<Plug>>,
    /// The serial number that SMBIOS tells the OS. If empty, one that depends on its name.
    pub(crate) serial_number: CString,
    /// What systemd in the OS gets, as [`credentials`](crate::firmware::credentials) reads it.
    pub(crate) credentials: Secret,
}

impl Config {
    /// Makes an empty configuration.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Config {
            cpus: None,
            memory: None,
            kernel: None,
            initrd: Initrd::OfKernel,
            cmdline: CString::try_from(c"")?,
            console: None,
            devices: KVec::new(),
            disks: CString::try_from(c"")?,
            network: None,
            serial_number: CString::try_from(c"")?,
            credentials: Secret::new(),
        })
    }
}

/// Which initrd an OS gets.
pub(crate) enum Initrd {
    /// The one in the kernel's file, if there is one.
    OfKernel,
    /// None.
    None,
    /// The file at this path.
    File(CString),
}

impl Initrd {
    /// Returns the path of the initrd's file, if it has one of its own.
    pub(crate) fn path(&self) -> Option<&CStr> {
        match self {
            Initrd::File(path) => Some(path),
            Initrd::OfKernel | Initrd::None => None,
        }
    }

    /// Copies this.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        Ok(match self {
            Initrd::OfKernel => Initrd::OfKernel,
            Initrd::None => Initrd::None,
            Initrd::File(path) => Initrd::File(CString::try_from(&**path)?),
        })
    }

    /// Returns whether `other` is the same choice.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Initrd::File(path), Initrd::File(other)) => **path == **other,
            _ => core::mem::discriminant(self) == core::mem::discriminant(other),
        }
    }
}
