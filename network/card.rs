// SPDX-License-Identifier: GPL-2.0

//! A network card as a running OS finds it: an ENA card made of memory, before a TAP interface.

use crate::{
    ena::{
        self,
        card::Card,
        queue::QueuePair,
        registers::MAX_QUEUE_PAIRS,
        vnet_header::VnetHeader,
        wire::{Piece, Received, Sent, Wire},
    },
    linux::{
        errno::EBADFD,
        tap::{self, Tap},
    },
    memory::memmap::Range,
    memory_device::{access::OutOfReach, config_space, msix},
    network::plug::Plug,
    polling::{
        function::{Found, Function},
        memory::{Memory, Part},
    },
};
use kernel::{prelude::*, sync::Arc};

/// The highest MTU that a driver can set.
const MTU_MAX: u16 = 9000;

/// A network card of a running OS.
pub(crate) struct NetworkCard {
    plug: Arc<Plug>,
    card: Card<KVec<QueuePair>>,
    pairs: u16,
}

impl NetworkCard {
    /// Makes the card for an OS with `cpus` CPUs.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(plug: Arc<Plug>, cpus: usize) -> Result<Self> {
        let pairs = u16::try_from(cpus).unwrap_or(u16::MAX);
        let pairs = pairs.clamp(1, MAX_QUEUE_PAIRS);
        let mut queues = KVec::new();
        for _ in 0..pairs {
            queues.push(QueuePair::default(), GFP_KERNEL)?;
        }
        let card = Card::new(plug.mac().bytes(), MTU_MAX, queues);
        Ok(NetworkCard { plug, card, pairs })
    }
}

impl Function for NetworkCard {
    fn describe(&self, bar: Range, rom: Range) -> Result<config_space::Function> {
        let table = msix::Table::new(
            ena::registers::vectors(self.pairs),
            ena::registers::MSIX_TABLE,
            ena::registers::MSIX_PENDING,
        );
        Ok(config_space::Function {
            vendor: VENDOR_AMAZON,
            device: DEVICE_ENA_VF,
            subsystem_vendor: VENDOR_AMAZON,
            subsystem: DEVICE_ENA_VF,
            class: CLASS_ETHERNET,
            revision: REVISION,
            bar,
            rom,
            msix: table.ok_or(EINVAL)?,
        })
    }

    fn power_on(&mut self, registers: &Part<'_>) {
        self.card.power_on(registers);
    }

    fn look(
        &mut self,
        registers: &Part<'_>,
        memory: &Memory,
        thorough: bool,
        budget: u32,
    ) -> Found {
        let tap = self.plug.tap();
        self.card.set_link(tap.is_some());
        let mut end = TapEnd {
            tap: tap.as_deref(),
            memory,
            may_have_frames: false,
            is_gone: false,
        };
        let looked = self
            .card
            .look(registers, memory, &mut end, thorough, budget);
        let is_gone = end.finish();
        if let (true, Some(tap)) = (is_gone, &tap) {
            self.plug.lose(tap);
        }
        if looked.frames > 0 || thorough {
            self.plug.count(self.card.counters());
        }
        Found {
            has_worked: looked.is_busy || looked.frames > 0,
            used: looked.frames,
            vectors: self.card.take_vectors(),
        }
    }

    fn vanish(&mut self, registers: &Part<'_>, _: &Memory) -> [u64; 2] {
        self.card.vanish(registers);
        [0; 2]
    }

    fn sync(&self) {}
}

/// The end of a card's wire.
struct TapEnd<'a> {
    tap: Option<&'a Tap>,
    memory: &'a Memory,
    may_have_frames: bool,
    /// Whether there is no interface any more.
    is_gone: bool,
}

impl TapEnd<'_> {
    /// Returns where `pieces` are in the mapping of the OS's memory.
    fn places<'a>(
        &self,
        pieces: &'a [Piece],
    ) -> impl Iterator<Item = Result<tap::Piece>> + use<'a, '_> {
        let memory = self.memory;
        pieces.iter().map(|piece| {
            let len = piece.len as usize;
            let offset = memory
                .offset(piece.address, len)
                .map_err(|OutOfReach| EINVAL)?;
            Ok((offset, len))
        })
    }

    /// Returns whether there is no interface any more. Frames that were not taken are taken later.
    fn finish(self) -> bool {
        if let (true, Some(tap)) = (self.may_have_frames, self.tap) {
            tap.has_more_frames();
        }
        self.is_gone
    }

    fn fail(&mut self, error: Error) {
        self.is_gone |= error == Error::from(EBADFD);
    }
}

impl Wire for TapEnd<'_> {
    fn send(&mut self, header: &VnetHeader, pieces: &[Piece]) -> Sent {
        let Some(tap) = self.tap else {
            return Sent::Refused;
        };
        match tap.send(
            &mut header.to_bytes(),
            self.memory.mapping(),
            self.places(pieces),
        ) {
            Ok(()) => Sent::Yes,
            Err(EAGAIN) => Sent::Full,
            Err(error) => {
                self.fail(error);
                Sent::Refused
            }
        }
    }

    fn receive(&mut self, pieces: &[Piece]) -> Received {
        let Some(tap) = self.tap else {
            return Received::None;
        };
        self.may_have_frames |= tap.may_have_frames();
        if !self.may_have_frames {
            return Received::None;
        }
        let mut header = VnetHeader::default().to_bytes();
        match tap.receive(&mut header, self.memory.mapping(), self.places(pieces)) {
            Ok(Some(len)) => Received::Frame {
                len: u32::try_from(len).unwrap_or(u32::MAX),
                header: VnetHeader::from_bytes(&header),
            },
            Ok(None) => {
                self.may_have_frames = false;
                Received::None
            }
            Err(error) => {
                self.fail(error);
                if self.is_gone {
                    self.may_have_frames = false;
                    return Received::None;
                }
                Received::Lost
            }
        }
    }
}

// drivers/net/ethernet/amazon/ena/ena_netdev.h and ena_pci_id_tbl.h in Linux.
const VENDOR_AMAZON: u16 = 0x1d0f;
const DEVICE_ENA_VF: u16 = 0xec20;
/// PCI Code and ID Assignment Specification, 1.4 "Base Class 02h": Ethernet controller.
const CLASS_ETHERNET: u32 = 0x02_00_00;
/// With bit 0 clear, the driver would read registers by way of memory that the card writes
/// (`ena_device_init()`, MMIO_READ).
const REVISION: u8 = 1;
