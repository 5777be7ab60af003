// SPDX-License-Identifier: GPL-2.0

//! The configuration of an OS.

use crate::{
    cpu_offline::CpuSet,
    memory::memmap,
    pci::unit::Request, //
};
use kernel::{prelude::*, str::CString};

/// The configuration of an OS. A person sets each field by the file of the same name.
pub(crate) struct Config {
    /// The CPUs that the OS gets.
    pub(crate) cpus: Option<CpuSet>,
    /// The memory that the OS gets.
    pub(crate) memory: Option<memmap::Request>,
    /// The path of its kernel.
    pub(crate) kernel: Option<CString>,
    /// The path of its initrd.
    pub(crate) initrd: Option<CString>,
    /// The parameters that a person adds to its command line.
    pub(crate) cmdline: CString,
    /// The I/O port of its serial port.
    pub(crate) console: Option<u16>,
    /// The PCI functions that the OS gets.
    pub(crate) devices: KVec<Request>,
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
            initrd: None,
            cmdline: CString::try_from(c"")?,
            console: None,
            devices: KVec::new(),
        })
    }
}
