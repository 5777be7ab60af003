// SPDX-License-Identifier: GPL-2.0

//! The EFI firmware: its tables, found as a kernel finds them and read as r-efi has them, its
//! memory map, and its runtime services, which are assembled and run.

#[path = "common/image.rs"]
mod image;

use mint_unit::bzimage::parse;
use mint_unit::firmware::e820::{self, Kind};
use mint_unit::firmware::efi::{write, Info, DESCRIPTOR_LEN, DESCRIPTOR_VERSION};
use mint_unit::layout::{plan, Layout, LowSlice, PAGE};
use mint_unit::mailbox::{self, Call};
use mint_unit::memmap::Range;
use r_efi::base::{Guid, Status};
use r_efi::system::*;
use std::mem::{offset_of, take, transmute};
use std::slice::{from_raw_parts, from_raw_parts_mut};
use std::{fs, path::PathBuf, process::Command};
use vm_memory::MmapRegion;

const RSDP: u64 = 0x12_3456_7890;

fn range(start: u64, len: u64) -> Range {
    Range::new(start, len).unwrap()
}

/// A layout low in memory, and one that no 32 bits reach.
fn layouts() -> [Layout; 2] {
    let image = parse(&image::minimal()).unwrap();
    let low = LowSlice::new(range(0x3_0000, 0x1_0000)).unwrap();
    [(1 << 30, 256 << 20), (0x123_4560_0000, 1 << 36)]
        .map(|(start, len)| plan(range(start, len), low, &image, 12345).unwrap())
}

/// The two pages that are written, and what boot_params would say.
struct Firmware {
    tables: Memory,
    memory_map: Memory,
    info: Info,
}

impl Firmware {
    fn new(layout: &Layout) -> Self {
        // Old bytes that must not shine through.
        let mut tables = [0xa5; PAGE as usize];
        let mut memory_map = [0xa5; PAGE as usize];
        let info = write(&mut tables, &mut memory_map, layout, RSDP).unwrap();
        let memory = |range: Range, bytes| Memory {
            at: range.start(),
            bytes,
        };
        Firmware {
            tables: memory(layout.efi.tables, tables.to_vec()),
            memory_map: memory(layout.efi.memory_map, memory_map.to_vec()),
            info,
        }
    }
}

/// Memory that is cleared as it is read, so that what nobody reads is found in the end.
struct Memory {
    at: u64,
    bytes: Vec<u8>,
}

impl Memory {
    fn get(&mut self, address: u64, len: usize) -> &mut [u8] {
        let offset = address.checked_sub(self.at).unwrap() as usize;
        &mut self.bytes[offset..][..len]
    }

    fn take(&mut self, address: u64, len: usize) -> u64 {
        let bytes = self.get(address, len);
        let number = bytes.iter().rev().fold(0, |n, &b| (n << 8) | u64::from(b));
        bytes.fill(0);
        number
    }

    fn assert_all_taken(&self) {
        assert_eq!(self.bytes.iter().position(|&byte| byte != 0), None);
    }

    /// Takes the header of a table, and compares its CRC.
    fn take_header(&mut self, address: u64, signature: u64, len: usize) {
        let mut whole = self.get(address, len).to_vec();
        whole[offset_of!(TableHeader, crc32)..][..4].fill(0);
        let at = |field| address + field as u64;
        for (field, len, expected) in [
            (offset_of!(TableHeader, signature), 8, signature),
            (
                offset_of!(TableHeader, revision),
                4,
                SYSTEM_TABLE_REVISION_2_70.into(),
            ),
            (offset_of!(TableHeader, header_size), 4, len as u64),
            (offset_of!(TableHeader, crc32), 4, crc32(&whole).into()),
            (offset_of!(TableHeader, reserved), 4, 0),
        ] {
            assert_eq!(self.take(at(field), len), expected, "offset {field}");
        }
    }
}

/// The CRC of IEEE 802.3 as the standard has it: a division of polynomials, the lowest bit of each
/// byte first.
fn crc32(bytes: &[u8]) -> u32 {
    let mut rest = 0xffff_ffffu32;
    for byte in bytes {
        for bit in 0..8 {
            let carry = rest >> 31 != u32::from((byte >> bit) & 1);
            rest = (rest << 1) ^ if carry { 0x04c1_1db7 } else { 0 };
        }
    }
    !rest.reverse_bits()
}

#[test]
fn the_crc_to_compare_with_is_right() {
    // "Check" of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

/// By the order of struct RuntimeServices: where each stands, what says that it is supported.
const SERVICES: [(usize, u32); 14] = [
    (offset_of!(RuntimeServices, get_time), RT_SUPPORTED_GET_TIME),
    (offset_of!(RuntimeServices, set_time), RT_SUPPORTED_SET_TIME),
    (
        offset_of!(RuntimeServices, get_wakeup_time),
        RT_SUPPORTED_GET_WAKEUP_TIME,
    ),
    (
        offset_of!(RuntimeServices, set_wakeup_time),
        RT_SUPPORTED_SET_WAKEUP_TIME,
    ),
    (
        offset_of!(RuntimeServices, set_virtual_address_map),
        RT_SUPPORTED_SET_VIRTUAL_ADDRESS_MAP,
    ),
    (
        offset_of!(RuntimeServices, convert_pointer),
        RT_SUPPORTED_CONVERT_POINTER,
    ),
    (
        offset_of!(RuntimeServices, get_variable),
        RT_SUPPORTED_GET_VARIABLE,
    ),
    (
        offset_of!(RuntimeServices, get_next_variable_name),
        RT_SUPPORTED_GET_NEXT_VARIABLE_NAME,
    ),
    (
        offset_of!(RuntimeServices, set_variable),
        RT_SUPPORTED_SET_VARIABLE,
    ),
    (
        offset_of!(RuntimeServices, get_next_high_mono_count),
        RT_SUPPORTED_GET_NEXT_HIGH_MONOTONIC_COUNT,
    ),
    (
        offset_of!(RuntimeServices, reset_system),
        RT_SUPPORTED_RESET_SYSTEM,
    ),
    (
        offset_of!(RuntimeServices, update_capsule),
        RT_SUPPORTED_UPDATE_CAPSULE,
    ),
    (
        offset_of!(RuntimeServices, query_capsule_capabilities),
        RT_SUPPORTED_QUERY_CAPSULE_CAPABILITIES,
    ),
    (
        offset_of!(RuntimeServices, query_variable_info),
        RT_SUPPORTED_QUERY_VARIABLE_INFO,
    ),
];

/// What a kernel finds in the tables.
struct Found {
    /// By [`SERVICES`].
    services: [u64; SERVICES.len()],
    supported: u64,
}

/// Reads all that there is in the tables, and that there is nothing else.
fn find(firmware: &mut Firmware) -> Found {
    let memory = &mut firmware.tables;
    let system_table = firmware.info.system_table;
    assert_eq!(system_table % 8, 0);
    memory.take_header(
        system_table,
        SYSTEM_TABLE_SIGNATURE,
        size_of::<SystemTable>(),
    );
    let mut field = |offset, len| memory.take(system_table + offset as u64, len);
    let vendor = field(offset_of!(SystemTable, firmware_vendor), 8);
    let _revision = field(offset_of!(SystemTable, firmware_revision), 4);
    let services = field(offset_of!(SystemTable, runtime_services), 8);
    let count = field(offset_of!(SystemTable, number_of_table_entries), 8);
    let entries = field(offset_of!(SystemTable, configuration_table), 8);

    let vendor = ["M", "i", "n", "t", "\0"].map(|letter| (vendor, letter));
    for (index, (at, letter)) in vendor.into_iter().enumerate() {
        assert_eq!(at % 2, 0);
        let unit = memory.take(at + 2 * index as u64, 2) as u16;
        assert_eq!(String::from_utf16(&[unit]).unwrap(), letter);
    }

    assert_eq!((entries % 8, count), (0, 2));
    let configuration = [0, 1].map(|index| {
        let entry = entries + index * size_of::<ConfigurationTable>() as u64;
        let guid = memory.get(
            entry + offset_of!(ConfigurationTable, vendor_guid) as u64,
            16,
        );
        let guid = take(<&mut [u8; 16]>::try_from(guid).unwrap());
        let table = entry + offset_of!(ConfigurationTable, vendor_table) as u64;
        (guid, memory.take(table, 8))
    });
    let table = |guid: Guid| {
        let entry = configuration
            .iter()
            .find(|entry| entry.0 == *guid.as_bytes());
        entry.unwrap().1
    };
    assert_eq!(table(ACPI_20_TABLE_GUID), RSDP);
    let properties = table(RT_PROPERTIES_TABLE_GUID);
    assert_eq!(properties % 4, 0);
    let mut field = |offset, len| memory.take(properties + offset as u64, len);
    assert_eq!(
        field(offset_of!(RtPropertiesTable, version), 2),
        u64::from(RT_PROPERTIES_TABLE_VERSION)
    );
    assert_eq!(
        field(offset_of!(RtPropertiesTable, length), 2),
        size_of::<RtPropertiesTable>() as u64
    );
    let supported = field(offset_of!(RtPropertiesTable, runtime_services_supported), 4);

    assert_eq!(services % 8, 0);
    memory.take_header(
        services,
        RUNTIME_SERVICES_SIGNATURE,
        size_of::<RuntimeServices>(),
    );
    let services = SERVICES.map(|(offset, _)| memory.take(services + offset as u64, 8));
    memory.assert_all_taken();
    Found {
        services,
        supported,
    }
}

/// `efi_runtime.S`, as assembled.
fn assemble(test: &str) -> Vec<u8> {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(directory.join("linux")).unwrap();
    // What it uses of the kernel's.
    let linkage = "#define SYM_DATA_START(name) .globl name; name:\n\
                   #define SYM_DATA_END_LABEL(name, linkage, label) .globl label; label:\n";
    fs::write(directory.join("linux/linkage.h"), linkage).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../efi_runtime.S");
    for arguments in [
        &["gcc", "-c", "-I.", "-o", "code.o", source][..],
        &["objcopy", "-O", "binary", "-j", ".rodata", "code.o", "code"],
    ] {
        let status = Command::new(arguments[0])
            .args(&arguments[1..])
            .current_dir(&directory)
            .status()
            .expect("gcc and objcopy must be there: run by scripts/in-root");
        assert!(status.success(), "{arguments:?}");
    }
    fs::read(directory.join("code")).unwrap()
}

/// The mailbox and what is behind it, up to the end of the code, where it can be run.
struct Machine<'a> {
    memory: MmapRegion,
    layout: &'a Layout,
}

const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
const CLI: u8 = 0xfa;
/// `1: hlt; jmp 1b`
const REST: [u8; 3] = [0xf4, 0xeb, 0xfd];
const NOP: u8 = 0x90;
const RET: u8 = 0xc3;

impl<'a> Machine<'a> {
    fn new(layout: &'a Layout, code: &[u8]) -> Self {
        let whole = layout.efi.code.end() - layout.mailbox.start();
        // Readable, writable, executable; private, anonymous.
        let memory = MmapRegion::build(None, whole as usize, 7, 0x22).unwrap();
        let mut machine = Machine { memory, layout };
        let start = machine.offset(layout.efi.code.start());
        machine.bytes_mut()[start..][..code.len()].copy_from_slice(code);
        machine
    }

    fn offset(&self, address: u64) -> usize {
        (address - self.layout.mailbox.start()) as usize
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: The memory is as long, and only changed through `&mut self`.
        unsafe { from_raw_parts(self.memory.as_ptr(), self.memory.size()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: As above.
        unsafe { from_raw_parts_mut(self.memory.as_ptr(), self.memory.size()) }
    }

    /// What the function at `address` returns.
    fn call(&mut self, address: u64, argument: u32) -> usize {
        let code = &self.bytes()[self.offset(address)..];
        assert_ne!(code[4], CLI, "that is ResetSystem()");
        // SAFETY: It is a function of this type, which returns.
        let function: unsafe extern "efiapi" fn(u32) -> usize = unsafe { transmute(code.as_ptr()) };
        // SAFETY: It writes nothing but the mailbox.
        unsafe { function(argument) }
    }

    /// Has ResetSystem() at `address` return where it would rest for ever, and not turn off
    /// interrupts, which user space may not.
    fn make_reset_return(&mut self, address: u64) {
        let start = self.offset(address);
        let code = &mut self.bytes_mut()[start..];
        // Before anything is done.
        assert_eq!((&code[..4], code[4]), (&ENDBR64[..], CLI));
        code[4] = NOP;
        let end = code.windows(3).position(|bytes| bytes == REST).unwrap();
        code[end] = RET;
    }
}

#[test]
fn each_service_does_what_the_tables_say() {
    let code = assemble("each_service");
    for layout in layouts() {
        let found = find(&mut Firmware::new(&layout));
        let mut machine = Machine::new(&layout, &code);
        for ((_, flag), address) in SERVICES.into_iter().zip(found.services) {
            assert!(layout.efi.code.contains(&range(address, 1)));
            // A kernel may have indirect branch tracking on.
            assert!(machine.bytes()[machine.offset(address)..].starts_with(&ENDBR64));
            let supported = match flag {
                // See below.
                RT_SUPPORTED_RESET_SYSTEM => true,
                _ => match machine.call(address, 0) {
                    0 => true,
                    status => {
                        assert_eq!(status, Status::UNSUPPORTED.as_usize());
                        false
                    }
                },
            };
            assert_eq!(
                found.supported & u64::from(flag) != 0,
                supported,
                "{flag:#x}"
            );
        }
        // No kernel calls anything without this one.
        assert!(found.supported & u64::from(RT_SUPPORTED_SET_VIRTUAL_ADDRESS_MAP) != 0);
        let known = SERVICES.iter().fold(0, |known, (_, flag)| known | flag);
        assert_eq!(found.supported & !u64::from(known), 0);
        let mailbox = &machine.bytes()[..PAGE as usize];
        assert!(mailbox.iter().all(|&byte| byte == 0));
    }
}

#[test]
fn reset_system_leaves_its_type_in_the_mailbox() {
    let code = assemble("reset_system");
    for layout in layouts() {
        let found = find(&mut Firmware::new(&layout));
        let (_, address) = SERVICES
            .into_iter()
            .zip(found.services)
            .find(|((_, flag), _)| *flag == RT_SUPPORTED_RESET_SYSTEM)
            .unwrap();
        for (kind, expected) in [
            (RESET_COLD, Call::Reset),
            (RESET_WARM, Call::ResetAfterPanic),
            (RESET_SHUTDOWN, Call::PowerOff),
            (RESET_PLATFORM_SPECIFIC, Call::Reset),
        ] {
            let mut machine = Machine::new(&layout, &code);
            machine.make_reset_return(address);
            let before = machine.bytes().to_vec();
            machine.call(address, kind);
            let word = &mut machine.bytes_mut()[mailbox::RESET..][..4];
            let word = take(<&mut [u8; 4]>::try_from(word).unwrap());
            assert_eq!(
                mailbox::call(0, u32::from_le_bytes(word)),
                Some(expected),
                "{kind}"
            );
            assert!(machine.bytes() == before, "more than the word was written");
        }
    }
}

/// A descriptor of the memory map.
#[derive(Clone, Copy, Debug)]
struct Descriptor {
    range: Range,
    kind: MemoryType,
    attribute: u64,
}

/// Reads the memory map, and that there is nothing else in the page.
fn memory_map(firmware: &mut Firmware) -> Vec<Descriptor> {
    let len = size_of::<MemoryDescriptor>() as u64;
    assert_eq!(DESCRIPTOR_LEN as u64, len);
    assert_eq!(DESCRIPTOR_VERSION, MEMORY_DESCRIPTOR_VERSION);
    let (memory, map) = (&mut firmware.memory_map, firmware.info.memory_map);
    assert_eq!((map.start(), map.len() % len), (memory.at, 0));
    let descriptors = (map.start()..map.end())
        .step_by(len as usize)
        .map(|at| {
            let mut field = |offset, len| memory.take(at + offset as u64, len);
            let start = field(offset_of!(MemoryDescriptor, physical_start), 8);
            let pages = field(offset_of!(MemoryDescriptor, number_of_pages), 8);
            assert_eq!(start % PAGE, 0);
            Descriptor {
                range: range(start, pages * PAGE),
                kind: field(offset_of!(MemoryDescriptor, r#type), 4) as MemoryType,
                attribute: field(offset_of!(MemoryDescriptor, attribute), 8),
            }
        })
        .collect();
    memory.assert_all_taken();
    descriptors
}

/// Without gaps, overlaps and disorder, or the ranges that follow each other would not be joined.
#[test]
fn the_memory_map_is_that_of_e820() {
    for layout in layouts() {
        let mut joined: Vec<(Range, Kind)> = Vec::new();
        for descriptor in memory_map(&mut Firmware::new(&layout)) {
            let next = descriptor.range;
            let kind = match descriptor.kind {
                CONVENTIONAL_MEMORY => Kind::Ram,
                ACPI_RECLAIM_MEMORY | RUNTIME_SERVICES_CODE | RUNTIME_SERVICES_DATA => Kind::Acpi,
                other => panic!("type {other}"),
            };
            match joined.last_mut() {
                Some((last, last_kind)) if last.end() == next.start() && *last_kind == kind => {
                    *last = range(last.start(), last.len() + next.len());
                }
                _ => joined.push((next, kind)),
            }
        }
        let told = e820::map(&layout).map(|entry| (entry.range, entry.kind));
        assert_eq!(joined, told);
        // The low RAM and the whole range, and nothing else.
        let whole: u64 = joined.iter().map(|(range, _)| range.len()).sum();
        let own = layout.ram.end() - layout.firmware.start();
        assert_eq!(whole, layout.low.ram().len() + own);
    }
}

/// A kernel maps what is marked, and nothing else, when it calls a runtime service.
#[test]
fn what_the_runtime_services_need_is_marked() {
    for layout in layouts() {
        let map = memory_map(&mut Firmware::new(&layout));
        for descriptor in &map {
            let runtime = match descriptor.kind {
                RUNTIME_SERVICES_CODE | RUNTIME_SERVICES_DATA => MEMORY_RUNTIME,
                _ => 0,
            };
            assert_eq!(descriptor.attribute, MEMORY_WB | runtime);
        }
        let marked = map
            .iter()
            .filter(|descriptor| descriptor.attribute & MEMORY_RUNTIME != 0)
            .map(|descriptor| (descriptor.range, descriptor.kind));
        assert_eq!(
            marked.collect::<Vec<_>>(),
            [
                (layout.mailbox, RUNTIME_SERVICES_DATA),
                (layout.efi.code, RUNTIME_SERVICES_CODE),
                (layout.efi.tables, RUNTIME_SERVICES_DATA),
            ]
        );
    }
}
