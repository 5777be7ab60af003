// SPDX-License-Identifier: GPL-2.0

//! The layout of a successor's memory.
//!
//! ```text
//! low memory (below 640 KiB)     range (2 MiB aligned)
//! +-----------------------+      +--------------------------------------+
//! | trampoline page: ours |      | firmware area, 1 MiB: ACPI data      |
//! +-----------------------+      |   boot_params, command line, mailbox,|
//! +-----------------------+      |   EFI, SMBIOS, ACPI, page tables     |
//! | RAM for its real-mode |      +--------------------------------------+
//! | trampoline            |      | perhaps a PCI bus made of memory     |
//! +-----------------------+      +--------------------------------------+
//!                                | RAM: kernel (load address, init_size)|
//!                                |   ...                                |
//!                                |   initrd, at the end                 |
//!                                +--------------------------------------+
//! ```
//!
//! The successor's memory map does not list the bus. No RAM ends where the bus starts, since Linux
//! keeps drivers off the addresses behind RAM, up to 64 MiB ("RAM buffer",
//! `e820__reserve_resources_late()` in `arch/x86/kernel/e820.c`). In the page tables that a kernel is
//! entered with, a large page maps the start of the bus as write-back memory, with the firmware area.
//! Linux has page tables of its own before it uses the bus.

use crate::image::kernel_image::{KernelImage, Mode};
use crate::memory::memmap::Range;
use core::fmt;

/// Size of a page in bytes.
pub const PAGE: u64 = 4096;
/// Ranges start and end at multiples of this, the size of a large page.
pub const RANGE_ALIGN: u64 = 2 << 20;
/// The end of the low memory that a real-mode trampoline may lie in.
pub const LOW_END: u64 = 640 << 10;
/// RAM below this is of no use to a kernel, which reserves it (`early_reserve_memory()`,
/// `arch/x86/kernel/setup.c`).
pub const LOW_RAM_START: u64 = 64 << 10;
/// Length of the low RAM that a kernel needs for its real-mode trampoline. That takes 28 KiB; a
/// kernel that switches to 5-level paging uses two pages for a moment before that
/// (`find_trampoline_placement()`).
pub const REAL_MODE_LEN: u64 = 32 << 10;

/// Offset of the emulated I/O APIC in the trampoline's page; the code of `trampoline.S` ends before
/// it.
pub const IOAPIC: u64 = 0x800;
/// Length of the firmware area in bytes.
const FIRMWARE_LEN: u64 = 1 << 20;
/// Length of the memory of a PCI bus made of memory (`memory_device/bus.rs`).
pub const BUS_LEN: u64 = 2 << 20;
/// The end of the memory that 32-bit addresses reach.
pub const FOUR_GIB: u64 = 1 << 32;
/// The end of the memory that a 32-bit kernel itself may lie in: its direct mapping with the
/// default split of the address space (`extract_kernel()` in `arch/x86/boot/compressed/misc.c`,
/// "Destination address too large"). Its other RAM may lie above.
pub const END_32: u64 = 896 << 20;

// Offsets in the firmware area.
const BOOT_PARAMS: u64 = 0;
const COMMAND_LINE: u64 = 0x1000;
const MAILBOX: u64 = 0x2000;
// Directly after the mailbox, which the code writes to (`efi_runtime.S`), and directly before the
// tables, whose pointers the code relocates (`efi_runtime32.S`).
const EFI_CODE: u64 = 0x3000;
const EFI_TABLES: u64 = 0x4000;
const EFI_MEMORY_MAP: u64 = 0x5000;
const SMBIOS: u64 = 0x6000;
const ACPI: u64 = 0xe000;
const PAGE_TABLES: u64 = 0xe0000;

/// Why a successor does not fit in its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The range is too small for the kernel and the initrd.
    TooSmall {
        /// The minimum length of the range.
        needed: u64,
        /// The length of the range.
        len: u64,
    },
    /// The range extends above 4 GiB, and the kernel can't be loaded there.
    Above4G,
    /// A 32-bit kernel would end above [`END_32`].
    TooHighFor32Bit,
    /// The initrd would end above the highest address that the kernel allows.
    InitrdTooHigh {
        /// The highest address that its last byte may have.
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

/// The low memory of a successor: the trampoline's page, and RAM.
///
/// # Invariants
///
/// Both are page-aligned, lie below [`LOW_END`], and do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Low {
    trampoline: Range,
    ram: Range,
}

impl Low {
    /// Checks a trampoline page and low RAM; returns [`None`] if one of them is not page-aligned,
    /// too high or too low, or if they overlap.
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

    /// Returns the address of the page in which the successor's first CPU wakes up. The page is
    /// never the successor's RAM.
    pub fn trampoline(&self) -> u64 {
        self.trampoline.start()
    }

    /// Returns the address of the successor's I/O APIC: memory after the trampoline's code that
    /// looks like one (`firmware/ioapic.rs`). The MADT holds a 32-bit address, so the I/O APIC
    /// can't lie in the range, which may be above 4 GiB.
    pub fn ioapic(&self) -> u32 {
        // The trampoline is below LOW_END by the type invariants.
        (self.trampoline() + IOAPIC) as u32
    }

    /// Returns the RAM for the successor's own real-mode trampoline (`reserve_real_mode()`).
    pub fn ram(&self) -> Range {
        self.ram
    }
}

/// The layout of one successor's memory. All addresses are physical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The successor's low memory.
    pub low: Low,
    /// The firmware area, which the successor must not use as RAM.
    pub firmware: Range,
    /// The memory of its PCI bus made of memory, if it has one (`memory_device/bus.rs`). The
    /// successor must not use it as RAM.
    pub bus: Option<Range>,
    /// The RAM after the firmware area and the bus, up to the end of the range.
    pub ram: Range,
    /// `boot_params`, one page.
    pub boot_params: Range,
    /// The command line, one page.
    pub command_line: Range,
    /// The mailbox page, where the firmware stores the successor's requests; see `mailbox.rs`.
    pub mailbox: Range,
    /// The pages of its EFI firmware.
    pub efi: Efi,
    /// Room for SMBIOS.
    pub smbios: Range,
    /// Room for the ACPI tables.
    pub acpi: Range,
    /// Room for page tables.
    pub page_tables: Range,
    /// The memory that the kernel needs (`init_size`); its segments are copied there.
    pub kernel: Range,
    /// The initrd, if there is one; as long as its file.
    pub initrd: Option<Range>,
}

impl Layout {
    /// Returns the whole range: the firmware area, the bus if there is one, and the RAM.
    pub fn range(&self) -> Range {
        Range::from_to(self.firmware.start(), self.ram.end()).unwrap_or(self.ram)
    }
}

/// The EFI firmware of a successor, one page each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Efi {
    /// The runtime services.
    pub code: Range,
    /// The system table, and the tables that it points to.
    pub tables: Range,
    /// The memory map.
    pub memory_map: Range,
}

/// Returns the address at which a range for `image` must end at the latest, if there is a limit.
pub fn limit(image: &KernelImage) -> Option<u64> {
    match image.mode {
        Mode::Protected => Some(END_32),
        Mode::Long if !image.above_4g => Some(FOUR_GIB),
        Mode::Long => None,
    }
}

/// Plans the layout of a successor that boots `image` with an initrd of `initrd_len` bytes (0 if
/// there is none) in `range`. `has_bus` tells whether it has a PCI bus made of memory.
///
/// Every range of the result lies within `range`, and no two overlap.
///
/// # Errors
///
/// Returns the reason why the successor does not fit, and what would fit; see [`Error`].
pub fn plan(
    range: Range,
    low: Low,
    image: &KernelImage,
    initrd_len: u64,
    has_bus: bool,
) -> Result<Layout, Error> {
    if range.align_inwards(RANGE_ALIGN) != Some(range) {
        return Err(Error::Unaligned);
    }
    if range.end() > FOUR_GIB && !image.above_4g {
        return Err(Error::Above4G);
    }

    let bus_len = if has_bus { BUS_LEN } else { 0 };
    let before_ram = FIRMWARE_LEN + bus_len;
    let align = image.alignment.max(RANGE_ALIGN);
    // A kernel that is loaded below `pref_address` moves itself there, beyond the range or not
    // (boot.rst).
    let kernel_start = range.start().checked_add(before_ram).and_then(|start| {
        start
            .max(image.pref_address)
            .checked_next_multiple_of(align)
    });
    let initrd_room = initrd_len.checked_next_multiple_of(PAGE);
    // The lengths may be absurd, so each sum is checked. On overflow no range is long enough.
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
    // The initrd goes as high as possible: the kernel frees it later, and its other memory is in
    // one piece.
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
        bus: Range::new(range.start() + FIRMWARE_LEN, bus_len),
        ram: part(before_ram, range.len())?,
        boot_params: part(BOOT_PARAMS, BOOT_PARAMS + PAGE)?,
        command_line: part(COMMAND_LINE, COMMAND_LINE + PAGE)?,
        mailbox: part(MAILBOX, MAILBOX + PAGE)?,
        efi: Efi {
            code: part(EFI_CODE, EFI_CODE + PAGE)?,
            tables: part(EFI_TABLES, EFI_TABLES + PAGE)?,
            memory_map: part(EFI_MEMORY_MAP, EFI_MEMORY_MAP + PAGE)?,
        },
        smbios: part(SMBIOS, ACPI)?,
        acpi: part(ACPI, PAGE_TABLES)?,
        page_tables: part(PAGE_TABLES, FIRMWARE_LEN)?,
        kernel,
        initrd,
    })
}
