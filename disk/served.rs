// SPDX-License-Identifier: GPL-2.0

//! The disks of a running OS.

use crate::{
    disk::{
        contents::Contents,
        device::{Device, Mapped, Memory},
    },
    image::layout::Layout,
    linux::phys_memory::{Mapping, Uncached},
    machine::local_apic::LocalApic,
    memory_device::bus::{Bus, CONFIG_LEN},
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex}, //
};

/// The disks of a running OS. While this lives, the memory of the OS's bus is mapped.
#[pin_data]
pub(crate) struct Served {
    apic: Arc<LocalApic>,
    /// The APIC IDs of the OS's CPUs.
    cpus: KVec<u32>,
    memory: Memory,
    mapped: Mapped,
    contents: KVec<Arc<Contents>>,
    #[pin]
    devices: Mutex<Devices>,
}

struct Devices {
    all: KVec<Device>,
    /// The device that the next turn begins with.
    next: usize,
}

/// The maximum number of commands of an OS that are taken in one turn, so that one OS does not keep the
/// others waiting.
const BUDGET: u32 = 32;

impl Served {
    /// Makes the controllers of `contents`, in the bus of `layout`. `cpus` are the APIC IDs of the OS's
    /// CPUs.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the layout has no bus; `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The memory of the layout must belong to an OS for as long as this lives, and none of its CPUs may
    /// run yet. All CPUs of `cpus` must belong to it. While this lives, nobody may map the memory of its
    /// bus.
    pub(crate) unsafe fn new(
        contents: &[Arc<Contents>],
        layout: &Layout,
        cpus: KVec<u32>,
        apic: Arc<LocalApic>,
    ) -> Result<Arc<Self>> {
        let bus = layout.bus.and_then(Bus::new).ok_or(EINVAL)?;
        let mut devices = KVec::new();
        let mut all = KVec::new();
        for (slot, one) in contents.iter().enumerate() {
            let device = Device::new(one.clone(), slot, cpus.len())?;
            devices.push(device, GFP_KERNEL)?;
            all.push(one.clone(), GFP_KERNEL)?;
        }
        // SAFETY: The caller guarantees that the memory belongs to the OS, and that nobody else accesses
        // it.
        unsafe { write_bus(&bus, &devices) }?;
        let mapped = Mapped {
            bus,
            // SAFETY: The caller guarantees that the memory belongs to the OS and that nobody else maps
            // it; `write_bus()` has removed its mapping.
            area: unsafe { Uncached::new(bus.area()) }?,
        };
        for device in &mut devices {
            device.power_on(&mapped).ok_or(EINVAL)?;
        }
        let memory = Memory {
            range: layout.ram,
            // SAFETY: The caller guarantees that the memory belongs to the OS. The mapping is only
            // watched: no reference to the memory is made.
            mapping: unsafe { Mapping::new(layout.ram) }?.watch(),
        };
        Arc::pin_init(
            pin_init!(Served {
                apic,
                cpus,
                memory,
                mapped,
                contents: all,
                devices <- new_mutex!(Devices { all: devices, next: 0 }),
            }),
            GFP_KERNEL,
        )
    }

    /// Looks at all disks, for as long as the OS's share of a turn lasts. Returns whether there was
    /// something to do.
    pub(super) fn look(&self, thorough: bool) -> bool {
        let mut has_worked = false;
        let mut budget = BUDGET;
        let mut devices = self.devices.lock();
        let Devices { all, next } = &mut *devices;
        let count = all.len();
        for turn in 0..count {
            let index = (*next + turn) % count;
            let Some(device) = all.get_mut(index) else {
                break;
            };
            let found = device.look(
                &self.mapped,
                &self.memory,
                thorough,
                budget,
                |cpu| self.cpus.contains(&cpu),
                // SAFETY: `is_destination` has been asked for the CPU, so it is one of the OS's.
                |message| unsafe { self.apic.interrupt(message.destination, message.vector) },
            );
            let Some(found) = found else {
                continue;
            };
            has_worked |= found.has_worked;
            budget = budget.saturating_sub(found.commands);
            if budget == 0 {
                // The next turn begins with the others.
                *next = (index + 1) % count;
                break;
            }
        }
        has_worked
    }

    /// Takes the disks off the bus, in a panic of the first OS: no other CPU runs, and the poller does not
    /// run any more. Waits for nothing, and leaves the lock locked, since unlocking it may wake somebody up.
    pub(super) fn abandon(&self) {
        let Some(mut devices) = self.devices.try_lock() else {
            // The poller was stopped while it looked at them. The drivers find out by themselves.
            for slot in 0..self.contents.len() {
                self.mapped.remove(slot);
            }
            return;
        };
        for device in &mut devices.all {
            device.abandon(
                &self.mapped,
                &self.memory,
                |cpu| self.cpus.contains(&cpu),
                // SAFETY: `is_destination` has been asked for the CPU, so it is one of the OS's.
                |message| unsafe { self.apic.interrupt(message.destination, message.vector) },
            );
        }
        core::mem::forget(devices);
    }

    /// Waits for the requests that are under way, but not for ever, and puts on the storage what was
    /// written. The poller must not look any more.
    pub(super) fn sync(&self) {
        self.contents.iter().for_each(|one| one.sync());
    }
}

/// Writes the configuration space of `devices` to the memory of `bus`.
///
/// # Safety
///
/// The memory must belong to an OS, and nobody else may access it.
unsafe fn write_bus(bus: &Bus, devices: &[Device]) -> Result {
    // SAFETY: This function has the same safety requirements.
    let mut memory = unsafe { Mapping::new(bus.area()) }?;
    let bytes = memory.bytes();
    // No function, and no registers.
    bytes.fill(0xff);
    for (slot, device) in devices.iter().enumerate() {
        let at = bus.config_page(slot).ok_or(EINVAL)?.start() - bus.area().start();
        let page = bytes
            .get_mut(at as usize..)
            .and_then(|rest| rest.first_chunk_mut::<{ CONFIG_LEN as usize }>())
            .ok_or(EINVAL)?;
        device.configure(bus, page).ok_or(EINVAL)?;
        let bar = bus.bar(slot).ok_or(EINVAL)?;
        let at = (bar.start() - bus.area().start()) as usize;
        let registers = bytes.get_mut(at..at + bar.len() as usize).ok_or(EINVAL)?;
        registers.fill(0);
    }
    Ok(())
}
