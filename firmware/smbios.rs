// SPDX-License-Identifier: GPL-2.0

//! The SMBIOS of a successor: which system it is, and its credentials.
//!
//! It has an entry point, to which the EFI configuration table points (`efi.rs`), and four structures:
//! BIOS information, system information, OEM strings with the credentials if there are any, and the
//! end of the table. Linux reads them in `dmi_scan_machine()` and `dmi_decode()`
//! (`drivers/firmware/dmi_scan.c`).
//!
//! Reference: System Management BIOS Reference Specification 3.0 (DMTF DSP0134).

use crate::firmware::credentials::{self, Credential};

/// The maker of all systems, and of their firmware. Linux treats some systems specially
/// (`dmi_check_system()`), but none that has these names: Documentation/credentials.rst.
const VENDOR: &[u8] = b"Mint";
/// The product name of all systems.
const PRODUCT: &[u8] = b"Successor";
/// The version of the firmware.
const FIRMWARE_VERSION: &[u8] = b"1";

/// 5.2.2: the version of the specification, and of the entry point's format.
const VERSION: [u8; 3] = [3, 0, 0];
const ENTRY_POINT_REVISION: u8 = 1;
/// 5.2.2: the length of the entry point, and the offset of the sum over it.
const ENTRY_POINT_LEN: u8 = 24;
const CHECKSUM: usize = 5;
/// Where the structures begin. The kernel maps this much to read the entry point.
const STRUCTURES: usize = 32;

/// What precedes a credential in an OEM string (smbios-type-11(7) of systemd).
const TEXT_PREFIX: &[u8] = b"io.systemd.credential:";
const BINARY_PREFIX: &[u8] = b"io.systemd.credential.binary:";

// 7, the types of structures.
const BIOS: u8 = 0;
const SYSTEM: u8 = 1;
const OEM_STRINGS: u8 = 11;
const END_OF_TABLE: u8 = 127;
/// 6.1.2: type, length and handle.
const HEADER_LEN: usize = 4;
/// 6.1.3: the number of a string that is not there, and what ends a structure without strings.
const NO_STRING: u8 = 0;
const NO_STRINGS: [u8; 2] = [0; 2];

// 7.1.1: the characteristics are not supported. 7.1.2.2, byte 2: UEFI is supported. The bit for a
// virtual machine is not set.
const NO_CHARACTERISTICS: u64 = 1 << 3;
const UEFI: u8 = 1 << 3;
/// 7.1: there is no such version.
const NO_RELEASE: u8 = 0xff;
/// 7.2.2: it is unknown why the system was powered on.
const WAKE_UP_UNKNOWN: u8 = 2;

/// What a successor is told of itself.
#[derive(Clone, Copy)]
pub struct System<'a> {
    /// The serial number, which must not be empty.
    pub serial_number: &'a [u8],
    /// The UUID, in the order of RFC 9562.
    pub uuid: [u8; 16],
    /// The credentials, a value that [`credentials::check`] has found right.
    pub credentials: &'a [u8],
}

/// Writes the entry point and the structures of `system` into `area`, which is at the physical address
/// `at`. Returns the address of the entry point; [`None`] if something does not fit, or if there are
/// strings that SMBIOS can't have.
pub fn write(area: &mut [u8], at: u64, system: &System<'_>) -> Option<u64> {
    let (entry_point, structures) = area.split_at_mut_checked(STRUCTURES)?;
    let mut table = Table {
        out: Out::new(structures),
        handle: 0,
    };
    table.bios()?;
    table.system(system)?;
    table.oem_strings(system.credentials)?;
    table.begin(END_OF_TABLE, &[])?;
    table.out.put(&NO_STRINGS)?;
    let len = u32::try_from(table.out.len).ok()?;

    // 5.2.2: anchor, checksum, length, version, revision, a reserved byte, the length and the
    // address of the structures.
    let mut out = Out::new(entry_point);
    out.put(b"_SM3_")?;
    out.put(&[0, ENTRY_POINT_LEN])?;
    out.put(&VERSION)?;
    out.put(&[ENTRY_POINT_REVISION, 0])?;
    out.put(&len.to_le_bytes())?;
    out.put(&at.checked_add(STRUCTURES as u64)?.to_le_bytes())?;
    let written = entry_point.get_mut(..ENTRY_POINT_LEN.into())?;
    let sum = written
        .iter()
        .fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    *written.get_mut(CHECKSUM)? = sum.wrapping_neg();
    Some(at)
}

/// Memory that is filled from its start on.
struct Out<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl<'a> Out<'a> {
    fn new(bytes: &'a mut [u8]) -> Self {
        Out { bytes, len: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.bytes.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }
}

/// The structures, as far as they are written.
struct Table<'a> {
    out: Out<'a>,
    /// The handle of the next structure.
    handle: u16,
}

impl Table<'_> {
    /// 7.1: vendor, version, segment (2 bytes), release date, ROM size, characteristics and their
    /// extension (2 bytes), release of the firmware and of the embedded controller (2 bytes each).
    /// There is no date, as Linux decides some things by its year.
    fn bios(&mut self) -> Option<()> {
        let names = [1, 2, 0, 0, NO_STRING, 0];
        let releases = [NO_RELEASE; 4];
        let characteristics = NO_CHARACTERISTICS.to_le_bytes();
        self.begin(BIOS, &[&names, &characteristics, &[0, UEFI], &releases])?;
        self.string(&[VENDOR])?;
        self.string(&[FIRMWARE_VERSION])?;
        self.end()
    }

    /// 7.2: manufacturer, product name, version, serial number, UUID, wake-up type, SKU number,
    /// family. The first three fields of a UUID are in little-endian order (7.2.1).
    fn system(&mut self, system: &System<'_>) -> Option<()> {
        let mut uuid = system.uuid;
        for field in [0..4, 4..6, 6..8] {
            uuid.get_mut(field)?.reverse();
        }
        let names = [1, 2, NO_STRING, 3];
        let rest = [WAKE_UP_UNKNOWN, NO_STRING, NO_STRING];
        self.begin(SYSTEM, &[&names, &uuid, &rest])?;
        self.string(&[VENDOR])?;
        self.string(&[PRODUCT])?;
        self.string(&[system.serial_number])?;
        self.end()
    }

    /// 7.12: the number of strings.
    fn oem_strings(&mut self, text: &[u8]) -> Option<()> {
        let all = credentials::each(text);
        let count = u8::try_from(all.clone().count()).ok()?;
        if count == 0 {
            return Some(());
        }
        self.begin(OEM_STRINGS, &[&[count]])?;
        for Credential {
            is_binary,
            name,
            value,
        } in all
        {
            let prefix = if is_binary {
                BINARY_PREFIX
            } else {
                TEXT_PREFIX
            };
            self.string(&[prefix, name, b"=", value])?;
        }
        self.end()
    }

    /// Begins a structure with these fields.
    fn begin(&mut self, kind: u8, fields: &[&[u8]]) -> Option<()> {
        let len: usize = fields.iter().map(|field| field.len()).sum();
        let len = u8::try_from(HEADER_LEN.checked_add(len)?).ok()?;
        self.out.put(&[kind, len])?;
        self.out.put(&self.handle.to_le_bytes())?;
        self.handle = self.handle.checked_add(1)?;
        fields.iter().try_for_each(|field| self.out.put(field))
    }

    /// Writes a string that consists of `parts`: the next number is its own.
    fn string(&mut self, parts: &[&[u8]]) -> Option<()> {
        let is_empty = parts.iter().all(|part| part.is_empty());
        if is_empty || parts.iter().any(|part| part.contains(&0)) {
            return None;
        }
        parts.iter().try_for_each(|part| self.out.put(part))?;
        self.out.put(&[0])
    }

    /// Ends a structure after its last string (6.1.3).
    fn end(&mut self) -> Option<()> {
        self.out.put(&[0])
    }
}
