// SPDX-License-Identifier: GPL-2.0

//! A disk as a running OS finds it: an NVMe controller made of memory, before the disk's contents.

use crate::{
    disk::contents::Contents,
    memory::memmap::Range,
    memory_device::{access::OutOfReach, config_space, msix},
    nvme::{
        self,
        controller::Controller,
        queue::QueuePair,
        status::Outcome,
        storage::{Request, Storage},
    },
    polling::{
        function::{Found, Function},
        memory::{Memory, Part},
    },
};
use kernel::{prelude::*, sync::Arc};

type Queues = KVec<QueuePair>;

/// A disk of a running OS.
pub(crate) struct Device {
    contents: Arc<Contents>,
    controller: Controller<Queues>,
    /// The number of pairs of I/O queues.
    queues: u16,
    blocks: u64,
}

impl Device {
    /// Makes the controller for an OS with `cpus` CPUs.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(contents: Arc<Contents>, cpus: usize) -> Result<Self> {
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
            controller: Controller::new(disk, pairs),
            queues,
            blocks,
        })
    }
}

impl Function for Device {
    fn describe(&self, bar: Range, rom: Range) -> Result<config_space::Function> {
        let table = msix::Table::new(
            nvme::registers::vectors(self.queues),
            nvme::registers::MSIX_TABLE,
            nvme::registers::MSIX_PENDING,
        );
        Ok(config_space::Function {
            vendor: VENDOR,
            device: DEVICE,
            subsystem_vendor: VENDOR,
            subsystem: DEVICE,
            class: CLASS_NVME,
            revision: 1,
            bar,
            rom,
            msix: table.ok_or(EINVAL)?,
        })
    }

    fn power_on(&mut self, registers: &Part<'_>) {
        self.controller.power_on(registers);
    }

    fn look(
        &mut self,
        registers: &Part<'_>,
        memory: &Memory,
        thorough: bool,
        budget: u32,
    ) -> Found {
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
        let looked = controller.look(registers, memory, &mut storage, thorough, budget);
        Found {
            has_worked: has_worked || looked.is_busy || looked.commands > 0,
            used: looked.commands,
            vectors: controller.take_vectors(),
        }
    }

    fn vanish(&mut self, registers: &Part<'_>, memory: &Memory) -> [u64; 2] {
        self.controller.vanish(registers, memory);
        self.controller.take_vectors()
    }

    fn sync(&self) {
        self.contents.sync();
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
