// SPDX-License-Identifier: GPL-2.0

//! Where everything lies in the memory of a successor.
//!
//! ```text
//! low memory (below 640 KiB)     range (2 MiB aligned)
//! +-----------------------+      +--------------------------------------+
//! | trampoline page: ours |      | firmware area, 1 MiB: ACPI data      |
//! +-----------------------+      |   boot_params, command line, mailbox,|
//! +-----------------------+      |   EFI, ACPI tables, page tables      |
//! | RAM for its real-mode |      +--------------------------------------+
//! | trampoline            |      | RAM: kernel (load address, init_size)|
//!                                |   ...                                |
//!                                |   initrd, at the end                 |
//!                                +--------------------------------------+
//! ```

use crate::image::kernel_image::{KernelImage, Mode};
use crate::memory::memmap::Range;
use core::fmt;

/// Size of a page in bytes.
pub const PAGE: u64 = 4096;
/// Ranges start and end at multiples of this, the size of a large page.
pub const RANGE_ALIGN: u64 = 2 << 20;
/// The end of the low memory that a real-mode trampoline may lie in.
pub const LOW_END: u64 = 640 << 10;
/// What is lower is no use as RAM: kernels reserve it (`early_reserve_memory()`,
/// `arch/x86/kernel/setup.c`).
pub const LOW_RAM_START: u64 = 64 << 10;
/// The bytes of low RAM that a kernel needs for its real-mode trampoline: 28 KiB, and where it
/// switches to 5-level paging, two pages for a moment before that
/// (`find_trampoline_placement()`).
pub const REAL_MODE_LEN: u64 = 32 << 10;

/// Offset of the I/O APIC in the trampoline's page; `trampoline.S` ends before it.
pub const IOAPIC: u64 = 0x800;
/// Length of the firmware area in bytes.
const FIRMWARE_LEN: u64 = 1 << 20;
/// What 32 bits reach.
pub const FOUR_GIB: u64 = 1 << 32;
/// The end of what a 32-bit kernel can lie in: what it maps for good, by the usual split of its
/// address space (`extract_kernel()` in `arch/x86/boot/compressed/misc.c`, "Destination address
/// too large"). Its other RAM may lie above.
pub const END_32: u64 = 896 << 20;

// What the firmware area holds, by offset.
const BOOT_PARAMS: u64 = 0;
const COMMAND_LINE: u64 = 0x1000;
const MAILBOX: u64 = 0x2000;
// Right behind the mailbox, which it writes (`efi_runtime.S`), and right before the tables, which
// it moves (`efi_runtime32.S`).
const EFI_CODE: u64 = 0x3000;
const EFI_TABLES: u64 = 0x4000;
const EFI_MEMORY_MAP: u64 = 0x5000;
const ACPI: u64 = 0x6000;
const PAGE_TABLES: u64 = 0xe0000;

/// Why a successor does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The range does not hold the kernel and the initrd.
    TooSmall {
        /// The least length that would do.
        needed: u64,
        /// What there is.
        len: u64,
    },
    /// The range reaches above 4 GiB and the kernel does not.
    Above4G,
    /// A 32-bit kernel would end above [`END_32`].
    TooHighFor32Bit,
    /// The initrd would end above what the kernel can reach.
    InitrdTooHigh {
        /// The highest address of its last byte.
        max: u64,
    },
    /// The range does not start and end at multiples of [`RANGE_ALIGN`].
    Unaligned,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::TooSmall { needed, len } => write!(
                f,
                "{} MiB of memory are too few: kernel and initrd need at least {} MiB",
                len >> 20,
                needed.div_ceil(1 << 20)
            ),
            Error::Above4G => f.write_str("this kernel needs a range below 4 GiB"),
            Error::TooHighFor32Bit => f.write_str(
                "a 32-bit kernel must lie below 896 MiB: reserve memory there with memmap=, and write it to 'memory' as SIZE@ADDRESS",
            ),
            Error::InitrdTooHigh { max } => {
                write!(f, "this kernel needs its initrd below {max:#x}")
            }
            Error::Unaligned => f.write_str("memory must start and end at multiples of 2 MiB"),
        }
    }
}

/// The low memory of a successor: the page of its trampoline, and RAM.
///
/// # Invariants
///
/// Both are page-aligned, lie below [`LOW_END`], and have no page in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Low {
    trampoline: Range,
    ram: Range,
}

impl Low {
    /// A page and RAM; [`None`] if they are not page-aligned, too high or too low, or overlap.
    pub fn new(trampoline: Range, ram: Range) -> Option<Self> {
        let is_low =
            |range: &Range| range.align_inwards(PAGE) == Some(*range) && range.end() <= LOW_END;
        // INVARIANT: Checked here.
        (is_low(&trampoline)
            && is_low(&ram)
            && trampoline.len() == PAGE
            && ram.start() >= LOW_RAM_START
            && !trampoline.overlaps(&ram))
        .then_some(Low { trampoline, ram })
    }

    /// The page that its CPUs start and park in; never the successor's.
    pub fn trampoline(&self) -> u64 {
        self.trampoline.start()
    }

    /// Where the successor finds its I/O APIC: memory behind the trampoline's code that looks like
    /// one (`firmware/ioapic.rs`). The MADT has 32 bits for the address, so that it can't lie in
    /// the range, which may be above 4 GiB.
    pub fn ioapic(&self) -> u32 {
        // It is below LOW_END.
        (self.trampoline() + IOAPIC) as u32
    }

    /// The RAM, for the successor's own real-mode trampoline (`reserve_real_mode()`).
    pub fn ram(&self) -> Range {
        self.ram
    }
}

/// Where everything of one successor lies. Addresses are physical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The successor's low memory.
    pub low: Low,
    /// The firmware area: not RAM for the successor.
    pub firmware: Range,
    /// The RAM behind the firmware area, up to the end of the range.
    pub ram: Range,
    /// `boot_params`, one page.
    pub boot_params: Range,
    /// The command line, one page.
    pub command_line: Range,
    /// The page that tells what the successor asks its firmware for; see `mailbox.rs`.
    pub mailbox: Range,
    /// What its EFI firmware consists of.
    pub efi: Efi,
    /// Room for the ACPI tables.
    pub acpi: Range,
    /// Room for page tables.
    pub page_tables: Range,
    /// What the kernel needs; its segments are copied there.
    pub kernel: Range,
    /// The initrd, if there is one; exactly its length.
    pub initrd: Option<Range>,
}

impl Layout {
    /// The whole range: the firmware area and the RAM.
    pub fn range(&self) -> Range {
        Range::from_to(self.firmware.start(), self.ram.end()).unwrap_or(self.ram)
    }
}

/// The EFI firmware of a successor, one page each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Efi {
    /// The runtime services.
    pub code: Range,
    /// The system table and what it leads to.
    pub tables: Range,
    /// The memory map.
    pub memory_map: Range,
}

/// Where a range for `image` should end at the latest, if anywhere.
pub fn limit(image: &KernelImage) -> Option<u64> {
    match image.mode {
        Mode::Protected => Some(END_32),
        Mode::Long if !image.above_4g => Some(FOUR_GIB),
        Mode::Long => None,
    }
}

/// Plans the layout of a successor that boots `image` with an initrd of `initrd_len` bytes (0:
/// none) in `range`.
///
/// Every range of the result lies within `range`, and no two overlap.
///
/// # Errors
///
/// [`Error`] tells why it does not fit and what would.
pub fn plan(range: Range, low: Low, image: &KernelImage, initrd_len: u64) -> Result<Layout, Error> {
    if range.align_inwards(RANGE_ALIGN) != Some(range) {
        return Err(Error::Unaligned);
    }
    if range.end() > FOUR_GIB && !image.above_4g {
        return Err(Error::Above4G);
    }

    let align = image.alignment.max(RANGE_ALIGN);
    // A kernel that lies below `pref_address` moves itself there, wherever that is (boot.rst).
    let kernel_start = (range.start() + FIRMWARE_LEN)
        .max(image.pref_address)
        .checked_next_multiple_of(align);
    let initrd_room = initrd_len.checked_next_multiple_of(PAGE);
    // What is asked for may be absurd, so that each sum may overflow: then nothing is enough.
    let needed = kernel_start
        .and_then(|start| start.checked_add(image.init_size))
        .and_then(|end| end.checked_next_multiple_of(PAGE))
        .and_then(|end| end.checked_add(initrd_room?))
        .and_then(|end| end.checked_next_multiple_of(RANGE_ALIGN))
        .map_or(u64::MAX, |end| end - range.start());
    let too_small = Error::TooSmall {
        needed,
        len: range.len(),
    };
    if needed > range.len() {
        return Err(too_small);
    }
    let kernel = kernel_start
        .and_then(|start| Range::new(start, image.init_size))
        .ok_or(too_small)?;
    if image.mode == Mode::Protected && kernel.end() > END_32 {
        return Err(Error::TooHighFor32Bit);
    }
    // As high as it may be: the kernel frees it, and has its other memory in one piece.
    let mut top = range.end();
    if !image.above_4g {
        let max = image.initrd_addr_max;
        top = top.min(max.saturating_add(1) & !(PAGE - 1));
        if initrd_len > 0 && top.saturating_sub(initrd_room.unwrap_or(0)) < kernel.end() {
            return Err(Error::InitrdTooHigh { max });
        }
    }
    let initrd = Range::new(top.saturating_sub(initrd_room.unwrap_or(0)), initrd_len);

    let part = |offset: u64, end: u64| {
        Range::from_to(range.start() + offset, range.start() + end).ok_or(too_small)
    };
    Ok(Layout {
        low,
        firmware: part(0, FIRMWARE_LEN)?,
        ram: part(FIRMWARE_LEN, range.len())?,
        boot_params: part(BOOT_PARAMS, BOOT_PARAMS + PAGE)?,
        command_line: part(COMMAND_LINE, COMMAND_LINE + PAGE)?,
        mailbox: part(MAILBOX, MAILBOX + PAGE)?,
        efi: Efi {
            code: part(EFI_CODE, EFI_CODE + PAGE)?,
            tables: part(EFI_TABLES, EFI_TABLES + PAGE)?,
            memory_map: part(EFI_MEMORY_MAP, EFI_MEMORY_MAP + PAGE)?,
        },
        acpi: part(ACPI, PAGE_TABLES)?,
        page_tables: part(PAGE_TABLES, FIRMWARE_LEN)?,
        kernel,
        initrd,
    })
}
