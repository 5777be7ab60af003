// SPDX-License-Identifier: GPL-2.0

//! The resources that an OS holds from `start` on: its CPUs and its devices. Also the means to
//! watch it.

use crate::{
    cpu_offline::OwnedCpu,
    disk,
    firmware::host_bridge::HostBridge,
    linux::module_ref::ModuleRef,
    load::Loaded,
    machine::{wakeup::Trampoline, Machine},
    memory_device::bus::{Bus, CARD_SLOT, FIRST_DISK_SLOT},
    network::card::NetworkCard,
    os_instance::timing::Timing,
    pci::devices::Devices,
    polling::{function::Function, poller::Serving, served::Served},
    start::Cpus,
    state::{backoff::Backoff, Event},
    watch::Watch,
};
use kernel::{
    prelude::*,
    str::CString,
    time::{Delta, Instant, Monotonic}, //
};

/// The resources that an OS holds from `start` on.
pub(super) struct Running {
    /// The functions made of memory, while the OS runs. Dropped first: nobody may look at them once their
    /// memory or the CPUs are given back.
    serving: Option<Serving>,
    // Dropped before the CPUs, to which the devices may send interrupts.
    pub(super) devices: Devices,
    cpus: KVec<OwnedCpu>,
    /// Whether the CPUs are proved to execute nothing.
    parked: bool,
    started: Instant<Monotonic>,
    /// How long the OS ran until it ended, in milliseconds.
    ran_for: u64,
    trampoline: Trampoline,
    pub(super) watch: Watch,
    /// The reason for the next restart, and when it is due.
    restart: Option<(Event, Instant<Monotonic>)>,
    /// Keeps the module loaded.
    _module: ModuleRef,
}

impl Running {
    /// Makes an OS that holds `cpus` and `devices` but does not run yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if memory can't be mapped.
    ///
    /// # Safety
    ///
    /// `loaded` must belong to the same OS, and keep its memory for as long as this lives. None of
    /// the CPUs may run in that memory.
    pub(super) unsafe fn new(
        machine: &Machine,
        module: ModuleRef,
        loaded: &Loaded,
        cpus: KVec<OwnedCpu>,
        devices: Devices,
    ) -> Result<Self> {
        for cpu in &cpus {
            machine.rest_page.introduce(cpu.apic_id(), cpu.state())?;
        }
        // SAFETY: `loaded` owns the trampoline's page and keeps it, and only the OS's CPUs are
        // started there.
        let trampoline = unsafe { Trampoline::new(loaded.layout.low.trampoline()) }?;
        // SAFETY: `loaded` owns the memory of its layout, and keeps it.
        let watch = unsafe { Watch::new(&loaded.layout) }?;
        Ok(Running {
            serving: None,
            devices,
            cpus,
            parked: true,
            started: Instant::now(),
            ran_for: 0,
            trampoline,
            watch,
            restart: None,
            _module: module,
        })
    }

    /// Starts the kernel of `os` on its CPUs. Records the duration in `timing`.
    ///
    /// # Errors
    ///
    /// Those of [`Cpus::start`].
    ///
    /// # Safety
    ///
    /// `loaded` must be the one passed to [`Running::new`], with the images unchanged in its
    /// memory. The CPUs must be parked, or just taken from the first OS.
    pub(super) unsafe fn boot(
        &mut self,
        loaded: &Loaded,
        machine: &Machine,
        os: &CString,
        timing: &mut Timing,
    ) -> Result {
        self.restart = None;
        self.started = Instant::now();
        let bridges = self.bridges(loaded)?;
        // SAFETY: This function has the same safety requirements.
        self.serving = unsafe { self.serve(loaded, machine) }?;
        self.parked = false;
        let mut cpus = Cpus {
            os,
            machine,
            layout: &loaded.layout,
            cpus: &self.cpus,
            trampoline: &mut self.trampoline,
        };
        // SAFETY: `loaded` owns the memory of the layout. The caller guarantees that the images are
        // in it, and that none of the CPUs runs in it.
        let result = unsafe { cpus.start(&loaded.told(&bridges), timing) };
        timing.pause();
        result
    }

    /// Begins to serve the OS's functions made of memory, if it has any.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a request of an earlier kernel is under way; those of [`Served::new`] and
    /// [`Poller::serve`](crate::polling::poller::Poller::serve).
    ///
    /// # Safety
    ///
    /// Those of [`Running::boot`].
    unsafe fn serve(&self, loaded: &Loaded, machine: &Machine) -> Result<Option<Serving>> {
        if loaded.layout.bus.is_none() {
            return Ok(None);
        }
        if !loaded.settle_disks() {
            pr_err!("a disk's storage has not finished an earlier kernel's requests: try again\n");
            return Err(EBUSY);
        }
        let mut cpus = KVec::new();
        for cpu in &self.cpus {
            cpus.push(cpu.apic_id(), GFP_KERNEL)?;
        }
        let functions = functions(loaded, cpus.len())?;
        let (layout, apic) = (&loaded.layout, machine.apic.clone());
        // SAFETY: `loaded` owns the memory of the layout, and the CPUs are the OS's and parked. `self`
        // drops this before the CPUs and before the memory. Nobody else maps the memory of the bus while
        // the OS runs.
        let served = unsafe { Served::new(functions, layout, cpus, apic) }?;
        Ok(Some(machine.poller.serve(served)?))
    }

    /// Returns the host bridges that the OS sees.
    fn bridges(&self, loaded: &Loaded) -> Result<KVec<HostBridge>> {
        let mut bridges = KVec::new();
        bridges.extend_from_slice(self.devices.bridges(), GFP_KERNEL)?;
        if let Some(bus) = loaded.layout.bus.and_then(Bus::new) {
            // The segments of the others start at 1 (pci/devices.rs).
            let segment = u16::try_from(bridges.len() + 1)?;
            bridges.push(bus.host_bridge(segment), GFP_KERNEL)?;
        }
        Ok(bridges)
    }

    /// Parks the CPUs of `os` if they are not parked yet, ends all access to its memory, and quiesces its
    /// devices.
    ///
    /// # Errors
    ///
    /// Those of [`RestPage::park`](crate::machine::resting::RestPage::park) and [`Devices::quiesce`].
    pub(super) fn park(&mut self, machine: &Machine, os: &CString) -> Result {
        if self.parked {
            return Ok(());
        }
        machine.rest_page.park(&machine.apic, &self.cpus, os)?;
        self.serving = None;
        self.devices.quiesce()?;
        self.parked = true;
        Ok(())
    }

    /// Records that the OS has ended now.
    pub(super) fn end(&mut self) {
        self.ran_for = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(0);
    }

    /// Schedules a restart because of `event`, after the delay that `backoff` calls for.
    pub(super) fn schedule_restart(&mut self, backoff: &mut Backoff, event: Event) {
        let wait = backoff.next(self.ran_for);
        let due = Instant::now() + Delta::from_millis(wait as i64);
        self.restart = Some((event, due));
    }

    /// Returns the event that led to the scheduled restart, if one is scheduled.
    pub(super) fn restarts_for(&self) -> Option<Event> {
        self.restart.map(|(event, _)| event)
    }

    /// Schedules a restart as soon as possible, unless one is scheduled. Returns whether none was.
    pub(super) fn schedule_restart_soon(&mut self) -> bool {
        let is_new = self.restart.is_none();
        self.restart
            .get_or_insert((Event::Rebooted, Instant::now()));
        is_new
    }

    /// Returns whether a scheduled restart is due.
    pub(super) fn restart_is_due(&self) -> bool {
        self.restart
            .is_some_and(|(_, due)| due - Instant::now() <= Delta::ZERO)
    }
}

/// Makes the functions of the OS's bus, for `cpus` CPUs, each with the number of its device there. The
/// card is the first, whatever disks there are: systemd names an interface by this number.
fn functions(loaded: &Loaded, cpus: usize) -> Result<KVec<(usize, KBox<dyn Function>)>> {
    let mut functions: KVec<(usize, KBox<dyn Function>)> = KVec::new();
    if let Some(plug) = &loaded.network {
        let card = KBox::new(NetworkCard::new(plug.clone(), cpus)?, GFP_KERNEL)?;
        functions.push((CARD_SLOT, card), GFP_KERNEL)?;
    }
    for (slot, contents) in (FIRST_DISK_SLOT..).zip(&loaded.disks) {
        let disk = KBox::new(
            disk::device::Device::new(contents.clone(), cpus)?,
            GFP_KERNEL,
        )?;
        functions.push((slot, disk), GFP_KERNEL)?;
    }
    Ok(functions)
}
