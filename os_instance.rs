// SPDX-License-Identifier: GPL-2.0

//! One successor OS: its configuration, its resources, and the transitions between its states.
//!
//! Each resource of an OS is owned by a value that gives the resource back when it is dropped. So a
//! step that fails leaves the previous state.
//!
//! Lock order: an OS's `inner`, then the lock that serialises CPU hotplug and the binding of
//! drivers (`cpu_offline::keep_hotplug()`), then the kernel's CPU hotplug lock, then the CPU
//! owners, or the locks of PCI devices, then the claims to these. A work item takes the CPU hotplug
//! lock too, while the holder of `inner` waits for it.
//!
//! The other order is `inner`, then one of: the list of images, the announcer's kobject, the gate
//! of the local APIC. Except for the hotplug locks, loads and starts of different OSes share no
//! lock that is held for long.

pub(crate) mod config;
pub(crate) mod identity;
mod network;
mod running;
pub(crate) mod secret;
pub(crate) mod timing;
mod watcher;

use crate::linux::errno::ENODATA;
use crate::{
    cpu_group::{self, Taking},
    cpu_offline::{self, CpuSet},
    disk::contents::Contents,
    linux::{kobject::Announcer, log::Shown, module_ref::ModuleRef},
    load::{Files, Loaded, OpenFiles, Paths},
    machine::{preconditions, Machine},
    memory::memmap::Range,
    pci::{
        devices::Devices,
        unbinding::{Unbinding, Underway},
    },
    state::{Action, Event, State},
};
use config::Config;
use kernel::{
    new_delayed_work,
    new_mutex,
    prelude::*,
    str::CString,
    sync::{Arc, Mutex},
    workqueue::DelayedWork, //
};
use running::Running;
use timing::{Phase, Timing};

/// A successor OS.
#[pin_data]
pub(crate) struct Os {
    name: CString,
    machine: Arc<Machine>,
    announcer: Arc<Announcer>,
    #[pin]
    inner: Mutex<Inner>,
    /// Queued while the OS must be watched. The queue then holds a reference to the OS.
    #[pin]
    watcher: DelayedWork<Os>,
}

struct Inner {
    state: State,
    removed: bool,
    config: Config,
    /// Whether the OS is restarted automatically after a crash.
    recovery: bool,
    /// The timing of the last start, as far as it has come.
    timing: Timing,
    /// The last work of taking devices. It may still be running if a `start` was interrupted.
    unbinding: Option<Underway>,
    // Dropped in this order: the CPUs must leave before the memory can go.
    running: Option<Running>,
    loaded: Option<Loaded>,
}

impl Os {
    /// Makes an OS that is offline and not configured. `announcer` notifies user space of its
    /// changes.
    pub(crate) fn new(
        name: CString,
        machine: Arc<Machine>,
        announcer: Arc<Announcer>,
    ) -> Result<impl PinInit<Self>> {
        let inner = Inner {
            state: State::Offline,
            removed: false,
            config: Config::new()?,
            recovery: false,
            timing: Timing::default(),
            unbinding: None,
            running: None,
            loaded: None,
        };
        Ok(pin_init!(Os {
            name,
            machine,
            announcer,
            inner <- new_mutex!(inner),
            watcher <- new_delayed_work!("Os::watcher"),
        }))
    }

    /// Returns the name of the OS.
    pub(crate) fn name(&self) -> &CString {
        &self.name
    }

    /// Returns the state of the OS.
    pub(crate) fn state(&self) -> State {
        self.inner.lock().state
    }

    /// Calls `read` with the configuration, and with the OS's memory if it is loaded.
    pub(crate) fn with_config<R>(&self, read: impl FnOnce(&Config, Option<Range>) -> R) -> R {
        let inner = self.inner.lock();
        let memory = inner.loaded.as_ref().map(|loaded| loaded.layout.range());
        read(&inner.config, memory)
    }

    /// Calls `read` with the OS's disks: none before `load`.
    pub(crate) fn with_disks<R>(&self, read: impl FnOnce(&[Arc<Contents>]) -> R) -> R {
        let inner = self.inner.lock();
        read(inner.loaded.as_ref().map_or(&[], |loaded| &loaded.disks))
    }

    /// Calls `read` with the command line of the OS's kernel, which is empty before `load`.
    pub(crate) fn with_command_line<R>(&self, read: impl FnOnce(&CStr) -> R) -> R {
        let inner = self.inner.lock();
        match &inner.loaded {
            Some(loaded) => read(&loaded.command_line),
            None => read(c""),
        }
    }

    /// Calls `write` to change the configuration.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the OS is not offline; those of `write`.
    pub(crate) fn configure(self: &Arc<Self>, write: impl FnOnce(&mut Config) -> Result) -> Result {
        self.transition(Action::Configure, |_, inner| {
            write(&mut inner.config)?;
            Ok(State::Offline)
        })
    }

    /// Reserves memory for the OS, and copies its kernel and initrd there.
    ///
    /// # Errors
    ///
    /// `EBUSY` in the wrong state or if a resource is taken, `EPERM` if the caller may not start
    /// kernels, `EINVAL` if the configuration is incomplete or contradictory, `ENOMEM` if there is
    /// too little memory, `ENOEXEC` if the kernel can't be started, and those of reading the files.
    pub(crate) fn load(self: &Arc<Self>) -> Result {
        preconditions::check_caller()?;
        let paths = {
            let inner = self.inner.lock();
            self.check(&inner, Action::Load)?;
            for cpu in inner.config.cpus.iter().flat_map(CpuSet::iter) {
                cpu_offline::check(cpu, &self.name)?;
            }
            Paths::of(&inner.config, &self.name)?
        };
        // Outside the lock, which others wait for: reading a file may take long.
        let mut timing = Timing::begin();
        let files = OpenFiles::open(&self.machine, paths, &self.name)?;
        preconditions::count_load()?;
        let files = files.read(&self.name, &mut timing)?;
        self.transition(Action::Load, |os, inner| {
            os.load_files(inner, files, timing)?;
            inner.timing.pause();
            Ok(State::Loaded)
        })
    }

    /// Takes the OS's CPUs offline, and starts its kernel on the first of them. If the OS is not
    /// loaded yet, loads it while the CPUs go offline.
    ///
    /// # Errors
    ///
    /// `EBUSY` in the wrong state or if a CPU is taken, `EPERM` if the caller may not start
    /// kernels, `EINTR` if the caller gets a signal while drivers let go of devices, `ETIMEDOUT` if the CPU did not get as far as the kernel, `EIO` if an IPI was not
    /// delivered, `ESHUTDOWN` if the first OS is going down; those of [`Os::load`] if the OS was
    /// not loaded, and those of taking the devices.
    pub(crate) fn start(self: &Arc<Self>) -> Result {
        preconditions::check_caller()?;
        let offline = {
            let inner = self.inner.lock();
            self.check(&inner, Action::Start)?;
            if inner.state == State::Offline {
                let paths = Paths::of(&inner.config, &self.name)?;
                let cpus = inner.config.cpus.as_ref().ok_or(EINVAL)?;
                Some((paths, cpus.try_clone()?))
            } else {
                None
            }
        };
        let Some((paths, cpus)) = offline else {
            return self.start_loaded(Action::Start);
        };
        let mut timing = Timing::begin();
        // Open the files before a CPU goes offline, so that a wrong path costs nothing.
        let files = OpenFiles::open(&self.machine, paths, &self.name)?;
        preconditions::count_load()?;
        let unbinding = self.take_devices(Action::Start)?;
        let taking = Taking::begin(cpus, &self.name)?;
        let files = files.read(&self.name, &mut timing)?;
        unbinding.as_ref().map_or(Ok(()), Unbinding::wait)?;
        self.transition(Action::Start, |os, inner| {
            os.check_state(inner, State::Offline)?;
            os.load_files(inner, files, timing)?;
            let result = os.first_start(inner, Some(taking), unbinding);
            if result.is_err() && inner.state == State::Offline {
                inner.loaded = None;
            }
            result
        })
    }

    /// Starts the OS again from the loaded images, whatever it is doing.
    ///
    /// # Errors
    ///
    /// Those of [`Os::start`] and [`Os::stop`]. If the OS can't be started again, its state is
    /// crashed.
    pub(crate) fn restart(self: &Arc<Self>) -> Result {
        preconditions::check_caller()?;
        if self.inner.lock().state == State::Loaded {
            return self.start_loaded(Action::Restart);
        }
        self.transition(Action::Restart, |os, inner| {
            if inner.running.is_none() {
                return Err(os.is_changed(inner));
            }
            os.park(inner)?;
            os.start_again(inner)
        })
    }

    /// Parks the OS's CPUs, and gives all its resources back.
    ///
    /// # Errors
    ///
    /// `EBUSY` in the wrong state; `ETIMEDOUT` or `EIO` if a CPU can't be parked, or `ESHUTDOWN` if
    /// the first OS is going down. Then the OS keeps all its resources.
    pub(crate) fn stop(self: &Arc<Self>) -> Result {
        let mut disks = KVec::new();
        let result = self.transition(Action::Stop, |os, inner| {
            os.park(inner)?;
            inner.running = None;
            if let Some(loaded) = &mut inner.loaded {
                disks = core::mem::replace(&mut loaded.disks, KVec::new());
            }
            inner.loaded = None;
            Ok(State::Offline)
        });
        // Outside the lock: this waits for the storage.
        drop(disks);
        result
    }

    /// Frees the OS's memory, and refuses all further actions.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the OS has CPUs, or if its devices are being taken.
    pub(crate) fn remove(self: &Arc<Self>) -> Result {
        self.transition(Action::Remove, |os, inner| {
            os.check_unbinding(inner)?;
            inner.unbinding = None;
            inner.loaded = None;
            inner.removed = true;
            Ok(State::Offline)
        })?;
        self.stop_watching();
        Ok(())
    }

    /// Returns whether the OS is restarted automatically after a crash.
    pub(crate) fn recovery(&self) -> bool {
        self.inner.lock().recovery
    }

    /// Sets whether the OS is restarted automatically after a crash. An OS that has already crashed
    /// is restarted at once.
    ///
    /// # Errors
    ///
    /// `EPERM` if `recovery` is true and the caller may not start kernels, `ENODEV` if the OS is
    /// being removed.
    pub(crate) fn set_recovery(self: &Arc<Self>, recovery: bool) -> Result {
        if recovery {
            preconditions::check_caller()?;
        }
        let mut inner = self.inner.lock();
        if inner.removed {
            return Err(ENODEV);
        }
        inner.recovery = recovery;
        let Inner {
            state,
            running: Some(running),
            loaded: Some(loaded),
            ..
        } = &mut *inner
        else {
            return Ok(());
        };
        let recovering = running.restarts_for() == Some(Event::Panicked);
        let next = match (*state, recovery) {
            (State::Crashed, true) => {
                running.schedule_restart(&mut loaded.backoff, Event::Panicked);
                State::Restarting
            }
            (State::Restarting, false) if recovering && !loaded.restarts_on_panic => State::Crashed,
            _ => return Ok(()),
        };
        self.enter(&mut inner, next);
        self.keep_watching(&inner);
        Ok(())
    }

    /// Calls `read` with the timing of the last start.
    pub(crate) fn with_timing<R>(&self, read: impl FnOnce(&Timing) -> R) -> R {
        read(&self.inner.lock().timing)
    }

    /// Returns how many times the OS was restarted since it was loaded.
    pub(crate) fn restarts(&self) -> u64 {
        let inner = self.inner.lock();
        inner.loaded.as_ref().map_or(0, |loaded| loaded.restarts)
    }

    /// Copies the text of the kernel's log, from `offset` on, to `out`. Returns the number of
    /// bytes.
    ///
    /// # Errors
    ///
    /// `ENODATA` if the OS was not started, and those of [`Inspector::read_log`].
    ///
    /// [`Inspector::read_log`]: crate::postmortem::inspect::Inspector::read_log
    pub(crate) fn read_log(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        let mut inner = self.inner.lock();
        let running = inner.running.as_mut().ok_or(ENODATA)?;
        running.watch.inspector.read_log(&self.name, offset, out)
    }

    /// Copies a core file of the OS's memory, from `offset` on, to `out`. Returns the number of
    /// bytes.
    ///
    /// # Errors
    ///
    /// `ENODATA` if the OS was not started, and those of [`Inspector::read_core`].
    ///
    /// [`Inspector::read_core`]: crate::postmortem::inspect::Inspector::read_core
    pub(crate) fn read_core(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        let mut inner = self.inner.lock();
        let running = inner.running.as_mut().ok_or(ENODATA)?;
        running.watch.inspector.read_core(offset, out)
    }

    /// Performs `action` by calling `step`, if the state allows it. `step` returns the next state.
    fn transition(
        self: &Arc<Self>,
        action: Action,
        step: impl FnOnce(&Self, &mut Inner) -> Result<State>,
    ) -> Result {
        let mut inner = self.inner.lock();
        self.check(&inner, action)?;
        let next = step(self, &mut inner)?;
        self.enter(&mut inner, next);
        self.keep_watching(&inner);
        Ok(())
    }

    /// Checks that the state allows `action`.
    fn check(&self, inner: &Inner, action: Action) -> Result {
        if inner.removed {
            return Err(ENODEV);
        }
        inner.state.allows(action).map_err(|refusal| {
            pr_err!("{}: {}\n", &*self.name, Shown(refusal));
            EBUSY
        })
    }

    /// Checks that the OS is still in `state`, in which an action began.
    fn check_state(&self, inner: &Inner, state: State) -> Result {
        match inner.state == state {
            true => Ok(()),
            false => Err(self.is_changed(inner)),
        }
    }

    /// Logs that somebody else has changed the state since an action began, and returns the error
    /// of the action.
    fn is_changed(&self, inner: &Inner) -> Error {
        pr_err!(
            "{}: it is {} now, by somebody else: try again\n",
            &*self.name,
            inner.state.name()
        );
        EBUSY
    }

    /// Checks that none of the OS's devices is being taken.
    fn check_unbinding(&self, inner: &Inner) -> Result {
        if inner.unbinding.as_ref().is_none_or(Underway::is_over) {
            return Ok(());
        }
        pr_err!(
            "{}: its devices are being taken from their drivers, which have not let go of them yet\n",
            &*self.name
        );
        Err(EBUSY)
    }

    /// Begins to take the devices that are configured, if any, for `action`.
    ///
    /// # Errors
    ///
    /// `EBUSY` in the wrong state, or if devices of the OS are already being taken; `ENOMEM`.
    fn take_devices(&self, action: Action) -> Result<Option<Unbinding>> {
        let mut inner = self.inner.lock();
        self.check(&inner, action)?;
        self.check_unbinding(&inner)?;
        if inner.config.devices.is_empty() {
            return Ok(None);
        }
        let mut requests = KVec::new();
        requests.extend_from_slice(&inner.config.devices, GFP_KERNEL)?;
        let module = ModuleRef::get(self.machine.module)?;
        let (unbinding, underway) = Unbinding::begin(requests, &self.name, module)?;
        inner.unbinding = Some(underway);
        Ok(Some(unbinding))
    }

    /// Starts the OS, which is loaded.
    ///
    /// # Errors
    ///
    /// Those of [`Os::start`].
    fn start_loaded(self: &Arc<Self>, action: Action) -> Result {
        let unbinding = self.take_devices(action)?;
        unbinding.as_ref().map_or(Ok(()), Unbinding::wait)?;
        self.transition(action, |os, inner| {
            os.check_state(inner, State::Loaded)?;
            os.first_start(inner, None, unbinding)
        })
    }

    /// Changes the state to `state`, and notifies user space.
    fn enter(&self, inner: &mut Inner, state: State) {
        if inner.state == state {
            return;
        }
        inner.state = state;
        pr_info!("{}: {}\n", &*self.name, state.name());
        self.announcer.notify(c"state");
        let os = CString::try_from_fmt(fmt!("MINT_OS={}", &*self.name));
        let state = CString::try_from_fmt(fmt!("MINT_STATE={}", state.name()));
        // Without memory for the uevent, user space can still poll the state.
        if let (Ok(os), Ok(state)) = (os, state) {
            self.announcer.send_uevent([&os, &state]);
        }
    }

    /// Reserves memory for `files`, and copies them there. `timing` has the time that reading them
    /// took.
    fn load_files(&self, inner: &mut Inner, files: Files, timing: Timing) -> Result {
        inner.timing = timing;
        let Inner { config, timing, .. } = inner;
        let loaded = Loaded::new(&self.machine, config, files, &self.name, timing)?;
        inner.loaded = Some(loaded);
        Ok(())
    }

    /// Starts the OS for the first time since it was loaded. `taking` are the CPUs that are already
    /// being taken, if any, and `unbinding` the devices that were taken.
    ///
    /// If this fails, a loaded OS has its previous state, or is offline or stuck. If the OS was
    /// offline, the caller must drop what was loaded.
    fn first_start(
        &self,
        inner: &mut Inner,
        taking: Option<Taking>,
        unbinding: Option<Unbinding>,
    ) -> Result<State> {
        let Inner {
            config,
            running,
            loaded: Some(loaded),
            timing,
            ..
        } = inner
        else {
            return Err(EINVAL);
        };
        timing.resume();
        let module = ModuleRef::get(self.machine.module)?;
        let cpus = match (taking, &config.cpus) {
            (Some(taking), Some(cpus)) if taking.cpus() == cpus => taking.finish(timing),
            (Some(_), _) => {
                pr_err!(
                    "{}: its CPUs were configured anew while it was to be started: start it again\n",
                    &*self.name
                );
                Err(EBUSY)
            }
            (None, Some(cpus)) => {
                timing.measure(Phase::Offline, || cpu_group::take(cpus, &self.name))
            }
            (None, None) => Err(EINVAL),
        }?;
        let requests = unbinding.as_ref().map_or(&[][..], Unbinding::requests);
        if *requests != *config.devices {
            pr_err!(
                "{}: its devices were configured anew while it was to be started: start it again\n",
                &*self.name
            );
            return Err(EBUSY);
        }
        let mut devices = match unbinding {
            Some(unbinding) => unbinding.finish(timing)?,
            None => Devices::none(&self.name)?,
        };
        timing.measure(Phase::Devices, || loaded.give(&mut devices))?;
        // SAFETY: `loaded` is this OS's, and `inner` drops `running` before `loaded`.
        *running = Some(unsafe { Running::new(&self.machine, module, loaded, cpus, devices) }?);
        let result = self.boot(inner);
        if result.is_ok() {
            return Ok(State::Running);
        }
        // If a CPU does not answer, the OS keeps everything.
        self.park(inner)?;
        inner.running = None;
        if inner.state == State::Loaded {
            let Inner { loaded, timing, .. } = inner;
            let loaded = loaded.as_ref().ok_or(EINVAL)?;
            // The CPU may have reached the kernel after all, and the kernel may have changed its
            // image.
            // SAFETY: The memory is this OS's, and `park()` has parked its CPUs.
            if unsafe { loaded.copy(timing) }.is_err() {
                inner.loaded = None;
                self.enter(inner, State::Offline);
            }
        }
        result.map(|()| State::Running)
    }

    /// Starts the OS again. Its CPUs must be parked.
    fn start_again(&self, inner: &mut Inner) -> Result<State> {
        if !self.disks_are_quiet(inner) {
            return Ok(State::Restarting);
        }
        inner.timing = Timing::begin();
        let Inner {
            running: Some(running),
            loaded: Some(loaded),
            timing,
            ..
        } = inner
        else {
            return Err(EINVAL);
        };
        running.watch.inspector.forget();
        // SAFETY: The memory is this OS's, its CPUs are parked, and its devices are quiesced.
        let result = unsafe { loaded.copy(timing) }
            .and_then(|()| timing.measure(Phase::Devices, || running.devices.make_ready()))
            .and_then(|()| self.boot(inner));
        if let Err(error) = result {
            pr_err!(
                "{}: it can't be restarted (error {})\n",
                &*self.name,
                error.to_errno()
            );
            self.park(inner)?;
            self.enter(inner, State::Crashed);
            return Err(error);
        }
        if let Some(loaded) = &mut inner.loaded {
            loaded.restarts += 1;
        }
        Ok(State::Running)
    }

    /// Returns whether no request of the OS's disks is under way, which could overtake those of its next
    /// kernel. Otherwise schedules a restart for later.
    fn disks_are_quiet(&self, inner: &mut Inner) -> bool {
        let Inner {
            running: Some(running),
            loaded: Some(loaded),
            ..
        } = inner
        else {
            return true;
        };
        if loaded.settle_disks() {
            return true;
        }
        if running.schedule_restart_soon() {
            pr_info!(
                "{}: it is started again once its disks' storage has finished what is under way\n",
                &*self.name
            );
        }
        false
    }

    /// Starts the kernel in the OS's memory on its CPUs, which must not run anything.
    fn boot(&self, inner: &mut Inner) -> Result {
        let Inner {
            running: Some(running),
            loaded: Some(loaded),
            timing,
            ..
        } = inner
        else {
            return Err(EINVAL);
        };
        // SAFETY: `loaded` is this OS's, and its images were copied to the memory. The CPUs are
        // parked, or were just taken from the first OS.
        unsafe { running.boot(loaded, &self.machine, &self.name, timing) }
    }

    /// Parks the OS's CPUs, if it has CPUs that are not parked.
    ///
    /// # Errors
    ///
    /// Those of [`Running::park`]; the OS is then stuck.
    fn park(&self, inner: &mut Inner) -> Result {
        let Some(running) = &mut inner.running else {
            return Ok(());
        };
        let result = running.park(&self.machine, &self.name);
        if result.is_err() {
            self.enter(inner, State::Stuck);
        }
        result
    }
}
