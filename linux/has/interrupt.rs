// SPDX-License-Identifier: GPL-2.0

//! `kernel::interrupt`: since Linux 7.3.

#![no_std]

pub use kernel::interrupt::local_interrupt_disable;
