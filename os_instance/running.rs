// SPDX-License-Identifier: GPL-2.0

//! What an OS holds from `start` on: its CPUs, its devices, and a way to look at it.

use crate::{
    cpu_offline::OwnedCpu,
    linux::module_ref::ModuleRef,
    load::Loaded,
    machine::{wakeup::Trampoline, Machine},
    os_instance::timing::Timing,
    pci::devices::Devices,
    start::Cpus,
    state::{backoff::Backoff, Event},
    watch::Watch,
};
use kernel::{
    prelude::*,
    str::CString,
    time::{Delta, Instant, Monotonic}, //
};

/// What an OS holds from `start` on.
pub(super) struct Running {
    // Dropped before the CPUs, which they may send interrupts to.
    pub(super) devices: Devices,
    cpus: KVec<OwnedCpu>,
    /// The CPUs are proved to run nothing.
    parked: bool,
    started: Instant<Monotonic>,
    /// How long it ran until it ended, in milliseconds.
    ran_for: u64,
    trampoline: Trampoline,
    pub(super) watch: Watch,
    /// Why it is restarting, and when it is due.
    restart: Option<(Event, Instant<Monotonic>)>,
    /// The module stays while one of these is there.
    _module: ModuleRef,
}

impl Running {
    /// An OS that holds `cpus` and `devices` but does not run yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no room for a mapping.
    ///
    /// # Safety
    ///
    /// `loaded` must be the same OS's, and keep its memory for as long as this lives.
    pub(super) unsafe fn new(
        module: ModuleRef,
        loaded: &Loaded,
        cpus: KVec<OwnedCpu>,
        devices: Devices,
    ) -> Result<Self> {
        Ok(Running {
            devices,
            cpus,
            parked: true,
            started: Instant::now(),
            ran_for: 0,
            // SAFETY: The caller's promise.
            trampoline: unsafe { Trampoline::new(loaded.layout.low.trampoline()) }?,
            // SAFETY: The caller's promise.
            watch: unsafe { Watch::new(&loaded.layout) }?,
            restart: None,
            _module: module,
        })
    }

    /// Starts the kernel of `os` on its CPUs. How long that takes goes to `timing`.
    ///
    /// # Errors
    ///
    /// Those of [`Cpus::start`].
    ///
    /// # Safety
    ///
    /// `loaded` must be the one of [`Running::new`], with the images in its memory as they were copied,
    /// and the CPUs must be parked or just have been taken from the first OS.
    pub(super) unsafe fn boot(
        &mut self,
        loaded: &Loaded,
        machine: &Machine,
        os: &CString,
        timing: &mut Timing,
    ) -> Result {
        self.restart = None;
        self.started = Instant::now();
        self.parked = false;
        let (mut cpus, devices) = self.parts(loaded, machine, os);
        // SAFETY: The caller's promise.
        let result = unsafe { cpus.start(&loaded.told(devices.bridges()), timing) };
        timing.pause();
        result
    }

    /// Parks the CPUs of `os` if they are not parked yet, and makes its devices quiet.
    ///
    /// # Errors
    ///
    /// Those of [`Cpus::park`].
    ///
    /// # Safety
    ///
    /// `loaded` must be the one of [`Running::new`].
    pub(super) unsafe fn park(
        &mut self,
        loaded: &Loaded,
        machine: &Machine,
        os: &CString,
    ) -> Result {
        if self.parked {
            return Ok(());
        }
        let (mut cpus, devices) = self.parts(loaded, machine, os);
        // SAFETY: The caller's promise.
        unsafe { cpus.park() }?;
        devices.quiesce()?;
        self.parked = true;
        Ok(())
    }

    /// Notes that it has ended now.
    pub(super) fn end(&mut self) {
        self.ran_for = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(0);
    }

    /// Schedules a restart because of `event`, after the wait that `backoff` calls for.
    pub(super) fn schedule_restart(&mut self, backoff: &mut Backoff, event: Event) {
        let wait = backoff.next(self.ran_for);
        let due = Instant::now() + Delta::from_millis(wait as i64);
        self.restart = Some((event, due));
    }

    /// The event because of which it is to be restarted, if it is.
    pub(super) fn restarts_for(&self) -> Option<Event> {
        self.restart.map(|(event, _)| event)
    }

    /// Whether a restart is scheduled for now or before.
    pub(super) fn restart_is_due(&self) -> bool {
        self.restart
            .is_some_and(|(_, due)| due - Instant::now() <= Delta::ZERO)
    }

    fn parts<'a>(
        &'a mut self,
        loaded: &'a Loaded,
        machine: &'a Machine,
        os: &'a CString,
    ) -> (Cpus<'a>, &'a mut Devices) {
        let cpus = Cpus {
            os,
            apic: &machine.apic,
            layout: &loaded.layout,
            stepping_stone: machine.stepping_stone.root(),
            cpus: &self.cpus,
            trampoline: &mut self.trampoline,
        };
        (cpus, &mut self.devices)
    }
}
