// SPDX-License-Identifier: GPL-2.0

//! The functions made of memory of a running OS.

use crate::{
    image::layout::Layout,
    linux::phys_memory::{Mapping, Uncached},
    machine::local_apic::LocalApic,
    memory_device::{
        access::SystemMemory,
        bus::{Bus, CONFIG_LEN},
        config_space,
        msix::Msix,
    },
    polling::{
        function::Function,
        memory::{Mapped, Memory, Part}, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex}, //
};

/// The functions of a running OS. While this lives, the memory of the OS's bus is mapped.
#[pin_data]
pub(crate) struct Served {
    apic: Arc<LocalApic>,
    /// The APIC IDs of the OS's CPUs.
    cpus: KVec<u32>,
    memory: Memory,
    mapped: Mapped,
    /// The numbers of the slots, for a panic.
    numbers: KVec<usize>,
    #[pin]
    slots: Mutex<Slots>,
}

struct Slots {
    all: KVec<Slot>,
    /// The slot that the next turn begins with.
    next: usize,
}

struct Slot {
    number: usize,
    function: KBox<dyn Function>,
    interrupts: Msix,
    /// The number of MSI-X vectors.
    vectors: u16,
}

impl Slot {
    /// Raises the interrupts in `vectors`, a bit for each.
    fn raise(&mut self, vectors: [u64; 2]) {
        for (word, mut bits) in (0..).zip(vectors) {
            while bits != 0 {
                self.interrupts
                    .raise(word * 64 + bits.trailing_zeros() as u16);
                bits &= bits - 1;
            }
        }
    }
}

/// The maximum number of commands and frames of an OS that are taken in one turn, so that one OS does not
/// keep the others waiting.
const BUDGET: u32 = 32;

impl Served {
    /// Puts `functions` on the bus of `layout`, each with the number of its slot there. `cpus` are the APIC IDs of the OS's CPUs.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the layout has no bus, or a function has no place there; `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The memory of the layout must belong to an OS for as long as this lives, and none of its CPUs may
    /// run yet. All CPUs of `cpus` must belong to it. While this lives, nobody may map the memory of its
    /// bus.
    pub(crate) unsafe fn new(
        functions: KVec<(usize, KBox<dyn Function>)>,
        layout: &Layout,
        cpus: KVec<u32>,
        apic: Arc<LocalApic>,
    ) -> Result<Arc<Self>> {
        let bus = layout.bus.and_then(Bus::new).ok_or(EINVAL)?;
        // SAFETY: The caller guarantees that the memory belongs to the OS, and that nobody else accesses
        // it.
        let mut slots = unsafe { write_bus(&bus, functions) }?;
        let mut numbers = KVec::new();
        for slot in &slots {
            numbers.push(slot.number, GFP_KERNEL)?;
        }
        let mapped = Mapped {
            bus,
            // SAFETY: The caller guarantees that the memory belongs to the OS and that nobody else maps
            // it; `write_bus()` has removed its mapping.
            area: unsafe { Uncached::new(bus.area()) }?,
        };
        for Slot {
            number, function, ..
        } in &mut slots
        {
            function.power_on(&mapped.part(bus.bar(*number).ok_or(EINVAL)?));
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
                numbers,
                slots <- new_mutex!(Slots { all: slots, next: 0 }),
            }),
            GFP_KERNEL,
        )
    }

    /// Looks at all functions, for as long as the OS's share of a turn lasts. Returns whether there was
    /// something to do.
    pub(super) fn look(&self, thorough: bool) -> bool {
        let mut has_worked = false;
        let mut budget = BUDGET;
        let mut slots = self.slots.lock();
        let Slots { all, next } = &mut *slots;
        let count = all.len();
        for turn in 0..count {
            let index = (*next + turn) % count;
            let Some(slot) = all.get_mut(index) else {
                break;
            };
            let Some((has_worked_here, used)) = self.look_at(slot, thorough, budget) else {
                continue;
            };
            has_worked |= has_worked_here;
            budget = budget.saturating_sub(used);
            if budget == 0 {
                // The next turn begins with the others.
                *next = (index + 1) % count;
                break;
            }
        }
        has_worked
    }

    /// Looks at the function in `slot`, and sends its interrupts. Returns whether there was something to do,
    /// and the part of `budget` that was used.
    fn look_at(&self, slot: &mut Slot, thorough: bool, budget: u32) -> Option<(bool, u32)> {
        let bus = &self.mapped.bus;
        let config = self.mapped.part(bus.config_page(slot.number)?);
        let registers = self.mapped.part(bus.bar(slot.number)?);
        let found = slot
            .function
            .look(&registers, &self.memory, thorough, budget);
        slot.raise(found.vectors);
        // Those that are masked are only looked at again with the other registers.
        let is_due = found.vectors != [0; 2] || thorough && slot.interrupts.is_pending();
        if is_due && !self.deliver(slot, &config, &registers) {
            // Nobody knows which. One too many does no harm.
            (0..slot.vectors).for_each(|vector| slot.interrupts.raise(vector));
        }
        Some((found.has_worked, found.used))
    }

    /// Sends the interrupts of `slot` that were raised and are not masked. Returns whether all of them
    /// could be sent.
    fn deliver(&self, slot: &mut Slot, config: &Part<'_>, registers: &Part<'_>) -> bool {
        // What the interrupt tells of comes before the interrupt.
        self.memory.barrier();
        let mut is_sent = true;
        let is_destination = |cpu| self.cpus.contains(&cpu);
        slot.interrupts
            .deliver(config, registers, is_destination, |message| {
                // SAFETY: `is_destination` has been asked for the CPU, so it is one of the OS's.
                let sent = unsafe { self.apic.interrupt(message.destination, message.vector) };
                is_sent &= sent.is_ok();
            });
        is_sent
    }

    /// Takes the functions off the bus, in a panic of the first OS: no other CPU runs, and the poller does
    /// not run any more. Waits for nothing, and leaves the lock locked, since unlocking it may wake somebody
    /// up.
    pub(super) fn abandon(&self) {
        let Some(mut slots) = self.slots.try_lock() else {
            // The poller was stopped while it looked at them. The drivers find out by themselves.
            for &slot in &self.numbers {
                self.mapped.remove(slot);
            }
            return;
        };
        for slot in &mut slots.all {
            self.abandon_one(slot);
        }
        core::mem::forget(slots);
    }

    fn abandon_one(&self, slot: &mut Slot) -> Option<()> {
        let bus = &self.mapped.bus;
        let config = self.mapped.part(bus.config_page(slot.number)?);
        let registers = self.mapped.part(bus.bar(slot.number)?);
        let vectors = slot.function.vanish(&registers, &self.memory);
        slot.raise(vectors);
        // Nobody is left to send again what could not be sent.
        self.deliver(slot, &config, &registers);
        self.mapped.remove(slot.number)
    }

    /// Waits for what is under way, but not for ever, and puts on the storage what was written. The
    /// poller must not look any more.
    pub(super) fn sync(&self) {
        let slots = self.slots.lock();
        slots.all.iter().for_each(|slot| slot.function.sync());
    }
}

/// Writes the configuration space of `functions` to the memory of `bus`. Returns the functions with their
/// interrupts.
///
/// # Safety
///
/// The memory must belong to an OS, and nobody else may access it.
unsafe fn write_bus(bus: &Bus, functions: KVec<(usize, KBox<dyn Function>)>) -> Result<KVec<Slot>> {
    // SAFETY: This function has the same safety requirements.
    let mut memory = unsafe { Mapping::new(bus.area()) }?;
    let bytes = memory.bytes();
    let mut slots = KVec::with_capacity(functions.len(), GFP_KERNEL)?;
    // No function, and no registers.
    bytes.fill(0xff);
    for (slot, function) in functions {
        let bar = bus.bar(slot).ok_or(EINVAL)?;
        let described = function.describe(bar, bus.rom(slot).ok_or(EINVAL)?)?;
        let at = bus.config_page(slot).ok_or(EINVAL)?.start() - bus.area().start();
        let page = bytes
            .get_mut(at as usize..)
            .and_then(|rest| rest.first_chunk_mut::<{ CONFIG_LEN as usize }>())
            .ok_or(EINVAL)?;
        config_space::write(page, &described);
        let at = (bar.start() - bus.area().start()) as usize;
        let registers = bytes.get_mut(at..at + bar.len() as usize).ok_or(EINVAL)?;
        registers.fill(0);
        let slot = Slot {
            number: slot,
            function,
            interrupts: Msix::new(described.msix),
            vectors: described.msix.vectors(),
        };
        slots.push(slot, GFP_KERNEL)?;
    }
    Ok(slots)
}
