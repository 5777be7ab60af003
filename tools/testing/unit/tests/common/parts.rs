// SPDX-License-Identifier: GPL-2.0

//! What the firmware area of a successor consists of.

use mint_unit::image::layout::Layout;
use mint_unit::memory::memmap::Range;

/// The parts of one page each.
pub fn pages(layout: &Layout) -> [Range; 6] {
    [
        layout.boot_params,
        layout.command_line,
        layout.mailbox,
        layout.efi.code,
        layout.efi.tables,
        layout.efi.memory_map,
    ]
}

/// All parts.
pub fn all(layout: &Layout) -> impl Iterator<Item = Range> {
    pages(layout)
        .into_iter()
        .chain([layout.smbios, layout.acpi, layout.page_tables])
}
