// SPDX-License-Identifier: GPL-2.0

//! Parser for the x86 kernel image format, bzImage.
//!
//! Reference: Documentation/arch/x86/boot.rst ("The Real-Mode Kernel Header"), and
//! `bzImage64_probe()` in `arch/x86/kernel/kexec-bzimage64.c`. Offsets are from the start of the
//! file; all fields are little-endian.

use crate::image::{
    bytes::{bytes, check_len, Truncated},
    kernel_image::{KernelImage, Mode, Segment, Segments},
    setup_header as header,
};
use core::fmt;

/// Sectors of the real-mode setup code, not counting the boot sector; 0 means 4.
const SETUP_SECTS: usize = header::START;
/// Length of the protected-mode code in units of 16 bytes.
const SYSSIZE: usize = 0x1f4;
/// End of `init_size`, the last field of boot protocol 2.12 that this parser reads.
const HEADER_END_MIN: usize = 0x264;
/// Boot protocol 2.12, the first with `xloadflags`.
const VERSION_MIN: u16 = 0x020c;
/// MS-DOS signature of a PE/COFF executable. A kernel with CONFIG_EFI_STUB is an EFI application,
/// and starts with it.
const MZ: [u8; 2] = *b"MZ";
/// Offset of the 32-bit entry point from the start of the protected-mode code.
const ENTRY_32: u64 = 0;
/// Offset of the 64-bit entry point from the start of the protected-mode code.
const ENTRY_64: u64 = 0x200;

const SECTOR: usize = 512;

/// Why a file can't be started as a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The file is shorter than its header says.
    Truncated(Truncated),
    /// The file has no boot sector signature or no `HdrS`: it is not a bzImage.
    NotBzImage,
    /// The boot protocol, whose version this is, is older than 2.12.
    OldProtocol(u16),
    /// The jump over the setup header gives an impossible end of the header, at this file offset.
    HeaderLength(usize),
    /// The file is a zImage, whose code is loaded below 1 MiB.
    NotLoadedHigh,
    /// The kernel was built without CONFIG_RELOCATABLE.
    NotRelocatable,
    /// `kernel_alignment` is not a power of two of at least a page.
    Alignment(u32),
    /// The protected-mode code, of this length in bytes, ends before its entry point.
    CodeLength(u64),
    /// `init_size` is smaller than the protected-mode code.
    InitSize {
        /// The value of `init_size` in the header.
        init_size: u32,
        /// Length of the protected-mode code in bytes.
        code: u64,
    },
    /// `cmdline_size` is 0, or larger than in any kernel.
    CommandLineSize(u32),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Truncated(truncated) => truncated.fmt(f),
            Error::NotBzImage => {
                f.write_str("not a bzImage, a vmlinux or a unified kernel image (give the file /boot/vmlinuz-*)")
            }
            Error::OldProtocol(version) => write!(
                f,
                "boot protocol {}.{:02} is too old: 2.12 or newer is needed (Linux 3.8)",
                version >> 8,
                version & 0xff
            ),
            Error::HeaderLength(end) => {
                write!(f, "setup header ends at {end:#x}, which is impossible")
            }
            Error::NotLoadedHigh => f.write_str("a zImage: build a bzImage"),
            Error::NotRelocatable => {
                f.write_str("kernel can't be relocated: build it with CONFIG_RELOCATABLE")
            }
            Error::Alignment(align) => write!(f, "kernel_alignment {align:#x} is impossible"),
            Error::CodeLength(code) => {
                write!(f, "{code:#x} bytes of code have no entry")
            }
            Error::InitSize { init_size, code } => write!(
                f,
                "init_size {init_size:#x} is less than the code's {code:#x} bytes"
            ),
            Error::CommandLineSize(size) => write!(f, "cmdline_size {size} is impossible"),
        }
    }
}

impl From<Truncated> for Error {
    fn from(truncated: Truncated) -> Self {
        Error::Truncated(truncated)
    }
}

/// Parses `file` as a bzImage and checks that the kernel can be loaded at any address.
///
/// # Errors
///
/// Returns the first defect that the parser finds; see [`Error`].
pub fn parse(file: &[u8]) -> Result<KernelImage, Error> {
    let byte_at = |offset: usize| bytes(file, offset as u64).map(|[byte]| byte);
    let u16_at = |offset: usize| bytes(file, offset as u64).map(u16::from_le_bytes);
    let u32_at = |offset: usize| bytes(file, offset as u64).map(u32::from_le_bytes);

    // A file that is too short for these two fields is reported as no bzImage, not as truncated.
    if u16_at(header::BOOT_FLAG) != Ok(header::BOOT_FLAG_MAGIC)
        || u32_at(header::HEADER) != Ok(header::HEADER_MAGIC)
    {
        return Err(Error::NotBzImage);
    }
    let version = u16_at(header::VERSION)?;
    if version < VERSION_MIN {
        return Err(Error::OldProtocol(version));
    }
    let setup_header_end = header::HEADER + usize::from(byte_at(header::JUMP_OPERAND)?);
    if !(HEADER_END_MIN..=header::END_MAX).contains(&setup_header_end) {
        return Err(Error::HeaderLength(setup_header_end));
    }
    if byte_at(header::LOADFLAGS)? & header::LOADED_HIGH == 0 {
        return Err(Error::NotLoadedHigh);
    }
    if byte_at(header::RELOCATABLE_KERNEL)? == 0 {
        return Err(Error::NotRelocatable);
    }
    let xloadflags = u16_at(header::XLOADFLAGS)?;
    // All 64-bit kernels of protocol 2.12 or newer have a 64-bit entry (`arch/x86/boot/header.S`).
    let (mode, entry) = match xloadflags & header::XLF_KERNEL_64 {
        0 => (Mode::Protected, ENTRY_32),
        _ => (Mode::Long, ENTRY_64),
    };
    let alignment = u32_at(header::KERNEL_ALIGNMENT)?;
    if !alignment.is_power_of_two() || alignment < 4096 {
        return Err(Error::Alignment(alignment));
    }

    let setup_sects = match byte_at(SETUP_SECTS)? {
        0 => 4,
        sects => usize::from(sects),
    };
    let code_start = (setup_sects + 1) * SECTOR;
    let code = u64::from(u32_at(SYSSIZE)?) * 16;
    if code <= entry {
        return Err(Error::CodeLength(code));
    }
    let needed = code_start as u64 + code;
    // The build pads the file to 16 bytes, and a signature may follow. So a file may be longer than
    // this, but not shorter.
    check_len(file, needed)?;
    let init_size = u32_at(header::INIT_SIZE)?;
    if u64::from(init_size) < code {
        return Err(Error::InitSize { init_size, code });
    }
    let cmdline_size = u32_at(header::CMDLINE_SIZE)?;
    // COMMAND_LINE_SIZE is 2048 on x86 (arch/x86/include/asm/setup.h).
    if cmdline_size == 0 || cmdline_size > 0xffff {
        return Err(Error::CommandLineSize(cmdline_size));
    }

    // The header ends within the first two sectors, and `code_start` is never below their end.
    let mut setup_header = [0; header::END_MAX - header::START];
    let header = &file[header::START..setup_header_end];
    setup_header[..header.len()].copy_from_slice(header);
    // INVARIANT: `check_len()` has found that the file has at least `needed` bytes.
    let segment = Segment {
        offset: 0,
        start: code_start,
        end: needed as usize,
        memory_len: code,
    };
    Ok(KernelImage {
        segments: Segments::new([segment]).ok_or(Error::CodeLength(code))?,
        setup_header,
        mode,
        entry,
        alignment: alignment.into(),
        pref_address: u64::from_le_bytes(bytes(file, header::PREF_ADDRESS as u64)?),
        init_size: init_size.into(),
        above_4g: mode == Mode::Long && xloadflags & header::XLF_CAN_BE_LOADED_ABOVE_4G != 0,
        efi: xloadflags & header::XLF_EFI_KEXEC != 0 || file.starts_with(&MZ),
        cmdline_size: cmdline_size as usize,
        initrd_addr_max: u32_at(header::INITRD_ADDR_MAX)?.into(),
    })
}
