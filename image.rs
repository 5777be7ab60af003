// SPDX-License-Identifier: GPL-2.0

//! Parsers for kernel images, and the layout of a successor's memory. Pure; uses `memory`.

pub mod bytes;
pub mod bzimage;
pub mod elf_image;
pub mod identity_map;
pub mod kernel_image;
pub mod layout;
pub mod setup_header;

use core::fmt;
use kernel_image::KernelImage;

/// Why a file can't be started as a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The file is not a usable bzImage.
    BzImage(bzimage::Error),
    /// The file is an ELF file, but not a usable kernel.
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

/// Parses `file`, a bzImage or an ELF `vmlinux`, and checks that the kernel can be loaded at any
/// address.
///
/// # Errors
///
/// Returns the first defect that the parser finds; see [`Error`].
pub fn parse(file: &[u8]) -> Result<KernelImage, Error> {
    if file.starts_with(&elf_image::MAGIC) {
        return elf_image::parse(file).map_err(Error::Elf);
    }
    bzimage::parse(file).map_err(Error::BzImage)
}
