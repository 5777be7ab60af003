// SPDX-License-Identifier: GPL-2.0

//! Parsers for kernel images, and the layout of a successor's memory. Pure; uses `memory`.

pub mod bytes;
pub mod bzimage;
pub mod elf_image;
pub mod identity_map;
pub mod kernel_image;
pub mod layout;
pub mod setup_header;
pub mod uki;

use core::fmt;
use kernel_image::KernelImage;
use uki::Section;

/// Why a file can't be started as a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The file is not a usable bzImage.
    BzImage(bzimage::Error),
    /// The file is an ELF file, but not a usable kernel.
    Elf(elf_image::Error),
    /// The file is a unified kernel image, but not a usable one.
    Uki(uki::Error),
}

/// A file that can be started as a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The kernel.
    pub kernel: KernelImage,
    /// The initrd that the file has for this kernel.
    pub initrd: Option<Section>,
    /// The command line that the file has for this kernel, as [`uki::command_line`] reads it.
    pub cmdline: Option<Section>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::BzImage(error) => error.fmt(f),
            Error::Elf(error) => error.fmt(f),
            Error::Uki(error) => error.fmt(f),
        }
    }
}

/// Parses `file`, a bzImage, an ELF `vmlinux`, or a unified kernel image with one of these, and
/// checks that the kernel can be loaded at any address.
///
/// # Errors
///
/// Returns the first defect that the parser finds; see [`Error`].
pub fn parse(file: &[u8]) -> Result<Parsed, Error> {
    let Some(uki) = uki::parse(file).map_err(Error::Uki)? else {
        return Ok(Parsed {
            kernel: parse_kernel(file)?,
            initrd: None,
            cmdline: None,
        });
    };
    let mut kernel = parse_kernel(uki.linux.data(file))?;
    // INVARIANT: The segments are parts of the section, which is a part of the file.
    kernel.segments.move_by(uki.linux.start);
    Ok(Parsed {
        kernel,
        initrd: uki.initrd,
        cmdline: uki.cmdline,
    })
}

fn parse_kernel(file: &[u8]) -> Result<KernelImage, Error> {
    if file.starts_with(&elf_image::MAGIC) {
        return elf_image::parse(file).map_err(Error::Elf);
    }
    bzimage::parse(file).map_err(Error::BzImage)
}
