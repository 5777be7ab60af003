// SPDX-License-Identifier: GPL-2.0

//! One successor OS: what it is to be, what it holds, and how it gets from one state to another.
//!
//! Whatever an OS holds is held by a value that gives it back when it is dropped, so that a step
//! that fails leaves the state before it.
//!
//! Lock order: an OS's `inner`, then what keeps CPU hotplug and the binding of drivers apart, then the
//! CPU hotplug lock (by a work item too, for which `inner` waits), then the CPU owners, or the locks of
//! PCI devices, then the claims to them; or `inner`, then one of: the list of images, the announcer's
//! kobject, the gate of the local APIC. But for the first two of these, no lock is shared by the loads
//! and starts of different OSes for more than moments.

pub(crate) mod timing;

use crate::{
    cpu_group::{self, Taking},
    cpu_offline::{self, CpuSet, OwnedCpu},
    linux::{kobject::Announcer, log::Shown, module_ref::ModuleRef, work_queue},
    load::{Files, Loaded, Paths},
    machine::{
        history::History, local_apic::LocalApic, preconditions, stepping_stone::SteppingStone,
        wakeup::Trampoline,
    },
    mem_reserve::Pool,
    memory::memmap::{self, Range},
    mint_kexec::Images,
    os_instance::timing::{Phase, Span, Timing},
    pci::{devices::Devices, unit::Request},
    start::Cpus,
    state::{
        backoff::Backoff,
        {Action, Event, State},
    },
    watch::Watch,
};
use kernel::{
    bindings,
    impl_has_delayed_work,
    new_delayed_work,
    new_mutex,
    prelude::*,
    str::CString,
    sync::{Arc, Mutex},
    time::{msecs_to_jiffies, Delta, Instant, Monotonic},
    workqueue::{DelayedWork, WorkItem}, //
};

/// What all OSes share.
pub(crate) struct Machine {
    /// The memory for them.
    pub(crate) pool: Pool,
    /// By what their CPUs come to long mode.
    pub(crate) stepping_stone: SteppingStone,
    /// What starts and stops their CPUs.
    pub(crate) apic: Arc<LocalApic>,
    /// The kernels and initrds that they boot.
    pub(crate) images: Arc<Images>,
    /// How long their last starts took.
    pub(crate) history: Pin<KBox<History>>,
}

impl Machine {
    /// Checks that no OS has memory.
    ///
    /// # Errors
    ///
    /// `EBUSY` if one has; the log says so.
    pub(crate) fn check_nothing_loaded(&self) -> Result {
        if self.pool.free() == self.pool.total() {
            return Ok(());
        }
        pr_err!("no hibernation while an OS is loaded, whose memory would be lost: write 1 to each one's 'stop' first\n");
        Err(EBUSY)
    }
}

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

/// How often a running OS is looked at, in milliseconds.
const WATCH_INTERVAL: u32 = 100;

/// A successor OS.
#[pin_data]
pub(crate) struct Os {
    name: CString,
    machine: Arc<Machine>,
    announcer: Arc<Announcer>,
    #[pin]
    inner: Mutex<Inner>,
    /// Queued while the OS is to be watched; it then holds a reference to it.
    #[pin]
    watcher: DelayedWork<Os>,
}

struct Inner {
    state: State,
    removed: bool,
    config: Config,
    /// Whether it is restarted by itself after a crash.
    recovery: bool,
    /// How long the last start took, as far as it has come.
    timing: Timing,
    // Dropped in this order: the CPUs must have left before the memory can go.
    running: Option<Running>,
    loaded: Option<Loaded>,
}

/// What an OS holds from `start` on.
struct Running {
    // Dropped before the CPUs, which they may send interrupts to.
    devices: Devices,
    cpus: KVec<OwnedCpu>,
    /// The CPUs are proved to run nothing.
    parked: bool,
    started: Instant<Monotonic>,
    /// How long it ran until it ended, in milliseconds.
    ran_for: u64,
    trampoline: Trampoline,
    watch: Watch,
    /// Why it is restarting, and when it is due.
    restart: Option<(Event, Instant<Monotonic>)>,
    /// The module stays while one of these is there.
    _module: ModuleRef,
}

impl Running {
    /// Has it restarted for `event` once the wait is over that its past calls for.
    fn schedule_restart(&mut self, backoff: &mut Backoff, event: Event) {
        let wait = backoff.next(self.ran_for);
        let due = Instant::now() + Delta::from_millis(wait as i64);
        self.restart = Some((event, due));
    }
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Os { self.watcher }
}

impl WorkItem for Os {
    type Pointer = Arc<Os>;

    fn run(os: Arc<Os>) {
        os.watch();
    }
}

impl Os {
    /// An OS that is offline and not configured, whose changes `announcer` tells.
    pub(crate) fn new(
        name: CString,
        machine: Arc<Machine>,
        announcer: Arc<Announcer>,
    ) -> Result<impl PinInit<Self>> {
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
                devices: KVec::new(),
            },
            recovery: false,
            timing: Timing::default(),
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
        let memory = inner.loaded.as_ref().map(|loaded| loaded.layout.range());
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
    pub(crate) fn configure(self: &Arc<Self>, write: impl FnOnce(&mut Config) -> Result) -> Result {
        self.transition(Action::Configure, |_, inner| {
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
        // Not under the lock, for which others wait: a file system may take its time.
        let mut timing = Timing::default();
        let files = Files::get(&self.machine.images, paths, &self.name, &mut timing)?;
        self.transition(Action::Load, |os, inner| {
            os.load_files(inner, files, timing)?;
            Ok(State::Loaded)
        })
    }

    /// Takes its CPUs offline, and starts its kernel on the first of them. If it is not loaded yet,
    /// it is, while the CPUs go offline.
    ///
    /// # Errors
    ///
    /// `EBUSY` in the wrong state or if a CPU is taken, `EPERM` if the caller may not start
    /// kernels, `ETIMEDOUT` if the CPU did not get as far as the kernel, `EIO` if an IPI was not
    /// delivered, `ESHUTDOWN` if the first OS is going down; if it was not loaded, those of
    /// [`Os::load`].
    pub(crate) fn start(self: &Arc<Self>) -> Result {
        preconditions::check_caller()?;
        let offline = {
            let inner = self.inner.lock();
            self.check(&inner, Action::Start)?;
            if inner.state == State::Offline {
                let paths = Paths::of(&inner.config, &self.name)?;
                let cpus = inner.config.cpus.as_ref().ok_or(EINVAL)?;
                Some((paths, Taking::begin(cpus.try_clone()?, &self.name)?))
            } else {
                None
            }
        };
        let Some((paths, taking)) = offline else {
            return self.transition(Action::Start, |os, inner| {
                os.check_state(inner, State::Loaded)?;
                os.first_start(inner, None)
            });
        };
        let mut timing = Timing::default();
        let files = Files::get(&self.machine.images, paths, &self.name, &mut timing)?;
        self.transition(Action::Start, |os, inner| {
            os.check_state(inner, State::Offline)?;
            os.load_files(inner, files, timing)?;
            let result = os.first_start(inner, Some(taking));
            if result.is_err() && inner.state == State::Offline {
                inner.loaded = None;
            }
            result
        })
    }

    /// Starts it again from what is loaded, whatever it is doing.
    ///
    /// # Errors
    ///
    /// Those of [`Os::start`], and of [`Os::stop`]. If it can't be started again it is crashed.
    pub(crate) fn restart(self: &Arc<Self>) -> Result {
        preconditions::check_caller()?;
        self.transition(Action::Restart, |os, inner| {
            if inner.state == State::Loaded {
                return os.first_start(inner, None);
            }
            os.park(inner)?;
            os.start_again(inner)
        })
    }

    /// Parks its CPUs and gives everything back; of a loaded OS, its memory.
    ///
    /// # Errors
    ///
    /// `EBUSY` in the wrong state; `ETIMEDOUT` or `EIO` if a CPU can't be parked, or `ESHUTDOWN` if
    /// the first OS is going down: then everything is kept.
    pub(crate) fn stop(self: &Arc<Self>) -> Result {
        self.transition(Action::Stop, |os, inner| {
            os.park(inner)?;
            inner.running = None;
            inner.loaded = None;
            Ok(State::Offline)
        })
    }

    /// Frees what it holds and lets nobody use it any more.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it has CPUs.
    pub(crate) fn remove(self: &Arc<Self>) -> Result {
        self.transition(Action::Remove, |_, inner| {
            inner.loaded = None;
            inner.removed = true;
            Ok(State::Offline)
        })?;
        self.stop_watching();
        Ok(())
    }

    /// Lets nobody use it any more, nor watch it, whatever it does, and parks its CPUs, which only a
    /// module that was removed by force has left to do.
    pub(crate) fn abandon(self: &Arc<Self>) {
        let mut inner = self.inner.lock();
        inner.removed = true;
        if self.park(&mut inner).is_err() {
            // What it may still use is nobody else's, ever. What failed has been logged.
            core::mem::forget(inner.running.take());
            core::mem::forget(inner.loaded.take());
        }
        drop(inner);
        self.stop_watching();
    }

    /// Whether it is restarted by itself after a crash.
    pub(crate) fn recovery(&self) -> bool {
        self.inner.lock().recovery
    }

    /// Sets whether it is restarted by itself after a crash; one that has crashed is at once.
    ///
    /// # Errors
    ///
    /// `EPERM` if the caller may not start kernels but wants it restarted, `ENODEV` if the OS is
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
        let recovering = matches!(running.restart, Some((Event::Panicked, _)));
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

    /// Lets `read` see how long its last start took.
    pub(crate) fn with_timing<R>(&self, read: impl FnOnce(&Timing) -> R) -> R {
        read(&self.inner.lock().timing)
    }

    /// How many times it was restarted since it was loaded.
    pub(crate) fn restarts(&self) -> u64 {
        let inner = self.inner.lock();
        inner.loaded.as_ref().map_or(0, |loaded| loaded.restarts)
    }

    /// Copies its kernel's log as text, from `offset` on, to `out`; returns how many bytes.
    ///
    /// # Errors
    ///
    /// `ENODATA` if it was not started, and those of [`Inspector::read_log`].
    ///
    /// [`Inspector::read_log`]: crate::postmortem::inspect::Inspector::read_log
    pub(crate) fn read_log(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        let mut inner = self.inner.lock();
        let running = inner.running.as_mut().ok_or(ENODATA)?;
        running.watch.inspector.read_log(&self.name, offset, out)
    }

    /// Copies the core file of its memory, from `offset` on, to `out`; returns how many bytes.
    ///
    /// # Errors
    ///
    /// `ENODATA` if it was not started, and those of [`Inspector::read_core`].
    ///
    /// [`Inspector::read_core`]: crate::postmortem::inspect::Inspector::read_core
    pub(crate) fn read_core(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        let mut inner = self.inner.lock();
        let running = inner.running.as_mut().ok_or(ENODATA)?;
        running.watch.inspector.read_core(offset, out)
    }

    /// Does `action` by `step`, which returns the state that follows, if the state allows it.
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

    /// Checks that `action` may be done.
    fn check(&self, inner: &Inner, action: Action) -> Result {
        if inner.removed {
            return Err(ENODEV);
        }
        inner.state.allows(action).map_err(|refusal| {
            pr_err!("{}: {}\n", &*self.name, Shown(refusal));
            EBUSY
        })
    }

    /// Checks that it is still in the `state` in which something was begun.
    fn check_state(&self, inner: &Inner, state: State) -> Result {
        if inner.state == state {
            return Ok(());
        }
        pr_err!(
            "{}: it is {} now, by somebody else: try again\n",
            &*self.name,
            inner.state.name()
        );
        Err(EBUSY)
    }

    /// Makes `state` its state, and tells so.
    fn enter(&self, inner: &mut Inner, state: State) {
        if inner.state == state {
            return;
        }
        inner.state = state;
        pr_info!("{}: {}\n", &*self.name, state.name());
        self.announcer.notify(c"state");
        let os = CString::try_from_fmt(fmt!("MINT_OS={}", &*self.name));
        let state = CString::try_from_fmt(fmt!("MINT_STATE={}", state.name()));
        // Where there is no memory for it, the state can still be polled.
        if let (Ok(os), Ok(state)) = (os, state) {
            self.announcer.send_uevent([&os, &state]);
        }
    }

    /// Sees to it that it is watched, if its state calls for it.
    fn keep_watching(self: &Arc<Self>, inner: &Inner) {
        let is_watched = matches!(inner.state, State::Running | State::Restarting);
        if is_watched && !inner.removed {
            // If it is queued already, that is as good.
            let _ = work_queue::unbound()
                .enqueue_delayed(self.clone(), msecs_to_jiffies(WATCH_INTERVAL));
        }
    }

    /// Takes the work out of the queue, and waits for it if it runs. The OS must be marked as
    /// removed, so that nothing queues it again.
    fn stop_watching(self: &Arc<Self>) {
        let watcher = &raw const self.watcher;
        // SAFETY: The work is part of the OS, and initialised. Nobody holds the lock that it takes.
        let queued =
            unsafe { bindings::cancel_delayed_work_sync(DelayedWork::raw_as_work(watcher).cast()) };
        if queued {
            // SAFETY: It is the reference that the queue held, which does not run it any more.
            drop(unsafe { Arc::from_raw(Arc::as_ptr(self)) });
        }
    }

    /// Looks at it, and does what is to be done.
    fn watch(self: &Arc<Self>) {
        let mut inner = self.inner.lock();
        let next = match inner.state {
            State::Running => self.look(&mut inner),
            State::Restarting => self.restart_if_due(&mut inner),
            state => Ok(state),
        };
        // What failed has been logged.
        if let Ok(next) = next {
            self.enter(&mut inner, next);
        }
        self.keep_watching(&inner);
    }

    /// The state that follows from what it is seen to do.
    fn look(&self, inner: &mut Inner) -> Result<State> {
        let running = inner.running.as_mut().ok_or(EINVAL)?;
        let Some(event) = running.watch.look() else {
            return Ok(inner.state);
        };
        let ran_for = running.started.elapsed().as_millis();
        running.ran_for = u64::try_from(ran_for).unwrap_or(0);
        pr_info!("{}: {}\n", &*self.name, Shown(event));
        self.park(inner)?;
        let (Some(running), Some(loaded)) = (&mut inner.running, &mut inner.loaded) else {
            return Err(EINVAL);
        };
        if event == Event::Panicked {
            running.watch.inspector.panic_reason(|reason| {
                pr_info!("{}: its reason: {}\n", &*self.name, Shown(reason));
            });
        }
        let next = event.leads_to(loaded.restarts_on_panic || inner.recovery);
        if next != State::Restarting {
            return Ok(next);
        }
        running.schedule_restart(&mut loaded.backoff, event);
        self.enter(inner, next);
        self.restart_if_due(inner)
    }

    fn restart_if_due(&self, inner: &mut Inner) -> Result<State> {
        let due = inner.running.as_ref().and_then(|running| running.restart);
        match due {
            Some((_, due)) if due - Instant::now() <= Delta::ZERO => self.start_again(inner),
            _ => Ok(State::Restarting),
        }
    }

    /// Reserves memory for `files`, and copies them there; it took `timing` to get them.
    fn load_files(&self, inner: &mut Inner, files: Files, timing: Timing) -> Result {
        inner.timing = timing;
        let Inner { config, timing, .. } = inner;
        let loaded = Loaded::new(&self.machine, config, files, &self.name, timing)?;
        inner.loaded = Some(loaded);
        Ok(())
    }

    /// The first start since it was loaded, on CPUs that are being taken, if there are some yet. If
    /// it fails, a loaded OS is as it was before, or offline, or stuck; what an offline one has loaded
    /// is the caller's to drop.
    fn first_start(&self, inner: &mut Inner, taking: Option<Taking>) -> Result<State> {
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
        let module = ModuleRef::get()?;
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
                let (span, taken) =
                    Span::of(|| cpu_group::take(cpus, &self.name, &timing.exclusive));
                timing.set(Phase::Offline, span);
                taken
            }
            (None, None) => Err(EINVAL),
        }?;
        let (span, devices) = Span::of(|| loaded.take_devices(config, &self.name));
        timing.set(Phase::Devices, span);
        *running = Some(Running {
            devices: devices?,
            cpus,
            parked: true,
            started: Instant::now(),
            ran_for: 0,
            // SAFETY: The memory is this OS's, and stays so while it has CPUs.
            trampoline: unsafe { Trampoline::new(loaded.layout.low.trampoline()) }?,
            // SAFETY: As above.
            watch: unsafe { Watch::new(&loaded.layout) }?,
            restart: None,
            _module: module,
        });
        let result = self.boot(inner);
        if result.is_ok() {
            return Ok(State::Running);
        }
        // A CPU that does not answer keeps everything.
        self.park(inner)?;
        inner.running = None;
        if inner.state == State::Loaded {
            let Inner { loaded, timing, .. } = inner;
            let loaded = loaded.as_ref().ok_or(EINVAL)?;
            // Had it come to the kernel after all, the image would not be whole any more.
            // SAFETY: The memory is this OS's, and its CPUs are parked.
            if unsafe { loaded.copy(timing) }.is_err() {
                inner.loaded = None;
                self.enter(inner, State::Offline);
            }
        }
        result.map(|()| State::Running)
    }

    /// Starts it again; its CPUs are parked.
    fn start_again(&self, inner: &mut Inner) -> Result<State> {
        inner.timing = Timing::default();
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
        // SAFETY: The memory is this OS's, its CPUs are parked, and its devices are quiet.
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

    /// Starts the kernel, which lies in its memory, on its CPUs, which run nothing.
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
        running.restart = None;
        running.started = Instant::now();
        running.parked = false;
        let (mut cpus, devices) = self.cpus(loaded, running);
        // SAFETY: The memory is this OS's, the images were copied to it, and its CPUs are parked or
        // were just taken from the first OS.
        let result = unsafe { cpus.start(&loaded.told(devices.bridges()), timing) };
        self.machine.history.add(&self.name, timing);
        result
    }

    /// Parks its CPUs, if it has some that are not.
    ///
    /// # Errors
    ///
    /// Those of [`Cpus::park`]; then it is stuck.
    fn park(&self, inner: &mut Inner) -> Result {
        let (Some(running), Some(loaded)) = (&mut inner.running, &inner.loaded) else {
            return Ok(());
        };
        if running.parked {
            return Ok(());
        }
        let (mut cpus, devices) = self.cpus(loaded, running);
        // SAFETY: The memory is this OS's.
        let result = unsafe { cpus.park() }.and_then(|()| devices.quiesce());
        running.parked = result.is_ok();
        if result.is_err() {
            self.enter(inner, State::Stuck);
        }
        result
    }

    fn cpus<'a>(
        &'a self,
        loaded: &'a Loaded,
        running: &'a mut Running,
    ) -> (Cpus<'a>, &'a mut Devices) {
        let cpus = Cpus {
            os: &self.name,
            apic: &self.machine.apic,
            layout: &loaded.layout,
            stepping_stone: self.machine.stepping_stone.root(),
            cpus: &running.cpus,
            trampoline: &mut running.trampoline,
        };
        (cpus, &mut running.devices)
    }
}
