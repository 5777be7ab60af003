// SPDX-License-Identifier: GPL-2.0

//! Translates a kernel's virtual addresses by its own page tables.
//!
//! Reference: Intel SDM volume 3, chapter 5 "Paging"; Documentation/arch/x86/x86_64/mm.rst for the
//! kernel's half of the address space.

use super::{
    number,
    vmcoreinfo::{self, Architecture, VmcoreInfo},
    PhysicalMemory, PAGE,
};
use core::fmt;

const PRESENT: u64 = 1 << 0;
/// In an entry above the last level: it maps a large page.
const LARGE: u64 = 1 << 7;
/// The address in an entry, or in CR3; other bits are flags.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// `__START_KERNEL_map`: the virtual address at which x86-64 maps the kernel image.
const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// The values of `PAGE_OFFSET` on i386, one for each choice of `CONFIG_VMSPLIT_*`
/// (arch/x86/Kconfig).
const PAGE_OFFSETS_32: [u64; 5] = [
    0xc000_0000,
    0xb000_0000,
    0x8000_0000,
    0x7800_0000,
    0x4000_0000,
];
/// The direct map starts at a multiple of this (`PUD_MASK` in `kernel_randomize_memory()`).
const PAGE_OFFSET_ALIGN: u64 = 1 << 30;
/// The maximum number of entries to read to find the first mapped page of the kernel's half: half
/// of the top-level table, and one table of each level below.
const PROBES_MAX: usize = 256 + 4 * 512;

/// Why an address can't be translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// VMCOREINFO lacks the address of the page tables.
    Info(vmcoreinfo::Error),
    /// Memory is encrypted (SME), with this mask of address bits.
    Encrypted(i64),
    /// At the address from VMCOREINFO, there are no page tables that map themselves.
    NoTables {
        /// The virtual address of the top-level table.
        address: u64,
    },
    /// The virtual address is not canonical.
    NotCanonical(u64),
    /// Nothing is mapped at this virtual address.
    NotMapped(u64),
    /// This physical address is not in the OS's memory.
    Outside(u64),
}

impl From<vmcoreinfo::Error> for Error {
    fn from(error: vmcoreinfo::Error) -> Self {
        Error::Info(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Info(error) => error.fmt(f),
            Error::Encrypted(mask) => write!(f, "memory is encrypted (SME mask {mask:#x})"),
            Error::NoTables { address } => {
                write!(f, "no page tables at {address:#x}, as VMCOREINFO has it")
            }
            Error::NotCanonical(address) => write!(f, "{address:#x} is not an address"),
            Error::NotMapped(address) => write!(f, "nothing is mapped at {address:#x}"),
            Error::Outside(address) => {
                write!(f, "physical address {address:#x} is not the OS's memory")
            }
        }
    }
}

/// The format of page tables.
#[derive(Clone, Copy, Debug)]
struct Format {
    /// Size of an entry in bytes.
    entry_len: usize,
    /// The number of address bits that select an entry of a table, on each level.
    index_bits: u32,
    /// The number of levels.
    levels: u32,
    /// The highest level that can map large pages. The lowest level is 0, which maps pages of 4 KiB
    /// (12 bits).
    large_levels: u32,
    /// The width of virtual addresses. The bits above, if any, repeat the highest bit.
    address_bits: u32,
}

impl Format {
    const FIVE_LEVELS: Format = Format {
        entry_len: 8,
        index_bits: 9,
        levels: 5,
        large_levels: 2,
        address_bits: 57,
    };
    const FOUR_LEVELS: Format = Format {
        levels: 4,
        address_bits: 48,
        ..Self::FIVE_LEVELS
    };
    const PAE: Format = Format {
        levels: 3,
        large_levels: 1,
        address_bits: 32,
        ..Self::FIVE_LEVELS
    };
    const TWO_LEVELS: Format = Format {
        entry_len: 4,
        index_bits: 10,
        levels: 2,
        large_levels: 1,
        address_bits: 32,
    };

    /// Returns whether `address` is canonical.
    fn is_canonical(&self, address: u64) -> bool {
        let high = address >> (self.address_bits - 1);
        match self.address_bits {
            32 => high <= 1,
            bits => high == 0 || high == u64::MAX >> (bits - 1),
        }
    }

    /// Returns the number of address bits within the range that one entry of `level` maps.
    fn page_bits(&self, level: u32) -> u32 {
        12 + level * self.index_bits
    }
}

/// The result of a page table walk.
enum Walk {
    /// A mapped page; this is the physical address that the virtual address maps to.
    Page(u64),
    /// A non-present entry on this level.
    Hole(u32),
}

/// The kernel's half of the virtual address space, as its own page tables map it.
#[derive(Clone, Copy, Debug)]
pub struct AddressSpace {
    format: Format,
    /// The physical address of the top-level table.
    root: u64,
    /// `PAGE_OFFSET`, if it is not randomized.
    fixed_page_offset: Option<u64>,
}

impl AddressSpace {
    /// Finds the page tables of the kernel that `info` belongs to, and checks that they map
    /// themselves.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn new(mem: &mut dyn PhysicalMemory, info: &VmcoreInfo<'_>) -> Result<Self, Error> {
        match info.architecture()? {
            Architecture::X86_64 => Self::new_64(mem, info),
            Architecture::I386 { pae } => Self::new_32(mem, info, pae),
        }
    }

    fn new_64(mem: &mut dyn PhysicalMemory, info: &VmcoreInfo<'_>) -> Result<Self, Error> {
        match info.number("sme_mask") {
            Ok(0) | Err(vmcoreinfo::Error::Missing(..)) => {}
            Ok(mask) => return Err(Error::Encrypted(mask)),
            Err(error) => return Err(error.into()),
        }
        let format = match info.number("pgtable_l5_enabled")? {
            0 => Format::FOUR_LEVELS,
            _ => Format::FIVE_LEVELS,
        };
        let address = info.symbol("init_top_pgt")?;
        let no_tables = Error::NoTables { address };
        let root = address
            .checked_sub(START_KERNEL_MAP)
            .and_then(|offset| offset.checked_add_signed(info.number("phys_base").ok()?))
            .ok_or(no_tables)?;
        let space = AddressSpace {
            format,
            root,
            fixed_page_offset: None,
        };
        space
            .maps_itself(mem, address)
            .then_some(space)
            .ok_or(no_tables)
    }

    fn new_32(
        mem: &mut dyn PhysicalMemory,
        info: &VmcoreInfo<'_>,
        pae: bool,
    ) -> Result<Self, Error> {
        let address = info.symbol("swapper_pg_dir")?;
        // The kernel image lies in the direct map, but VMCOREINFO lacks the start of that.
        for page_offset in PAGE_OFFSETS_32 {
            let Some(root) = address.checked_sub(page_offset) else {
                continue;
            };
            let space = AddressSpace {
                format: if pae { Format::PAE } else { Format::TWO_LEVELS },
                root,
                fixed_page_offset: Some(page_offset),
            };
            if space.maps_itself(mem, address) {
                return Ok(space);
            }
        }
        Err(Error::NoTables { address })
    }

    fn maps_itself(&self, mem: &mut dyn PhysicalMemory, address: u64) -> bool {
        self.root & !ADDRESS == 0 && self.translate(mem, address) == Ok(self.root)
    }

    /// Translates a virtual address to a physical one.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn translate(&self, mem: &mut dyn PhysicalMemory, address: u64) -> Result<u64, Error> {
        match self.walk(mem, address)? {
            Walk::Page(physical) => Ok(physical),
            Walk::Hole(_) => Err(Error::NotMapped(address)),
        }
    }

    fn walk(&self, mem: &mut dyn PhysicalMemory, address: u64) -> Result<Walk, Error> {
        let format = &self.format;
        if !format.is_canonical(address) {
            return Err(Error::NotCanonical(address));
        }
        let mut at = self.root;
        for level in (0..format.levels).rev() {
            let page_bits = format.page_bits(level);
            let index = (address >> page_bits) & ((1 << format.index_bits) - 1);
            // Can't overflow: `at` is below 2^52, and the offset is less than a page.
            let entry_at = at + index * format.entry_len as u64;
            let mut bytes = [0; 8];
            let bytes = &mut bytes[..format.entry_len];
            mem.read(entry_at, bytes).ok_or(Error::Outside(entry_at))?;
            let entry = number(bytes);
            if entry & PRESENT == 0 {
                return Ok(Walk::Hole(level));
            }
            let is_large = entry & LARGE != 0 && (1..=format.large_levels).contains(&level);
            if level == 0 || is_large {
                let offset = (1 << page_bits) - 1;
                return Ok(Walk::Page((entry & ADDRESS & !offset) | (address & offset)));
            }
            at = entry & ADDRESS;
        }
        Err(Error::NotMapped(address))
    }

    /// Copies the bytes at virtual `address` to `out`.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn read(
        &self,
        mem: &mut dyn PhysicalMemory,
        address: u64,
        out: &mut [u8],
    ) -> Result<(), Error> {
        let mut address = address;
        let mut out = out;
        // Each iteration copies at least one byte, and all but the first and last copy a page.
        while !out.is_empty() {
            let physical = self.translate(mem, address)?;
            let in_page = (PAGE - address % PAGE).min(out.len() as u64);
            let (now, later) = out.split_at_mut(in_page as usize);
            mem.read(physical, now).ok_or(Error::Outside(physical))?;
            out = later;
            address = address.wrapping_add(in_page);
        }
        Ok(())
    }

    /// Returns the virtual address of the direct map of all physical memory (`PAGE_OFFSET`), if it
    /// can be found.
    ///
    /// On x86-64 with `CONFIG_RANDOMIZE_MEMORY` this address changes at each boot, and VMCOREINFO
    /// lacks it. But the kernel's own page tables map nothing below the direct map (mm.rst; the LDT
    /// is mapped for processes only). So the first mapped page belongs to the direct map.
    pub fn page_offset(&self, mem: &mut dyn PhysicalMemory) -> Option<u64> {
        if self.fixed_page_offset.is_some() {
            return self.fixed_page_offset;
        }
        let mut address = u64::MAX << (self.format.address_bits - 1);
        for _ in 0..PROBES_MAX {
            match self.walk(mem, address).ok()? {
                Walk::Page(physical) => {
                    let page_offset = address.checked_sub(physical)?;
                    let in_direct_map = page_offset.checked_add(self.root)?;
                    let is_direct_map = page_offset % PAGE_OFFSET_ALIGN == 0
                        && self.translate(mem, in_direct_map) == Ok(self.root);
                    return is_direct_map.then_some(page_offset);
                }
                Walk::Hole(level) => {
                    let hole = 1 << self.format.page_bits(level);
                    address = (address & !(hole - 1)).checked_add(hole)?;
                }
            }
        }
        None
    }
}
