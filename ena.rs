// SPDX-License-Identifier: GPL-2.0

//! An Elastic Network Adapter (ENA) of Amazon's: registers and rings, as stock drivers use them.
//!
//! The registers are plain memory. No access of the driver reaches the card; it looks from time to
//! time ([`card::Card::look`]) and finds what has changed.
//!
//! Reference: Linux's driver, drivers/net/ethernet/amazon/ena. There is no public specification, but
//! the driver's headers have been written from one: ena_regs_defs.h, ena_admin_defs.h and
//! ena_eth_io_defs.h. Functions that are named without a file are the driver's.
//!
//! Pure: a state machine over memory that a successor writes at any time. Uses `memory_device`.

pub mod admin;
pub mod admin_queue;
pub mod card;
pub mod counters;
pub mod descriptor;
pub mod events;
pub mod features;
pub mod fields;
pub mod frame;
pub mod interrupt;
pub mod look;
pub mod offload;
pub mod queue;
pub mod receive;
pub mod registers;
pub mod ring;
pub mod status;
pub mod transmit;
pub mod vnet_header;
pub mod wire;
