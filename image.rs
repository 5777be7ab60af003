// SPDX-License-Identifier: GPL-2.0

//! Kernel images, and where they lie in a successor's memory. Pure; uses `memory`.

pub mod bytes;
pub mod bzimage;
pub mod elf_image;
pub mod identity_map;
pub mod kernel_image;
pub mod layout;
pub mod setup_header;

use core::fmt;
use kernel_image::KernelImage;

/// Why a file is not a kernel that can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// What is wrong with the bzImage.
    BzImage(bzimage::Error),
    /// What is wrong with the ELF file.
    Elf(elf_image::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::BzImage(error) => error.fmt(f),
            Error::Elf(error) => error.fmt(f),
        }
    }
}

/// Checks that `file` is a kernel that can be loaded anywhere, and finds its parts.
///
/// # Errors
///
/// The first thing that is wrong with it; see [`Error`].
pub fn parse(file: &[u8]) -> Result<KernelImage, Error> {
    if file.starts_with(&elf_image::MAGIC) {
        return elf_image::parse(file).map_err(Error::Elf);
    }
    bzimage::parse(file).map_err(Error::BzImage)
}
