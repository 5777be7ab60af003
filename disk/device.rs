// SPDX-License-Identifier: GPL-2.0

//! A disk as a running OS finds it: an NVMe controller made of memory, before the disk's contents.

use crate::{
    disk::contents::Contents,
    linux::phys_memory::{Uncached, Watched},
    memory::memmap::Range,
    memory_device::{
        access::{OutOfReach, Registers, SystemMemory},
        bus::{Bus, CONFIG_LEN},
        config_space,
        msix::{self, Message, Msix},
    },
    nvme::{
        self,
        controller::Controller,
        queue::QueuePair,
        status::Outcome,
        storage::{Request, Storage},
    },
};
use core::sync::atomic::{fence, Ordering};
use kernel::{prelude::*, sync::Arc};

/// The memory of a running OS, which it writes at any time.
pub(super) struct Memory {
    /// The range that is mapped.
    pub(super) range: Range,
    /// The mapping.
    pub(super) mapping: Watched,
}

impl Memory {
    fn offset(&self, address: u64, len: usize) -> Result<usize, OutOfReach> {
        let part = Range::new(address, len as u64).filter(|part| self.range.contains(part));
        let part = part.ok_or(OutOfReach)?;
        Ok((part.start() - self.range.start()) as usize)
    }
}

impl SystemMemory for Memory {
    fn read(&self, address: u64, out: &mut [u8]) -> Result<(), OutOfReach> {
        let offset = self.offset(address, out.len())?;
        self.mapping.read(offset, out).map_err(|_| OutOfReach)
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), OutOfReach> {
        let offset = self.offset(address, bytes.len())?;
        self.mapping.write(offset, bytes).map_err(|_| OutOfReach)
    }

    fn barrier(&self) {
        // MFENCE. The crate's smp_mb() takes an argument from 7.3 on.
        fence(Ordering::SeqCst);
    }
}

/// A part of the memory of a bus, as registers.
struct Part<'a> {
    area: &'a Uncached,
    offset: usize,
    len: u32,
}

impl Part<'_> {
    fn at(&self, offset: u32) -> Option<usize> {
        (offset < self.len).then(|| self.offset + offset as usize)
    }
}

impl Registers for Part<'_> {
    fn read(&self, offset: u32) -> u32 {
        let word = self.at(offset).and_then(|at| self.area.word(at));
        word.unwrap_or(u32::MAX)
    }

    fn write(&self, offset: u32, value: u32) {
        if let Some(at) = self.at(offset) {
            self.area.set_word(at, value);
        }
    }
}

/// The bus of a running OS.
pub(super) struct Mapped {
    /// Where its parts are.
    pub(super) bus: Bus,
    /// The memory.
    pub(super) area: Uncached,
}

impl Mapped {
    fn part(&self, range: Range) -> Part<'_> {
        Part {
            area: &self.area,
            offset: (range.start() - self.bus.area().start()) as usize,
            len: range.len() as u32,
        }
    }

    /// Takes the function in `slot` off the bus: its registers and its configuration space read as all
    /// ones, as those of a function that was pulled out.
    pub(super) fn remove(&self, slot: usize) -> Option<()> {
        nvme::registers::vanish(&self.part(self.bus.bar(slot)?));
        let config = self.part(self.bus.config_page(slot)?);
        (0..config.len)
            .step_by(size_of::<u32>())
            .for_each(|offset| config.write(offset, u32::MAX));
        Some(())
    }
}

type Queues = KVec<QueuePair>;

/// A disk of a running OS.
pub(super) struct Device {
    contents: Arc<Contents>,
    slot: usize,
    controller: Controller<Queues>,
    interrupts: Msix,
    /// The number of pairs of I/O queues.
    queues: u16,
    blocks: u64,
}

/// What a look has found.
pub(super) struct Found {
    /// Whether there was something to do.
    pub(super) has_worked: bool,
    /// The number of commands that were taken.
    pub(super) commands: u32,
}

impl Device {
    /// Makes the controller in `slot` of a bus, for an OS with `cpus` CPUs.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if there is no such slot.
    pub(super) fn new(contents: Arc<Contents>, slot: usize, cpus: usize) -> Result<Self> {
        // One queue for each CPU, and one for the decoy (firmware/acpi.rs), which older kernels count
        // as a possible CPU.
        let queues = u16::try_from(cpus + 1).unwrap_or(u16::MAX);
        let queues = queues.min(nvme::registers::MAX_IO_QUEUES);
        let blocks = contents.file().blocks();
        let disk = contents.describe(VENDOR, blocks);
        let mut pairs = KVec::new();
        for _ in 0..=queues {
            pairs.push(QueuePair::default(), GFP_KERNEL)?;
        }
        Ok(Device {
            contents,
            slot,
            controller: Controller::new(disk, pairs),
            interrupts: Msix::new(table(queues).ok_or(EINVAL)?),
            queues,
            blocks,
        })
    }

    /// Writes the device's configuration space to `page`.
    pub(super) fn configure(&self, bus: &Bus, page: &mut [u8; CONFIG_LEN as usize]) -> Option<()> {
        let function = config_space::Function {
            vendor: VENDOR,
            device: DEVICE,
            subsystem_vendor: VENDOR,
            subsystem: DEVICE,
            class: CLASS_NVME,
            revision: 1,
            bar: bus.bar(self.slot)?,
            rom: bus.rom(self.slot)?,
            msix: table(self.queues)?,
        };
        config_space::write(page, &function);
        Some(())
    }

    /// Sets all registers as at power-on.
    pub(super) fn power_on(&mut self, mapped: &Mapped) -> Option<()> {
        let bar = mapped.part(mapped.bus.bar(self.slot)?);
        self.controller.power_on(&bar);
        self.interrupts.reset();
        Some(())
    }

    /// Ends the device for good, and tells the driver by an interrupt, as far as that is possible now.
    /// Sends it as [`Device::look`] does. Waits for nothing.
    pub(super) fn abandon(
        &mut self,
        mapped: &Mapped,
        memory: &Memory,
        is_destination: impl Fn(u32) -> bool,
        mut send: impl FnMut(Message) -> Result,
    ) -> Option<()> {
        let config = mapped.part(mapped.bus.config_page(self.slot)?);
        let bar = mapped.part(mapped.bus.bar(self.slot)?);
        self.controller.vanish(&bar, memory);
        self.raise();
        memory.barrier();
        // Nobody is left to send it again.
        let send = |message| _ = send(message);
        self.interrupts.deliver(&config, &bar, is_destination, send);
        mapped.remove(self.slot)
    }

    /// Raises the interrupts of the controller. Returns whether there are some.
    fn raise(&mut self) -> bool {
        let vectors = self.controller.take_vectors();
        for (word, mut bits) in (0..).zip(vectors) {
            while bits != 0 {
                self.interrupts
                    .raise(word * 64 + bits.trailing_zeros() as u16);
                bits &= bits - 1;
            }
        }
        vectors != [0; 2]
    }

    /// Reports finished requests, takes up to `budget` new commands, and sends interrupts by `send` to
    /// those CPUs of which `is_destination` says that the OS has them. `thorough` tells whether to look at
    /// the registers, too.
    pub(super) fn look(
        &mut self,
        mapped: &Mapped,
        memory: &Memory,
        thorough: bool,
        budget: u32,
        is_destination: impl Fn(u32) -> bool,
        mut send: impl FnMut(Message) -> Result,
    ) -> Option<Found> {
        let config = mapped.part(mapped.bus.config_page(self.slot)?);
        let bar = mapped.part(mapped.bus.bar(self.slot)?);
        let mut has_worked = false;
        let controller = &mut self.controller;
        self.contents.take_finished(|request, outcome, read| {
            has_worked = true;
            let outcome = hand_over(controller, memory, &request, outcome, read);
            controller.complete(memory, request.token, outcome);
        });
        if thorough {
            let blocks = self.contents.file().blocks();
            if blocks != self.blocks {
                self.blocks = blocks;
                controller.resize(blocks);
            }
        }
        let mut storage = Requests {
            contents: &self.contents,
            memory,
        };
        let looked = controller.look(&bar, memory, &mut storage, thorough, budget);
        has_worked |= looked.is_busy || looked.commands > 0;
        // Those that are masked are only looked at again with the other registers.
        if self.raise() || thorough && self.interrupts.is_pending() {
            // The completions come before the interrupt.
            memory.barrier();
            let mut is_lost = false;
            let send = |message| is_lost |= send(message).is_err();
            self.interrupts.deliver(&config, &bar, is_destination, send);
            if is_lost {
                // Nobody knows which. One too many does no harm.
                (0..=self.queues).for_each(|vector| self.interrupts.raise(vector));
            }
        }
        Some(Found {
            has_worked,
            commands: looked.commands,
        })
    }
}

/// Copies what a request has `read` to the memory that it is for. Returns the outcome of both.
fn hand_over(
    controller: &Controller<Queues>,
    memory: &Memory,
    request: &Request,
    outcome: Outcome,
    read: &[u8],
) -> Outcome {
    if outcome != Outcome::Success || !controller.is_current(&request.token) {
        return outcome;
    }
    match request.data.scatter(memory, read) {
        Ok(()) => outcome,
        Err(OutOfReach) => Outcome::OutOfReach,
    }
}

/// The contents of a disk, as its controller sees them.
struct Requests<'a> {
    contents: &'a Contents,
    memory: &'a Memory,
}

impl Storage for Requests<'_> {
    fn has_room(&self) -> bool {
        self.contents.has_room()
    }

    fn submit(&mut self, request: Request) {
        self.contents.begin(request, self.memory);
    }
}

// No vendor in pci.ids has this ID; drivers find the device by its class.
const VENDOR: u16 = 0x4d4e;
const DEVICE: u16 = 0x0001;
/// PCI Code and ID Assignment Specification, 1.9 "Base Class 01h": NVM Express I/O controller.
const CLASS_NVME: u32 = 0x01_08_02;

/// Returns the MSI-X table of a controller with `queues` I/O queues.
fn table(queues: u16) -> Option<msix::Table> {
    msix::Table::new(
        nvme::registers::vectors(queues),
        nvme::registers::MSIX_TABLE,
        nvme::registers::MSIX_PENDING,
    )
}
