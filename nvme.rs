// SPDX-License-Identifier: GPL-2.0

//! An NVMe controller: registers and queues, as stock drivers use them.
//!
//! Pure: a state machine over memory that a successor writes at any time. Uses `memory_device`.
