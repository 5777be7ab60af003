// SPDX-License-Identifier: GPL-2.0

//! The x86 kernel image format, bzImage.
//!
//! Reference: Documentation/arch/x86/boot.rst ("The Real-Mode Kernel Header"), and
//! `bzImage64_probe()` in `arch/x86/kernel/kexec-bzimage64.c`. Offsets are from the start of the
//! file; all fields are little-endian.

use crate::image::kernel_image::{
    KernelImage, Mode, Segment, Segments, SETUP_HEADER_END_MAX, SETUP_HEADER_START,
};
use core::fmt;

/// Sectors of the real-mode setup code, not counting the boot sector; 0 means 4.
const SETUP_SECTS: usize = SETUP_HEADER_START;
/// Whether the root is mounted read-only.
pub const ROOT_FLAGS: usize = 0x1f2;
/// Length of the protected-mode code in units of 16 bytes.
const SYSSIZE: usize = 0x1f4;
/// The video mode.
pub const VID_MODE: usize = 0x1fa;
/// Must be [`BOOT_FLAG_MAGIC`].
pub const BOOT_FLAG: usize = 0x1fe;
/// The operand of a short jump over the header: the header ends this far behind [`HEADER`].
pub const JUMP_OPERAND: usize = 0x201;
/// Must be [`HEADER_MAGIC`].
pub const HEADER: usize = 0x202;
/// Boot protocol version, major in the high byte.
pub const VERSION: usize = 0x206;
/// Boot protocol option flags.
pub const LOADFLAGS: usize = 0x211;
/// Highest address that the initrd's last byte may have.
pub const INITRD_ADDR_MAX: usize = 0x22c;
/// Alignment of the load address that a relocatable kernel needs.
pub const KERNEL_ALIGNMENT: usize = 0x230;
/// Whether the kernel may be loaded at another address than the preferred one.
pub const RELOCATABLE_KERNEL: usize = 0x234;
/// The alignment that would do, as a power of two.
pub const MIN_ALIGNMENT: usize = 0x235;
/// 64-bit and EFI capabilities.
pub const XLOADFLAGS: usize = 0x236;
/// Longest command line, without the terminating zero.
pub const CMDLINE_SIZE: usize = 0x238;
/// Address at which the kernel would like to be.
pub const PREF_ADDRESS: usize = 0x258;
/// Bytes from the load address on that the kernel needs while it unpacks itself.
pub const INIT_SIZE: usize = 0x260;
/// End of `init_size`, the last field of protocol 2.12 that is used here.
const HEADER_END_MIN: usize = 0x264;

/// What is at [`BOOT_FLAG`].
pub const BOOT_FLAG_MAGIC: u16 = 0xaa55;
/// What is at [`HEADER`].
pub const HEADER_MAGIC: u32 = u32::from_le_bytes(*b"HdrS");
/// Protocol 2.12: the first with `xloadflags`.
const VERSION_MIN: u16 = 0x020c;
/// `loadflags`: the protected-mode code is loaded at 1 MiB or above.
pub const LOADED_HIGH: u8 = 1 << 0;
/// `xloadflags`: there is a 64-bit entry at offset 0x200 of the protected-mode code.
pub const XLF_KERNEL_64: u16 = 1 << 0;
/// `xloadflags`: kernel, boot_params, command line and initrd may lie above 4 GiB.
pub const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;
/// `xloadflags`: built with CONFIG_EFI and CONFIG_KEXEC_CORE.
pub const XLF_EFI_KEXEC: u16 = 1 << 4;
/// A kernel with CONFIG_EFI_STUB starts like a program for EFI (PE/COFF specification).
const MZ: [u8; 2] = *b"MZ";
/// The 32-bit entry, from the start of the protected-mode code.
const ENTRY_32: u64 = 0;
/// The 64-bit entry, from the same.
const ENTRY_64: u64 = 0x200;

const SECTOR: usize = 512;

/// Why a file is not a kernel that can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The file ends before what its header announces.
    Truncated {
        /// Bytes that there should be.
        needed: u64,
        /// Bytes that there are.
        len: u64,
    },
    /// No boot sector signature or no `HdrS`: something else than a bzImage.
    NotBzImage,
    /// A boot protocol older than 2.12.
    OldProtocol(u16),
    /// The header's length, told by its jump, is impossible.
    HeaderLength(usize),
    /// A zImage, whose code is loaded below 1 MiB.
    NotLoadedHigh,
    /// The kernel was built without CONFIG_RELOCATABLE.
    NotRelocatable,
    /// `kernel_alignment` is not a power of two of at least a page.
    Alignment(u32),
    /// The protected-mode code, of so many bytes, ends before its entry.
    CodeLength(u64),
    /// `init_size` is smaller than the code itself.
    InitSize {
        /// What the header says.
        init_size: u32,
        /// Bytes of protected-mode code.
        code: u64,
    },
    /// `cmdline_size` is 0 or larger than any kernel's.
    CommandLineSize(u32),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Truncated { needed, len } => {
                write!(
                    f,
                    "file is cut short: {len} bytes where {needed} are announced"
                )
            }
            Error::NotBzImage => {
                f.write_str("not a bzImage or a vmlinux (give the file /boot/vmlinuz-*)")
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

fn field<const N: usize>(file: &[u8], offset: usize) -> Result<[u8; N], Error> {
    file.get(offset..offset + N)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(Error::Truncated {
            needed: (offset + N) as u64,
            len: file.len() as u64,
        })
}

/// Checks that `file` is a bzImage that can be loaded anywhere, and finds its parts.
///
/// # Errors
///
/// The first thing that is wrong with it; see [`Error`].
pub fn parse(file: &[u8]) -> Result<KernelImage, Error> {
    let u16_at = |offset| Ok(u16::from_le_bytes(field(file, offset)?));
    let u32_at = |offset| Ok(u32::from_le_bytes(field(file, offset)?));

    // A file too short for these is no bzImage at all rather than a bzImage cut short.
    if u16_at(BOOT_FLAG) != Ok(BOOT_FLAG_MAGIC) || u32_at(HEADER) != Ok(HEADER_MAGIC) {
        return Err(Error::NotBzImage);
    }
    let version = u16_at(VERSION)?;
    if version < VERSION_MIN {
        return Err(Error::OldProtocol(version));
    }
    let setup_header_end = HEADER + usize::from(field::<1>(file, JUMP_OPERAND)?[0]);
    if !(HEADER_END_MIN..=SETUP_HEADER_END_MAX).contains(&setup_header_end) {
        return Err(Error::HeaderLength(setup_header_end));
    }
    if field::<1>(file, LOADFLAGS)?[0] & LOADED_HIGH == 0 {
        return Err(Error::NotLoadedHigh);
    }
    if field::<1>(file, RELOCATABLE_KERNEL)?[0] == 0 {
        return Err(Error::NotRelocatable);
    }
    let xloadflags = u16_at(XLOADFLAGS)?;
    // All 64-bit kernels of this protocol have it (`arch/x86/boot/header.S`).
    let (mode, entry) = match xloadflags & XLF_KERNEL_64 {
        0 => (Mode::Protected, ENTRY_32),
        _ => (Mode::Long, ENTRY_64),
    };
    let alignment = u32_at(KERNEL_ALIGNMENT)?;
    if !alignment.is_power_of_two() || alignment < 4096 {
        return Err(Error::Alignment(alignment));
    }

    let setup_sects = match field::<1>(file, SETUP_SECTS)?[0] {
        0 => 4,
        sects => usize::from(sects),
    };
    let code_start = (setup_sects + 1) * SECTOR;
    let code = u64::from(u32_at(SYSSIZE)?) * 16;
    if code <= entry {
        return Err(Error::CodeLength(code));
    }
    let needed = code_start as u64 + code;
    // The build pads the file to 16 bytes, a signature may follow: longer is right, shorter never.
    if (file.len() as u64) < needed {
        return Err(Error::Truncated {
            needed,
            len: file.len() as u64,
        });
    }
    let init_size = u32_at(INIT_SIZE)?;
    if u64::from(init_size) < code {
        return Err(Error::InitSize { init_size, code });
    }
    let cmdline_size = u32_at(CMDLINE_SIZE)?;
    // COMMAND_LINE_SIZE is 2048 on x86 (arch/x86/include/asm/setup.h).
    if cmdline_size == 0 || cmdline_size > 0xffff {
        return Err(Error::CommandLineSize(cmdline_size));
    }

    // The header ends in the first two sectors, before any `code_start`.
    let mut setup_header = [0; SETUP_HEADER_END_MAX - SETUP_HEADER_START];
    let header = &file[SETUP_HEADER_START..setup_header_end];
    setup_header[..header.len()].copy_from_slice(header);
    // INVARIANT: `needed` was checked against the length.
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
        pref_address: u64::from_le_bytes(field(file, PREF_ADDRESS)?),
        init_size: init_size.into(),
        above_4g: mode == Mode::Long && xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G != 0,
        efi: xloadflags & XLF_EFI_KEXEC != 0 || file.starts_with(&MZ),
        cmdline_size: cmdline_size as usize,
        initrd_addr_max: u32_at(INITRD_ADDR_MAX)?.into(),
    })
}
