// SPDX-License-Identifier: GPL-2.0

//! One successor OS: what it is to be, what it holds, and how it gets from one state to another.
//!
//! Whatever an OS holds is held by a value that gives it back when it is dropped, so that a step
//! that fails leaves the state before it.
//!
//! Lock order: an OS's `inner`, then the CPU hotplug lock, then the CPU owners; or `inner`, then an
//! image's contents; or `inner`, then the list of images. No lock is shared by the loads and
//! starts of different OSes but for moments.

use crate::{
    bzimage::ENTRY_64,
    cpu_offline::{self, CpuSet, OwnedCpu},
    firmware::{acpi, boot_params, cmdline},
    identity_map,
    io_port::IoPorts,
    layout::{self, Layout, LowSlice, LOW_SLICE_LEN},
    local_apic::LocalApic,
    log::Shown,
    mem_reserve::{Allocation, Pool},
    memmap::{Range, Request},
    mint_kexec::{self, ImageRef, Images, Kernel},
    module_ref::ModuleRef,
    phys_memory::Mapping,
    preconditions::{self, COMMAND_LINE_SIZE},
    state::{Action, State},
    wakeup::{Purpose, Stage, Trampoline, ANSWER_LIMIT, FIRST_LIMIT}, //
};
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{Arc, Mutex}, //
};

/// What all OSes share.
pub(crate) struct Machine {
    /// The memory for them.
    pub(crate) pool: Pool,
    /// What starts and stops their CPUs.
    pub(crate) apic: LocalApic,
    /// The kernels and initrds that they boot.
    pub(crate) images: Arc<Images>,
}

/// What a person configures, each by a file of the same name.
pub(crate) struct Config {
    /// The CPUs it shall have.
    pub(crate) cpus: Option<CpuSet>,
    /// The memory it shall have.
    pub(crate) memory: Option<Request>,
    /// The path of its kernel.
    pub(crate) kernel: Option<CString>,
    /// The path of its initrd.
    pub(crate) initrd: Option<CString>,
    /// What its command line shall have.
    pub(crate) cmdline: CString,
    /// The I/O port of its serial port.
    pub(crate) console: Option<u16>,
}

/// A successor OS.
#[pin_data]
pub(crate) struct Os {
    name: CString,
    machine: Arc<Machine>,
    #[pin]
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    removed: bool,
    config: Config,
    // Dropped in this order: the CPUs must have left before the memory can go.
    running: Option<Running>,
    loaded: Option<Loaded>,
}

/// What an OS holds from `load` on.
struct Loaded {
    kernel: Kernel,
    initrd: Option<ImageRef>,
    layout: Layout,
    command_line: CString,
    console: Option<IoPorts>,
    memory: Allocation,
    _low: Allocation,
}

impl Loaded {
    /// Copies kernel and initrd to the OS's memory.
    ///
    /// # Errors
    ///
    /// Those of [`mint_kexec::copy`].
    ///
    /// # Safety
    ///
    /// None of the OS's CPUs may run.
    unsafe fn copy(&self) -> Result {
        // SAFETY: The memory belongs to the OS, and the caller promises the rest.
        unsafe { mint_kexec::copy(&self.layout, &self.kernel, self.initrd.as_ref()) }
    }
}

/// What an OS holds from `start` on.
struct Running {
    cpus: KVec<OwnedCpu>,
    /// The module stays while one of these is there.
    _module: ModuleRef,
}

impl Os {
    /// An OS that is offline and not configured.
    pub(crate) fn new(name: CString, machine: Arc<Machine>) -> Result<impl PinInit<Self>> {
        let inner = Inner {
            state: State::Offline,
            removed: false,
            config: Config {
                cpus: None,
                memory: None,
                kernel: None,
                initrd: None,
                cmdline: CString::try_from(c"")?,
                console: None,
            },
            running: None,
            loaded: None,
        };
        Ok(pin_init!(Os {
            name,
            machine,
            inner <- new_mutex!(inner),
        }))
    }

    /// Its name.
    pub(crate) fn name(&self) -> &CString {
        &self.name
    }

    /// What it is doing.
    pub(crate) fn state(&self) -> State {
        self.inner.lock().state
    }

    /// Lets `read` see the configuration, and the memory that it has got.
    pub(crate) fn with_config<R>(&self, read: impl FnOnce(&Config, Option<Range>) -> R) -> R {
        let inner = self.inner.lock();
        let memory = inner.loaded.as_ref().map(|loaded| loaded.memory.range());
        read(&inner.config, memory)
    }

    /// Lets `read` see the command line that its kernel gets, empty before `load`.
    pub(crate) fn with_command_line<R>(&self, read: impl FnOnce(&CStr) -> R) -> R {
        let inner = self.inner.lock();
        match &inner.loaded {
            Some(loaded) => read(&loaded.command_line),
            None => read(c""),
        }
    }

    /// Lets `write` change the configuration.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it is not offline, else those of `write`.
    pub(crate) fn configure(&self, write: impl FnOnce(&mut Config) -> Result) -> Result {
        self.transition(Action::Configure, |inner, _| {
            write(&mut inner.config)?;
            Ok(State::Offline)
        })
    }

    /// Reserves memory for it, and copies its kernel and initrd there.
    ///
    /// # Errors
    ///
    /// `EBUSY` in the wrong state or if what it needs is taken, `EPERM` if the caller may not
    /// start kernels, `EINVAL` if the configuration lacks something or contradicts itself,
    /// `ENOMEM` if there is too little memory, `ENOEXEC` for a kernel that can't be started, and
    /// those of reading the files.
    pub(crate) fn load(&self) -> Result {
        self.transition(Action::Load, |inner, os| {
            preconditions::check_caller()?;
            inner.loaded = Some(os.loaded(&inner.config)?);
            Ok(State::Loaded)
        })
    }

    /// Takes its CPUs offline, and starts its kernel on the first of them.
    ///
    /// # Errors
    ///
    /// `EBUSY` in the wrong state or if a CPU is taken, `EPERM` if the caller may not start
    /// kernels, `ETIMEDOUT` if the CPU did not get as far as the kernel, `EIO` if an IPI was not
    /// delivered.
    pub(crate) fn start(&self) -> Result {
        self.transition(Action::Start, |inner, os| {
            preconditions::check_caller()?;
            let loaded = inner.loaded.as_ref().ok_or(EINVAL)?;
            let running = os.running(&inner.config)?;
            match os.boot(loaded, &running.cpus) {
                Ok(()) => {
                    inner.running = Some(running);
                    Ok(State::Running)
                }
                Err(error) => {
                    if os.park(&loaded.layout, &running.cpus).is_err() {
                        inner.running = Some(running);
                        inner.state = State::Stuck;
                        return Err(error);
                    }
                    drop(running);
                    // Had it come to the kernel after all, the image would not be whole any more.
                    // SAFETY: The memory is this OS's, and its CPUs are parked.
                    if unsafe { loaded.copy() }.is_err() {
                        inner.loaded = None;
                        inner.state = State::Offline;
                    }
                    Err(error)
                }
            }
        })
    }

    /// Parks its CPUs and gives everything back; of a loaded OS, its memory.
    ///
    /// # Errors
    ///
    /// `EBUSY` in the wrong state; `ETIMEDOUT` or `EIO` if a CPU can't be parked: then everything
    /// is kept.
    pub(crate) fn stop(&self) -> Result {
        self.transition(Action::Stop, |inner, os| {
            if let (Some(loaded), Some(running)) = (&inner.loaded, &inner.running) {
                if let Err(error) = os.park(&loaded.layout, &running.cpus) {
                    inner.state = State::Stuck;
                    return Err(error);
                }
            }
            inner.running = None;
            inner.loaded = None;
            Ok(State::Offline)
        })
    }

    /// Frees what it holds and lets nobody use it any more.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it runs.
    pub(crate) fn remove(&self) -> Result {
        self.transition(Action::Remove, |inner, _| {
            inner.loaded = None;
            inner.removed = true;
            Ok(State::Offline)
        })
    }

    /// Does `action` by `step`, which returns the state that follows, if the state allows it.
    fn transition(
        &self,
        action: Action,
        step: impl FnOnce(&mut Inner, &Self) -> Result<State>,
    ) -> Result {
        let mut inner = self.inner.lock();
        if inner.removed {
            return Err(ENODEV);
        }
        inner.state.allows(action).map_err(|refusal| {
            pr_err!("{}: {}\n", &*self.name, Shown(refusal));
            EBUSY
        })?;
        let before = inner.state;
        inner.state = step(&mut inner, self)?;
        if inner.state != before {
            pr_info!("{}: {}\n", &*self.name, inner.state.name());
        }
        Ok(())
    }

    fn loaded(&self, config: &Config) -> Result<Loaded> {
        let missing = |file: &str| {
            pr_err!(
                "{}: write '{}' first, in /sys/kernel/mint/{}\n",
                &*self.name,
                file,
                &*self.name
            );
            EINVAL
        };
        let machine = &*self.machine;
        let cpus = config.cpus.as_ref().ok_or_else(|| missing("cpus"))?;
        let request = config.memory.ok_or_else(|| missing("memory"))?;
        let path = config.kernel.as_ref().ok_or_else(|| missing("kernel"))?;
        for cpu in cpus.iter() {
            cpu_offline::check(cpu, &self.name)?;
        }

        let kernel = Kernel::get(&machine.images, path, &self.name)?;
        let initrd = match &config.initrd {
            Some(path) => Some(mint_kexec::initrd(&machine.images, path, &self.name)?),
            None => None,
        };
        let command_line = self.command_line(config, kernel.header.cmdline_size)?;
        let console = match config.console {
            Some(port) => Some(IoPorts::request(port, &self.name)?),
            None => None,
        };

        let low = machine
            .pool
            .allocate_low(LOW_SLICE_LEN, &self.name)
            .inspect_err(|_| {
                pr_err!(
                    "{}: no {} KiB of low memory are left: stop another OS, or reserve more with memmap=\n",
                    &*self.name,
                    LOW_SLICE_LEN >> 10
                )
            })?;
        let memory = machine
            .pool
            .allocate(&request, &self.name)
            .inspect_err(|_| {
                pr_err!(
                    "{}: {} MiB{} are not free in the pool: see /proc/iomem, and reserve more with memmap=\n",
                    &*self.name,
                    request.size >> 20,
                    if request.address.is_some() { " at that address" } else { " in one piece" }
                )
            })?;
        let slice = LowSlice::new(low.range()).ok_or(EINVAL)?;
        let initrd_len = initrd.as_ref().map_or(0, |initrd| initrd.len() as u64);
        let layout =
            layout::plan(memory.range(), slice, &kernel.header, initrd_len).map_err(|error| {
                pr_err!("{}: {}\n", &*self.name, Shown(error));
                match error {
                    layout::Error::TooSmall { .. } => ENOMEM,
                    _ => EINVAL,
                }
            })?;
        let loaded = Loaded {
            kernel,
            initrd,
            layout,
            command_line,
            console,
            memory,
            _low: low,
        };
        // SAFETY: The memory was allocated for this OS just now, and none of its CPUs runs.
        unsafe { loaded.copy() }?;
        Ok(loaded)
    }

    /// The command line that its kernel, which takes `limit` bytes, gets.
    fn command_line(&self, config: &Config, limit: usize) -> Result<CString> {
        let given = core::str::from_utf8(config.cmdline.to_bytes()).map_err(|_| EINVAL)?;
        let facts = cmdline::Facts {
            tsc_khz: preconditions::tsc_khz(),
            console: config.console,
        };
        let mut buffer = KVec::from_elem(0u8, COMMAND_LINE_SIZE, GFP_KERNEL)?;
        let len = cmdline::write(given, &facts, limit, &mut buffer).map_err(|error| {
            pr_err!("{}: {}\n", &*self.name, Shown(error));
            EINVAL
        })?;
        let line = CStr::from_bytes_with_nul(&buffer[..=len]).map_err(|_| EINVAL)?;
        Ok(CString::try_from(line)?)
    }

    /// Takes what a running OS holds.
    fn running(&self, config: &Config) -> Result<Running> {
        let module = ModuleRef::get()?;
        let mut cpus = KVec::new();
        for cpu in config.cpus.iter().flat_map(CpuSet::iter) {
            cpus.push(OwnedCpu::take(cpu, &self.name)?, GFP_KERNEL)?;
        }
        Ok(Running {
            cpus,
            _module: module,
        })
    }

    /// Writes what the kernel is told, and starts the first of `cpus`.
    fn boot(&self, loaded: &Loaded, cpus: &[OwnedCpu]) -> Result {
        let layout = &loaded.layout;
        // SAFETY: The firmware area is the OS's, and none of its CPUs runs.
        let mut firmware = unsafe { Mapping::new(layout.firmware) }?;
        write_firmware(firmware.bytes(), loaded, cpus)?;
        drop(firmware);
        let root = Range::new(layout.low.page_table_root(), layout::PAGE).ok_or(EINVAL)?;
        // SAFETY: Both are the OS's, and none of its CPUs runs.
        let (mut root, mut tables) =
            unsafe { (Mapping::new(root)?, Mapping::new(layout.page_tables)?) };
        let first = Range::new(0, layout::PAGE).ok_or(EINVAL)?;
        identity_map::build(
            root.bytes().try_into().map_err(|_| EINVAL)?,
            tables.bytes(),
            layout.page_tables.start(),
            &[first, layout.firmware, layout.kernel],
        )
        .ok_or(EINVAL)?;
        drop((root, tables));

        let purpose = Purpose::Start {
            page_table_root: u32::try_from(layout.low.page_table_root())?,
            entry: layout.kernel.start() + ENTRY_64,
            boot_params: layout.boot_params.start(),
        };
        // All of them leave the first OS's idle loop; the kernel starts the others itself.
        let apic = &self.machine.apic;
        apic.init(cpus.iter().map(OwnedCpu::apic_id))?;
        let first = cpus.first().ok_or(EINVAL)?;
        self.wake(layout, first, &purpose).inspect_err(|_| {
            pr_err!(
                "{}: CPU {} did not start the kernel\n",
                &*self.name,
                first.number()
            );
        })
    }

    /// Resets `cpus`, and proves of each that it runs nothing of the OS any more: it answers from
    /// the trampoline, and is then reset for good.
    fn park(&self, layout: &Layout, cpus: &[OwnedCpu]) -> Result {
        let apic = &self.machine.apic;
        apic.init(cpus.iter().map(OwnedCpu::apic_id))?;
        for cpu in cpus {
            self.wake(layout, cpu, &Purpose::Park).inspect_err(|_| {
                pr_err!(
                    "{}: CPU {} can't be proved parked: its memory and CPUs are kept\n",
                    &*self.name,
                    cpu.number()
                );
            })?;
            apic.init(core::iter::once(cpu.apic_id()))?;
        }
        Ok(())
    }

    /// Wakes `cpu`, which waits for a startup IPI, and waits until it has done what it was to do.
    fn wake(&self, layout: &Layout, cpu: &OwnedCpu, purpose: &Purpose) -> Result {
        let page = layout.low.trampoline();
        let apic = &self.machine.apic;
        // SAFETY: The page is the OS's, whose CPUs have all been reset.
        let trampoline = unsafe { Trampoline::prepare(page, purpose) }?;
        apic.startup(cpu.apic_id(), page)?;
        let answer = match trampoline.wait(FIRST_LIMIT) {
            Err(Stage::NONE) => {
                // The protocol has a second startup IPI; a CPU that took the first ignores it.
                apic.startup(cpu.apic_id(), page)?;
                trampoline.wait(ANSWER_LIMIT)
            }
            Err(_) => trampoline.wait(ANSWER_LIMIT),
            Ok(()) => Ok(()),
        };
        answer.map_err(|stage| {
            pr_err!(
                "{}: CPU {} (APIC ID {}) was woken: {}\n",
                &*self.name,
                cpu.number(),
                cpu.apic_id(),
                Shown(stage)
            );
            ETIMEDOUT
        })
    }
}

/// Writes `boot_params`, the command line and the ACPI tables into `area`, the firmware area.
fn write_firmware(area: &mut [u8], loaded: &Loaded, cpus: &[OwnedCpu]) -> Result {
    let layout = &loaded.layout;
    area.fill(0);
    let at = |range: &Range| {
        let start = (range.start() - layout.firmware.start()) as usize;
        start..start + range.len() as usize
    };

    let machine = acpi::Machine {
        cpus: cpus.iter().map(OwnedCpu::apic_id),
        decoy: acpi::decoy(cpu_offline::apic_id_exists),
        ioapic: layout.low.ioapic(),
        sleep_register: layout.mailbox.start(),
        console: loaded.console.as_ref().map(IoPorts::base),
    };
    let tables = area.get_mut(at(&layout.acpi)).ok_or(EINVAL)?;
    let rsdp = acpi::write(tables, layout.acpi.start(), &machine).ok_or(E2BIG)?;

    let page = area.get_mut(at(&layout.boot_params)).ok_or(EINVAL)?;
    boot_params::write(
        page.try_into().map_err(|_| EINVAL)?,
        loaded.kernel.setup_header(),
        layout,
        rsdp,
    );

    let line = loaded.command_line.to_bytes_with_nul();
    let page = area.get_mut(at(&layout.command_line)).ok_or(EINVAL)?;
    page.get_mut(..line.len())
        .ok_or(E2BIG)?
        .copy_from_slice(line);
    Ok(())
}
