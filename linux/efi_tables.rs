// SPDX-License-Identifier: GPL-2.0

//! EFI tables that the first OS goes on reading where the firmware has put them.
//!
//! They may lie in memory that is RAM by the firmware's e820 map, since it is free once the firmware
//! has handed over. `efi_mem_reserve()` (`drivers/firmware/efi/efi.c`) keeps the kernel from using it,
//! and makes a descriptor of its own for it in the EFI memory map. The descriptor alone does not tell
//! such memory: `efi_reserve_boot_services()` (`arch/x86/platform/efi/quirks.c`) marks what `memmap=`
//! took in the same way.

use crate::{linux::kernel_mount::KernelMount, memory::memmap::Range};
use kernel::prelude::*;

/// Where they lie.
///
/// # Errors
///
/// `ENOMEM`; those of reading what the kernel tells of the firmware.
#[cfg(CONFIG_EFI)]
pub(crate) fn kept() -> Result<KVec<Range>> {
    let mut addresses = efi::tables()?;
    if let Some(logo) = efi::logo() {
        addresses.push(logo, GFP_KERNEL)?;
    }
    let mut kept = KVec::new();
    for address in addresses {
        if let Some(range) = efi::runtime_memory(address) {
            kept.push(range, GFP_KERNEL)?;
        }
    }
    Ok(kept)
}

#[cfg(not(CONFIG_EFI))]
pub(crate) fn kept() -> Result<KVec<Range>> {
    Ok(KVec::new())
}

#[cfg(CONFIG_EFI)]
mod efi {
    use super::*;
    use crate::{linux::phys_memory::Mapping, memory::kernel_params::memparse};
    use kernel::bindings;

    /// `efi_memory_desc_t` of `include/linux/efi.h`.
    #[repr(C)]
    #[derive(Default)]
    struct Descriptor {
        kind: u32,
        _pad: u32,
        start: u64,
        _virtual_start: u64,
        pages: u64,
        attributes: u64,
    }

    const EFI_MEMORY_RUNTIME: u64 = 1 << 63;
    const EFI_PAGE_SHIFT: u32 = 12;

    // include/linux/efi.h
    extern "C" {
        fn efi_mem_desc_lookup(address: u64, descriptor: *mut Descriptor) -> c_int;
    }

    /// GUIDs as they are in memory, of the tables for which the kernel calls `efi_mem_reserve()`:
    /// EFI_SYSTEM_RESOURCE_TABLE_GUID and LINUX_EFI_MOK_VARIABLE_TABLE_GUID.
    const KEPT: [[u8; 16]; 2] = [
        0x8021d6b0_f8782999_4f683661_b122a263_u128.to_le_bytes(),
        0x89a38889_9fedbaba_45d39694_c451ed2b_u128.to_le_bytes(),
    ];

    /// The part of the EFI memory map with `address`, if its memory is in use as long as the machine
    /// runs.
    pub(super) fn runtime_memory(address: u64) -> Option<Range> {
        let mut found = Descriptor::default();
        // SAFETY: It copies one descriptor there, whose layout is that of the kernel.
        let error = unsafe { efi_mem_desc_lookup(address, &mut found) };
        if error != 0 || found.attributes & EFI_MEMORY_RUNTIME == 0 {
            return None;
        }
        Range::new(found.start, found.pages.checked_mul(1 << EFI_PAGE_SHIFT)?)
    }

    /// The address of the image that the firmware showed (ACPI table BGRT).
    pub(super) fn logo() -> Option<u64> {
        let mut table = core::ptr::null_mut();
        // SAFETY: The name is a C string that is only read; the table is there until it is put.
        unsafe {
            if bindings::acpi_get_table(c"BGRT".as_char_ptr().cast_mut(), 1, &mut table) != 0 {
                return None;
            }
            let bgrt = table.cast::<bindings::acpi_table_bgrt>();
            let is_whole = (*table).length as usize >= size_of_val(&*bgrt);
            let address = is_whole.then(|| (*bgrt).image_address);
            bindings::acpi_put_table(table);
            address
        }
    }

    /// The addresses of those in the firmware's list of tables; none if it is not an EFI firmware.
    pub(super) fn tables() -> Result<KVec<u64>> {
        let mut found = KVec::new();
        let mut buffer = [0; 32];
        let sysfs = KernelMount::sysfs()?;
        let list = match sysfs.read_text(c"firmware/efi/config_table", &mut buffer) {
            Err(error) if error == ENOENT => return Ok(found),
            list => memparse(list?).ok_or(EINVAL)?.0,
        };
        let pointer = match sysfs.read_text(c"firmware/efi/fw_platform_size", &mut buffer)? {
            "32" => 4,
            _ => 8,
        };
        // The list is in memory that runtime services use. The kernel does not tell its length, and
        // nothing else begins with one of these GUIDs.
        let Some(memory) = runtime_memory(list) else {
            return Ok(found);
        };
        let within =
            Range::from_to(list, memory.end().min(list.saturating_add(4096))).ok_or(EINVAL)?;
        // SAFETY: The first OS reserves it and does not write it; the firmware wrote it before.
        let mut mapping = unsafe { Mapping::new(within)? };
        for entry in mapping.bytes().chunks_exact(16 + pointer) {
            let (guid, address) = entry.split_at(16);
            if KEPT.iter().any(|kept| kept == guid) {
                let mut bytes = [0; 8];
                bytes[..pointer].copy_from_slice(address);
                found.push(u64::from_le_bytes(bytes), GFP_KERNEL)?;
            }
        }
        Ok(found)
    }
}
