// SPDX-License-Identifier: GPL-2.0

//! Builds identity-mapped page tables: for entering a 64-bit kernel, and for the CPU's switch to
//! long mode before that.
//!
//! The tables map what the 64-bit boot protocol asks for (Documentation/arch/x86/boot.rst: the
//! kernel, `boot_params` and the command line), in 2 MiB pages. They also map the first 2 MiB,
//! where the trampoline runs and where `find_trampoline_placement()` reads the BIOS data area. The
//! kernel maps the rest itself. Format: Intel SDM volume 3, section 5.5 "4-level paging".

use crate::memory::memmap::Range;

/// Size of a table in bytes, and its alignment.
pub const TABLE: usize = 4096;

const ENTRIES: usize = TABLE / 8;
const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
/// In an entry of a page directory: it maps a 2 MiB page.
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const LARGE_PAGE: u64 = 2 << 20;
/// Width of the physical addresses that a kernel can use with 4-level paging: `MAX_PHYSMEM_BITS`
/// (`arch/x86/include/asm/sparsemem.h`), `extract_kernel()` (`arch/x86/boot/compressed/misc.c`).
const ADDRESS_BITS: u32 = 46;

/// Writes page tables that identity-map `ranges` into `tables`, which lie at physical address
/// `tables_at`. The first table is the top-level one.
///
/// Returns [`None`] if `tables` is too small, or if a range ends beyond 46 bits.
pub fn build(tables: &mut [u8], tables_at: u64, ranges: &[Range]) -> Option<()> {
    if tables.len() < TABLE {
        return None;
    }
    tables.fill(0);
    let mut map = Map {
        tables,
        tables_at,
        used: 1,
    };
    for range in ranges {
        if (range.end() - 1) >> ADDRESS_BITS != 0 {
            return None;
        }
        let mut page = range.start() & !(LARGE_PAGE - 1);
        while page < range.end() {
            map.large_page(page)?;
            page += LARGE_PAGE;
        }
    }
    Some(())
}

struct Map<'a> {
    tables: &'a mut [u8],
    tables_at: u64,
    /// The number of tables in use.
    used: usize,
}

impl Map<'_> {
    fn large_page(&mut self, address: u64) -> Option<()> {
        let index = |shift: u32| (address >> shift) as usize % ENTRIES;
        let pdpt = self.descend(0, index(39))?;
        let directory = self.descend(pdpt, index(30))?;
        *self.entry(directory, index(21))? = (address | PRESENT | WRITABLE | LARGE).to_le_bytes();
        Some(())
    }

    /// Returns the number of the table that entry `index` of table `table` points to. Makes that
    /// table if the entry is not present yet.
    fn descend(&mut self, table: usize, index: usize) -> Option<usize> {
        let (next, at) = (self.used, self.tables_at);
        let entry = self.entry(table, index)?;
        let value = u64::from_le_bytes(*entry);
        if value & PRESENT != 0 {
            return Some(((value & ADDRESS) - at) as usize / TABLE);
        }
        *entry = ((at + (next * TABLE) as u64) | PRESENT | WRITABLE).to_le_bytes();
        self.used += 1;
        (self.used * TABLE <= self.tables.len()).then_some(next)
    }

    fn entry(&mut self, table: usize, index: usize) -> Option<&mut [u8; 8]> {
        let bytes = self.tables.get_mut(table * TABLE..)?;
        bytes.get_mut(index * 8..index * 8 + 8)?.try_into().ok()
    }
}
