// SPDX-License-Identifier: GPL-2.0

//! An NVMe controller with one namespace: registers and queues, as stock drivers use them.
//!
//! The registers are plain memory. No access of the driver reaches the controller; it looks from
//! time to time ([`controller::Controller::look`]) and finds what has changed.
//!
//! Reference: NVM Express Base Specification, revision 1.4 (the version that the controller
//! claims). "Base 3.1.5" is section 3.1.5 of it. Linux's driver is drivers/nvme/host.
//!
//! Pure: a state machine over memory that a successor writes at any time. Uses `memory_device`.

pub mod admin;
pub mod answer;
pub mod command;
pub mod controller;
pub mod counters;
pub mod dataset;
pub mod disk;
pub mod doorbell;
pub mod events;
pub mod features;
pub mod identify;
pub mod io;
pub mod log_page;
pub mod look;
pub mod prp;
pub mod queue;
pub mod registers;
pub mod status;
pub mod storage;
