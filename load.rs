// SPDX-License-Identifier: GPL-2.0

//! The resources that an OS gets at `load`: its files, its memory, and the images copied to it.

use crate::{
    cpu_offline,
    disk::{contents::Contents, wanted},
    firmware::{cmdline, credentials, host_bridge::HostBridge, smbios::System},
    image::{
        kernel_image::Mode,
        layout::{self, Layout, Low, PAGE, REAL_MODE_LEN},
    },
    linux::{file::Purpose, io_port::IoPorts, log::Shown},
    machine::{
        preconditions::{self, COMMAND_LINE_SIZE},
        Machine,
    },
    mem_reserve::Allocation,
    mint_kexec::{self, ImageRef, Kernel, OpenImage},
    network::plug::Plug,
    os_instance::{
        config::{Config, Initrd},
        identity::Identity,
        secret::Secret,
        timing::{Phase, Timing},
    },
    pci::devices::Devices,
    postmortem::inspect,
    start::Told,
    state::backoff::Backoff,
};
use kernel::{prelude::*, str::CString, sync::Arc};

/// The paths of an OS's files.
pub(crate) struct Paths {
    kernel: CString,
    initrd: Initrd,
    disks: CString,
}

impl Paths {
    /// Copies the paths from `config`, and checks that the configuration of `os` is complete.
    ///
    /// # Errors
    ///
    /// `EINVAL` if something is missing, or if the last line of its credentials is wrong; the log says
    /// what. `ENOMEM`.
    pub(crate) fn of(config: &Config, os: &CString) -> Result<Self> {
        let missing = |file: &str| {
            pr_err!(
                "{}: write '{}' first, in /sys/kernel/mint/{}\n",
                &**os,
                file,
                &**os
            );
            EINVAL
        };
        config.cpus.as_ref().ok_or_else(|| missing("cpus"))?;
        config.memory.ok_or_else(|| missing("memory"))?;
        let kernel = config.kernel.as_ref().ok_or_else(|| missing("kernel"))?;
        credentials::check(config.credentials.bytes()).map_err(|error| {
            pr_err!("{}: {}\n", &**os, Shown(error));
            EINVAL
        })?;
        Ok(Paths {
            kernel: CString::try_from(&**kernel)?,
            initrd: config.initrd.try_clone()?,
            disks: CString::try_from(&*config.disks)?,
        })
    }

    fn are_the_same(&self, other: &Paths) -> bool {
        *self.kernel == *other.kernel
            && self.initrd.is_same(&other.initrd)
            && *self.disks == *other.disks
    }
}

/// The open files of an OS.
pub(crate) struct OpenFiles {
    paths: Paths,
    kernel: OpenImage,
    initrd: Option<OpenImage>,
    disks: KVec<Arc<Contents>>,
}

impl OpenFiles {
    /// Opens the files at `paths`, for `os`.
    ///
    /// # Errors
    ///
    /// Those of [`Images::open`](crate::mint_kexec::Images::open) and [`Contents::open`].
    pub(crate) fn open(machine: &Machine, paths: Paths, os: &CString) -> Result<Self> {
        let images = &machine.images;
        let kernel = images.open(&paths.kernel, Purpose::Kernel, os)?;
        let initrd = match paths.initrd.path() {
            Some(path) => Some(images.open(path, Purpose::Initrd, os)?),
            None => None,
        };
        let disks = open_disks(machine, &paths, os)?;
        Ok(OpenFiles {
            paths,
            kernel,
            initrd,
            disks,
        })
    }

    /// Reads the files, and checks the kernel. Records the duration in `timing`.
    ///
    /// # Errors
    ///
    /// Those of [`OpenImage::read_kernel`] and [`OpenImage::read`].
    pub(crate) fn read(self, os: &CString, timing: &mut Timing) -> Result<Files> {
        timing.measure(Phase::Read, || {
            let OpenFiles {
                paths,
                kernel,
                initrd,
                disks,
            } = self;
            let its_initrd = matches!(paths.initrd, Initrd::OfKernel);
            let kernel = kernel.read_kernel(&paths.kernel, os, its_initrd)?;
            let initrd = match (initrd, paths.initrd.path()) {
                (Some(initrd), Some(path)) => Some(initrd.read(path, os)?),
                _ => None,
            };
            Ok(Files {
                paths,
                kernel,
                initrd,
                disks,
            })
        })
    }
}

/// Opens the disks at `paths`, for `os`.
fn open_disks(machine: &Machine, paths: &Paths, os: &CString) -> Result<KVec<Arc<Contents>>> {
    let mut disks = KVec::new();
    for disk in wanted::each(paths.disks.to_str().map_err(|_| EINVAL)?) {
        let disk = disk.ok_or(EINVAL)?;
        let path = CString::try_from_fmt(fmt!("{}", disk.path))?;
        let alarm = machine.poller.alarm();
        let open = Contents::open(&path, disk.read_only, &machine.disk_holders, alarm, os)?;
        disks.push(open, GFP_KERNEL)?;
    }
    Ok(disks)
}

/// The files of an OS, read into memory.
pub(crate) struct Files {
    paths: Paths,
    kernel: Kernel,
    /// The initrd, if it has a file of its own.
    initrd: Option<ImageRef>,
    disks: KVec<Arc<Contents>>,
}

impl Files {
    fn initrd(&self) -> Option<&[u8]> {
        self.initrd.as_deref().or_else(|| self.kernel.initrd())
    }
}

/// The resources that an OS holds from `load` on.
pub(crate) struct Loaded {
    files: Files,
    /// The layout of its memory.
    pub(crate) layout: Layout,
    /// The command line of its kernel.
    pub(crate) command_line: CString,
    /// Whether the command line calls for a restart after a panic.
    pub(crate) restarts_on_panic: bool,
    console: Option<IoPorts>,
    identity: Identity,
    credentials: Secret,
    /// Its disks, in the order in which they lie on the bus.
    pub(crate) disks: KVec<Arc<Contents>>,
    /// The plug of its network card, if it has one.
    pub(crate) network: Option<Arc<Plug>>,
    /// How many times the OS was restarted.
    pub(crate) restarts: u64,
    /// Determines the delay before the next restart.
    pub(crate) backoff: Backoff,
    _memory: Allocation,
    _trampoline: Allocation,
    _low_ram: Allocation,
}

impl Loaded {
    /// Reserves memory for `os` as `config` says, and copies `files` there.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the memory or the console is taken, if `files` are not the files of `config`, or
    /// if the first OS is going to sleep; `ENOMEM` if there is too little memory; `EINVAL` if the
    /// configuration contradicts itself or the kernel. The log says what is wrong.
    pub(crate) fn new(
        machine: &Machine,
        config: &Config,
        files: Files,
        os: &CString,
        timing: &mut Timing,
    ) -> Result<Self> {
        let pool = &machine.pool;
        if !files.paths.are_the_same(&Paths::of(config, os)?) {
            pr_err!(
                "{}: it was configured anew while its files were read: load it again\n",
                &**os
            );
            return Err(EBUSY);
        }
        let request = config.memory.ok_or(EINVAL)?;
        let image = &files.kernel.image;
        if !image.efi {
            pr_warn!(
                "{}: this kernel has no CONFIG_EFI: a reboot in it resets the whole machine\n",
                &**os
            );
        }
        // A 32-bit kernel would go on without a local APIC, and use the first OS's interrupt
        // controller and timer (check_x2apic(), arch/x86/kernel/apic/apic.c).
        if image.mode == Mode::Protected && machine.apic.is_x2apic() {
            pr_err!(
                "{}: a 32-bit kernel can't use CPUs in x2APIC mode: boot the first OS with nox2apic\n",
                &**os
            );
            return Err(EINVAL);
        }
        let (command_line, restarts_on_panic) = command_line(config, &files, os)?;
        let console = match config.console {
            Some(port) => Some(IoPorts::request(port, os)?),
            None => None,
        };

        let no_low_memory = |len: u64| {
            pr_err!(
                "{}: no {} KiB of low memory are left: stop another OS, or reserve more with memmap=\n",
                &**os,
                len >> 10
            );
        };
        let trampoline = pool
            .allocate_low(PAGE, os)
            .inspect_err(|_| no_low_memory(PAGE))?;
        let low_ram = pool
            .allocate_low_ram(REAL_MODE_LEN, os)
            .inspect_err(|_| no_low_memory(REAL_MODE_LEN))?;
        let limit = layout::limit(image);
        let memory = pool.allocate(&request, limit, os).inspect_err(|_| {
            pr_err!(
                "{}: {} MiB{}{} are not free in the pool: see /proc/iomem, and reserve more with memmap=\n",
                &**os,
                request.size >> 20,
                if request.address.is_some() { " at that address" } else { " in one piece" },
                match (request.address, limit) {
                    (None, Some(layout::END_32)) => " below 896 MiB, where a 32-bit kernel must lie,",
                    (None, Some(_)) => " below 4 GiB, where this kernel must lie,",
                    _ => "",
                }
            )
        })?;
        cpu_offline::check_awake(os)?;
        let low = Low::new(trampoline.range(), low_ram.range()).ok_or(EINVAL)?;
        let has_bus = has_bus(config, &files);
        let initrd_len = files.initrd().map_or(0, |initrd| initrd.len() as u64);
        let layout =
            layout::plan(memory.range(), low, image, initrd_len, has_bus).map_err(|error| {
                pr_err!("{}: {}\n", &**os, Shown(error));
                match error {
                    layout::Error::TooSmall { .. } => ENOMEM,
                    _ => EINVAL,
                }
            })?;
        let mut files = files;
        let loaded = Loaded {
            disks: core::mem::replace(&mut files.disks, KVec::new()),
            network: config.network.clone(),
            files,
            layout,
            command_line,
            restarts_on_panic,
            console,
            identity: Identity::of(config, os)?,
            credentials: config.credentials.try_clone()?,
            restarts: 0,
            backoff: Backoff::default(),
            _memory: memory,
            _trampoline: trampoline,
            _low_ram: low_ram,
        };
        // SAFETY: The memory was just allocated for this OS, which has no CPUs yet.
        unsafe { loaded.copy(timing) }?;
        Ok(loaded)
    }

    /// Copies kernel and initrd to the OS's memory, and erases the traces of earlier kernels there.
    /// Records the duration in `timing`.
    ///
    /// # Errors
    ///
    /// Those of [`inspect::erase_traces`] and [`mint_kexec::copy`].
    ///
    /// # Safety
    ///
    /// None of the OS's CPUs may run.
    pub(crate) unsafe fn copy(&self, timing: &mut Timing) -> Result {
        let files = &self.files;
        timing.measure(Phase::Copy, || {
            // SAFETY: This owns the memory of the layout, and the caller guarantees that no CPU of
            // the OS runs.
            unsafe { inspect::erase_traces(&self.layout) }?;
            // SAFETY: This owns the memory of the layout, and the caller guarantees that no CPU of
            // the OS runs.
            unsafe { mint_kexec::copy(&self.layout, &files.kernel, files.initrd()) }
        })
    }

    /// Returns the facts that the firmware and `boot_params` tell the kernel.
    pub(crate) fn told<'a>(&'a self, bridges: &'a [HostBridge]) -> Told<'a> {
        let image = &self.files.kernel.image;
        Told {
            setup_header: &image.setup_header,
            command_line: &self.command_line,
            console: self.console.as_ref().map(IoPorts::base),
            mode: image.mode,
            entry: image.entry,
            efi: image.efi,
            system: System {
                serial_number: self.identity.serial_number.to_bytes(),
                uuid: self.identity.uuid,
                credentials: self.credentials.bytes(),
            },
            bridges,
        }
    }

    /// Forgets the disks' requests that were finished. Returns whether none is left that is under way,
    /// which could overtake those of the OS's next kernel. The poller must not look at the disks any more.
    pub(crate) fn settle_disks(&self) -> bool {
        let settle = |all, disk: &Arc<Contents>| disk.settle() && all;
        self.disks.iter().fold(true, settle)
    }

    /// Gets `devices` ready for this OS's kernel and memory.
    ///
    /// # Errors
    ///
    /// Those of [`Devices::give`].
    pub(crate) fn give(&self, devices: &mut Devices) -> Result {
        let memory = [self.layout.range(), self.layout.low.ram()];
        devices.give(self.files.kernel.image.mode, &memory)
    }
}

/// Returns whether the OS has a bus made of memory: if it has disks or a network card.
fn has_bus(config: &Config, files: &Files) -> bool {
    !files.disks.is_empty() || config.network.is_some()
}

/// Returns the command line of the kernel in `files`, and whether it calls for a restart after a
/// panic.
fn command_line(config: &Config, files: &Files, os: &CString) -> Result<(CString, bool)> {
    let kernel = &files.kernel.image;
    let facts = cmdline::Facts {
        tsc_khz: preconditions::tsc_khz(),
        console: config.console,
        pci: !config.devices.is_empty() || has_bus(config, files),
        efi: kernel.efi,
        mode: kernel.mode,
    };
    let in_file = files.kernel.cmdline().filter(|_| config.cmdline.is_empty());
    let given = match in_file {
        Some(line) => line.ok_or_else(|| {
            pr_err!(
                "{}: the command line in the kernel's file is not one line of ASCII text: write 'cmdline'\n",
                &**os
            );
            EINVAL
        })?,
        None => core::str::from_utf8(config.cmdline.to_bytes()).map_err(|_| EINVAL)?,
    };
    let mut buffer = KVec::from_elem(0u8, COMMAND_LINE_SIZE, GFP_KERNEL)?;
    let written =
        cmdline::write(given, &facts, kernel.cmdline_size, &mut buffer).map_err(|error| {
            pr_err!("{}: {}\n", &**os, Shown(error));
            if in_file.is_some() {
                pr_err!(
                    "{}: the command line is that in the kernel's file: write another to 'cmdline'\n",
                    &**os
                );
            }
            EINVAL
        })?;
    let line = CStr::from_bytes_with_nul(&buffer[..=written.len]).map_err(|_| EINVAL)?;
    Ok((CString::try_from(line)?, written.restarts_on_panic))
}
