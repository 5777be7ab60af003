// SPDX-License-Identifier: GPL-2.0

//! What a person configures of an OS.

use crate::{
    cpu_offline::CpuSet,
    memory::memmap,
    pci::unit::Request, //
};
use kernel::{prelude::*, str::CString};

/// What a person configures, each by a file of the same name.
pub(crate) struct Config {
    /// The CPUs it shall have.
    pub(crate) cpus: Option<CpuSet>,
    /// The memory it shall have.
    pub(crate) memory: Option<memmap::Request>,
    /// The path of its kernel.
    pub(crate) kernel: Option<CString>,
    /// The path of its initrd.
    pub(crate) initrd: Option<CString>,
    /// What its command line shall have.
    pub(crate) cmdline: CString,
    /// The I/O port of its serial port.
    pub(crate) console: Option<u16>,
    /// The PCI functions that it shall have.
    pub(crate) devices: KVec<Request>,
}

impl Config {
    /// Nothing is configured yet.
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
