// SPDX-License-Identifier: GPL-2.0

//! Parser for the x86-64 `vmlinux`: the kernel as it was linked, which is also the payload of a
//! bzImage.
//!
//! Reference: System V ABI, "Object Files"; `arch/x86/kernel/vmlinux.lds.S`. Mint enters the kernel
//! as the decompressor does (`extract_kernel()` in `arch/x86/boot/compressed/misc.c`), but at the
//! load address that Mint chose: there is no KASLR.
//!
//! The file does not tell whether the kernel was built with CONFIG_RELOCATABLE, and the option does
//! not matter here: only the decompressor honours it. The 64-bit kernel finds out by itself how far
//! from its linked address it was loaded. The distance may be any multiple of 2 MiB
//! (`__startup_64()` in `arch/x86/boot/startup/map_kernel.c`).

use crate::image::{
    bytes::{bytes, check_len, Truncated},
    kernel_image::{self, KernelImage, Mode, Segment, Segments, SEGMENTS_MAX},
    setup_header::{self as header, SetupHeader},
};
use core::fmt;

/// `EI_MAG0` to `EI_MAG3`.
pub const MAGIC: [u8; 4] = *b"\x7fELF";

// "ELF Header".
const HEADER_LEN: u64 = 64;
const CLASS: u64 = 4;
const DATA: u64 = 5;
const TYPE: u64 = 16;
const MACHINE: u64 = 18;
const ENTRY: u64 = 24;
const PROGRAM_HEADERS: u64 = 32;
const PROGRAM_HEADER_LEN: u64 = 54;
const PROGRAM_HEADER_COUNT: u64 = 56;
const CLASS_32: u8 = 1;
const CLASS_64: u8 = 2;
const DATA_LITTLE_ENDIAN: u8 = 1;
const TYPE_EXECUTABLE: u16 = 2;
const MACHINE_X86_64: u16 = 62;

// "Program Header".
const LEN: u16 = 56;
const SEGMENT_LOAD: u32 = 1;
/// The most program headers that are read. Kernels have three to five.
const COUNT_MAX: u16 = 16;

/// `__START_KERNEL_map` (`arch/x86/include/asm/page_64_types.h`): the virtual address at which the
/// kernel image maps physical address 0.
const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// `KERNEL_IMAGE_SIZE` (same file): the longest that a kernel can be.
const KERNEL_IMAGE_SIZE: u64 = 1 << 30;
/// `__startup_64()` hangs if the kernel was not moved by a multiple of this.
const ALIGNMENT: u32 = 2 << 20;
/// The start of `linux_banner` (`init/version-timestamp.c`); the kernel's version follows.
const BANNER: &[u8] = b"Linux version ";
const BANNER_START: [u8; 4] = *b"Linu";
/// The first version with boot protocol 2.12, which a bzImage must have as well.
const VERSION_MIN: (u32, u32) = (3, 8);
/// The signatures that `setup_arch()` (`arch/x86/kernel/setup.c`) compares `efi_loader_signature`
/// with. A kernel with CONFIG_EFI has both in its image.
const EFI_SIGNATURES: [[u8; 4]; 2] = [*b"EL32", *b"EL64"];

// Values from the setup header of a bzImage (`arch/x86/boot/header.S`) of the same kernel.
const HEADER_END: usize = 0x26c;
const BOOT_PROTOCOL: u16 = 0x020f;
/// `ROOT_RDONLY`: the root is mounted read-only, unless the command line says `rw`.
const ROOT_READ_ONLY: u16 = 1;
/// `NORMAL_VGA` (`arch/x86/include/uapi/asm/boot.h`).
const VIDEO_MODE_NORMAL: u16 = 0xffff;
/// COMMAND_LINE_SIZE, 2048, counts the terminating zero (`arch/x86/include/asm/setup.h`).
const COMMAND_LINE_LEN: u32 = 2047;
const INITRD_ADDR_MAX: u32 = 0x7fff_ffff;

/// Why a file can't be started as a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The file is shorter than its headers say.
    Truncated(Truncated),
    /// Not an ELF file.
    NotElf,
    /// The file is for a 32-bit CPU. Only the decompressor can relocate a 32-bit kernel.
    Is32Bit,
    /// The file is for another CPU than x86-64; this is its `e_machine`.
    Machine(u16),
    /// The file is not an executable; this is its `e_type`.
    Type(u16),
    /// The program headers are missing, too many, of an unexpected length, or overlap the ELF
    /// header.
    ProgramHeaders {
        /// The number of program headers.
        count: u16,
        /// The length of each in bytes.
        len: u16,
        /// Their offset in the file.
        at: u64,
    },
    /// The file has no segments to load, or more than [`SEGMENTS_MAX`].
    Segments,
    /// The segment at this physical address is longer in the file than in memory, or overlaps
    /// another.
    Segment(u64),
    /// All segments together are longer than a kernel can be.
    Span,
    /// The file is an executable, but is not linked as Linux is, or has no Linux banner.
    NotLinux,
    /// The kernel is older than 3.8; these are the first two numbers of its version.
    OldKernel((u32, u32)),
    /// The entry point, a physical address, is in no segment.
    Entry(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Truncated(truncated) => truncated.fmt(f),
            Error::NotElf => f.write_str("not an ELF file"),
            Error::Is32Bit => f.write_str(
                "a 32-bit vmlinux, which can't be loaded elsewhere: give the bzImage made of it",
            ),
            Error::Machine(machine) => {
                write!(
                    f,
                    "an ELF file for machine {machine}: give one for x86-64 (62)"
                )
            }
            Error::Type(kind) => write!(
                f,
                "an ELF file of type {kind}, not an executable: give vmlinux itself"
            ),
            Error::ProgramHeaders { count, len, at } => write!(
                f,
                "{count} program headers of {len} bytes at {at:#x} are impossible"
            ),
            Error::Segments => write!(f, "not 1 to {SEGMENTS_MAX} segments to load"),
            Error::Segment(address) => write!(
                f,
                "the segment at {address:#x} is longer in the file than in memory, or overlaps another"
            ),
            Error::Span => write!(
                f,
                "segments reach over more than {} MiB",
                KERNEL_IMAGE_SIZE >> 20
            ),
            Error::NotLinux => f.write_str("an executable, but not of Linux"),
            Error::OldKernel((major, minor)) => {
                write!(f, "Linux {major}.{minor} is too old: 3.8 or newer is needed")
            }
            Error::Entry(entry) => write!(f, "the entry {entry:#x} is in no segment"),
        }
    }
}

/// A segment of type PT_LOAD.
#[derive(Clone, Copy, Default)]
struct Load {
    /// Offset of the first byte in the file.
    start: usize,
    /// Offset in the file after the last byte.
    end: usize,
    virtual_address: u64,
    /// Physical address (`p_paddr`).
    address: u64,
    memory_len: u64,
}

impl From<Truncated> for Error {
    fn from(truncated: Truncated) -> Self {
        Error::Truncated(truncated)
    }
}

fn u16_at(file: &[u8], offset: u64) -> Result<u16, Error> {
    Ok(u16::from_le_bytes(bytes(file, offset)?))
}

fn u64_at(file: &[u8], offset: u64) -> Result<u64, Error> {
    Ok(u64::from_le_bytes(bytes(file, offset)?))
}

/// Parses `file` as a 64-bit `vmlinux` and checks that Mint can load it.
///
/// # Errors
///
/// Returns the first defect that the parser finds; see [`Error`].
pub fn parse(file: &[u8]) -> Result<KernelImage, Error> {
    check_header(file)?;
    let mut loads = [Load::default(); SEGMENTS_MAX];
    let loads = loads_of(file, &mut loads)?;
    let (Some(first), Some(last)) = (loads.first(), loads.last()) else {
        return Err(Error::Segments);
    };
    let base = first.address;
    // In each Linux for x86-64, virtual and physical addresses differ by exactly this.
    if first.virtual_address != base.wrapping_add(START_KERNEL_MAP)
        || base % u64::from(ALIGNMENT) != 0
    {
        return Err(Error::NotLinux);
    }
    let span = last
        .address
        .checked_add(last.memory_len)
        .map(|end| end - base)
        .filter(|&span| span <= KERNEL_IMAGE_SIZE)
        .ok_or(Error::Span)?;
    let entry = u64_at(file, ENTRY)?;
    let has_entry = |load: &Load| {
        let file_len = (load.end - load.start) as u64;
        (load.address..load.address + file_len).contains(&entry)
    };
    if !loads.iter().any(has_entry) {
        return Err(Error::Entry(entry));
    }

    let ends = loads[1..].iter().map(|next| next.address);
    let segments = loads
        .iter()
        .zip(ends.chain([base + span]))
        .map(|(load, end)| Segment {
            offset: load.address - base,
            start: load.start,
            end: load.end,
            // Up to the next segment, so that the gap is zeroed as well.
            memory_len: end - load.address,
        });
    let segments = Segments::new(segments).ok_or(Error::Segments)?;
    let data = || segments.iter().map(|segment| segment.data(file));
    let version = data().find_map(version_in).ok_or(Error::NotLinux)?;
    if version < VERSION_MIN {
        return Err(Error::OldKernel(version));
    }
    let efi = EFI_SIGNATURES
        .iter()
        .all(|signature| data().any(|data| from_each(data, signature).next().is_some()));
    Ok(KernelImage {
        segments,
        setup_header: setup_header(base, span as u32, efi),
        mode: Mode::Long,
        entry: entry - base,
        alignment: ALIGNMENT.into(),
        pref_address: base,
        init_size: span,
        above_4g: true,
        efi,
        cmdline_size: COMMAND_LINE_LEN as usize,
        initrd_addr_max: INITRD_ADDR_MAX.into(),
    })
}

/// Checks that `file` is an executable for x86-64.
fn check_header(file: &[u8]) -> Result<(), Error> {
    if !file.starts_with(&MAGIC) {
        return Err(Error::NotElf);
    }
    let [class] = bytes(file, CLASS)?;
    let [data] = bytes(file, DATA)?;
    if class == CLASS_32 {
        return Err(Error::Is32Bit);
    }
    let machine = u16_at(file, MACHINE)?;
    if class != CLASS_64 || data != DATA_LITTLE_ENDIAN || machine != MACHINE_X86_64 {
        return Err(Error::Machine(machine));
    }
    match u16_at(file, TYPE)? {
        TYPE_EXECUTABLE => Ok(()),
        other => Err(Error::Type(other)),
    }
}

/// Returns the segments of `file` that are loaded, sorted by physical address. `loads` is the room
/// for them.
fn loads_of<'a>(file: &[u8], loads: &'a mut [Load; SEGMENTS_MAX]) -> Result<&'a mut [Load], Error> {
    let (count, len) = (
        u16_at(file, PROGRAM_HEADER_COUNT)?,
        u16_at(file, PROGRAM_HEADER_LEN)?,
    );
    let at = u64_at(file, PROGRAM_HEADERS)?;
    if count == 0 || count > COUNT_MAX || len != LEN || at < HEADER_LEN {
        return Err(Error::ProgramHeaders { count, len, at });
    }
    let mut used = 0;
    for index in 0..u64::from(count) {
        let header = at.saturating_add(index * u64::from(len));
        let word = |offset| u64_at(file, header.saturating_add(offset));
        // The low half is p_type, the high half p_flags.
        let kind = word(0)? as u32;
        // p_offset, p_vaddr and p_paddr.
        let (start, virtual_address, address) = (word(8)?, word(16)?, word(24)?);
        // p_filesz and p_memsz.
        let (file_len, memory_len) = (word(32)?, word(40)?);
        if kind != SEGMENT_LOAD || memory_len == 0 && file_len == 0 {
            continue;
        }
        if file_len > memory_len {
            return Err(Error::Segment(address));
        }
        let end = start.saturating_add(file_len);
        check_len(file, end)?;
        // Not `sort()`: the kernel's objtool can't follow the panics in it.
        let behind = loads[..used].partition_point(|other| other.address < address);
        let room = loads.get_mut(behind..=used).ok_or(Error::Segments)?;
        room.rotate_right(1);
        // Both are at most the file's length, which is a `usize`.
        room[0] = Load {
            start: start as usize,
            end: end as usize,
            virtual_address,
            address,
            memory_len,
        };
        used += 1;
    }
    let loads = &mut loads[..used];
    for pair in loads.windows(2) {
        let end = pair[0].address.checked_add(pair[0].memory_len);
        if end.is_none_or(|end| end > pair[1].address) {
            return Err(Error::Segment(pair[1].address));
        }
    }
    Ok(loads)
}

/// Returns the rest of `data` from each occurrence of `word`, whose bytes must all differ. `data`
/// may be tens of megabytes, so only every fourth byte is compared.
fn from_each<'a>(data: &'a [u8], word: &'a [u8; 4]) -> impl Iterator<Item = &'a [u8]> {
    // Wherever `word` is, exactly one of its four bytes is at one of these places.
    (3..data.len()).step_by(4).filter_map(move |place| {
        let at = word.iter().position(|&byte| byte == data[place])?;
        Some(&data[place - at..]).filter(|rest| rest.starts_with(word))
    })
}

/// Returns the kernel's version from the Linux banner, if `data` has one.
fn version_in(data: &[u8]) -> Option<(u32, u32)> {
    from_each(data, &BANNER_START)
        .find_map(|text| kernel_image::version(text.strip_prefix(BANNER)?))
}

/// Makes the setup header that a bzImage of this kernel would have, with the fields that are read
/// after decompression. `type_of_loader` and other fields that a boot loader writes are filled in
/// later, as for a bzImage.
fn setup_header(pref_address: u64, init_size: u32, efi: bool) -> SetupHeader {
    let mut bytes = [0; header::END_MAX - header::START];
    let mut put = |offset: usize, value: &[u8]| {
        bytes[offset - header::START..][..value.len()].copy_from_slice(value);
    };
    let xloadflags = header::XLF_KERNEL_64
        | header::XLF_CAN_BE_LOADED_ABOVE_4G
        | if efi { header::XLF_EFI_KEXEC } else { 0 };
    put(header::ROOT_FLAGS, &ROOT_READ_ONLY.to_le_bytes());
    put(header::VID_MODE, &VIDEO_MODE_NORMAL.to_le_bytes());
    put(header::BOOT_FLAG, &header::BOOT_FLAG_MAGIC.to_le_bytes());
    put(header::JUMP_OPERAND, &[(HEADER_END - header::HEADER) as u8]);
    put(header::HEADER, &header::HEADER_MAGIC.to_le_bytes());
    put(header::VERSION, &BOOT_PROTOCOL.to_le_bytes());
    // KASLR_FLAG is clear: nothing has randomized the address (`kaslr_enabled()`, asm/setup.h).
    put(header::LOADFLAGS, &[header::LOADED_HIGH]);
    put(header::INITRD_ADDR_MAX, &INITRD_ADDR_MAX.to_le_bytes());
    put(header::KERNEL_ALIGNMENT, &ALIGNMENT.to_le_bytes());
    put(header::RELOCATABLE_KERNEL, &[1]);
    put(header::MIN_ALIGNMENT, &[ALIGNMENT.trailing_zeros() as u8]);
    put(header::XLOADFLAGS, &xloadflags.to_le_bytes());
    put(header::CMDLINE_SIZE, &COMMAND_LINE_LEN.to_le_bytes());
    put(header::PREF_ADDRESS, &pref_address.to_le_bytes());
    put(header::INIT_SIZE, &init_size.to_le_bytes());
    bytes
}
