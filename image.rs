// SPDX-License-Identifier: GPL-2.0

//! Kernel images, and where they lie in a successor's memory. Pure.

pub mod bzimage;
pub mod elf_image;
pub mod identity_map;
pub mod kernel_image;
pub mod layout;
