// SPDX-License-Identifier: GPL-2.0

//! The EFI firmware: its tables, found as a kernel finds them and read as r-efi has them, its
//! memory map, and its runtime services, which are assembled and run. All of it for both widths:
//! r-efi has the structures of the host, those of IA-32 are here.

#[path = "common/image.rs"]
mod image;

use mint_unit::firmware::e820::{self, Kind};
use mint_unit::firmware::efi::{write, Info, Pointers, Width, DESCRIPTOR_LEN, DESCRIPTOR_VERSION};
use mint_unit::firmware::mailbox::{self, Call};
use mint_unit::image::bzimage::parse;
use mint_unit::image::layout::{plan, Layout, Low, PAGE, RANGE_ALIGN};
use mint_unit::memory::memmap::Range;
use r_efi::base::{Guid, Status};
use r_efi::system::*;
use std::arch::asm;
use std::mem::{offset_of, take, transmute};
use std::slice::from_raw_parts_mut;
use std::{fs, path::PathBuf, process::Command};
use vm_memory::MmapRegion;

const WIDTHS: [Width; 2] = [Width::Bits32, Width::Bits64];

fn range(start: u64, len: u64) -> Range {
    Range::new(start, len).unwrap()
}

fn layout(start: u64, len: u64) -> Layout {
    let image = parse(&image::minimal()).unwrap();
    let low = Low::new(range(0x3_0000, PAGE), range(0x3_2000, 0x8000)).unwrap();
    plan(range(start, len), low, &image, 12345, false).unwrap()
}

/// Layouts low in memory, as high as 32 bits reach, and where they do not.
fn layouts() -> [(Layout, Width); 4] {
    [
        (1 << 30, 256 << 20, Width::Bits32),
        ((1 << 32) - (32 << 20), 32 << 20, Width::Bits32),
        (1 << 30, 256 << 20, Width::Bits64),
        (0x123_4560_0000, 1 << 36, Width::Bits64),
    ]
    .map(|(start, len, width)| (layout(start, len), width))
}

fn pointers(layout: &Layout) -> Pointers {
    Pointers {
        rsdp: layout.acpi.start() + 0x70,
        smbios: layout.smbios.start() + 0x30,
    }
}

/// The two pages that are written, and what boot_params would say.
struct Firmware {
    tables: Memory,
    memory_map: Memory,
    info: Info,
}

impl Firmware {
    fn new(layout: &Layout, width: Width) -> Self {
        // Old bytes that must not shine through.
        let mut tables = [0xa5; PAGE as usize];
        let mut memory_map = [0xa5; PAGE as usize];
        let pointers = pointers(layout);
        let info = write(&mut tables, &mut memory_map, layout, &pointers, width).unwrap();
        assert_eq!(info.width, width);
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

#[test]
fn addresses_that_32_bits_do_not_reach_are_refused() {
    let mut pages = [[0; PAGE as usize]; 2];
    let [tables, memory_map] = &mut pages;
    let high = layout(1 << 32, 256 << 20);
    let low = layout(1 << 30, 256 << 20);
    let good = pointers(&low);
    let (rsdp, smbios) = (1 << 32, 1 << 32);
    for (layout, pointers) in [
        (high, good),
        (low, Pointers { rsdp, ..good }),
        (low, Pointers { smbios, ..good }),
    ] {
        assert_eq!(
            write(tables, memory_map, &layout, &pointers, Width::Bits32),
            None
        );
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

/// 4.3, EFI_SYSTEM_TABLE on IA-32.
#[repr(C)]
struct SystemTable32 {
    hdr: TableHeader,
    firmware_vendor: u32,
    firmware_revision: u32,
    console_in_handle: u32,
    con_in: u32,
    console_out_handle: u32,
    con_out: u32,
    standard_error_handle: u32,
    std_err: u32,
    runtime_services: u32,
    boot_services: u32,
    number_of_table_entries: u32,
    configuration_table: u32,
}

/// 4.5, EFI_RUNTIME_SERVICES on IA-32.
#[repr(C)]
struct RuntimeServices32 {
    hdr: TableHeader,
    get_time: u32,
    set_time: u32,
    get_wakeup_time: u32,
    set_wakeup_time: u32,
    set_virtual_address_map: u32,
    convert_pointer: u32,
    get_variable: u32,
    get_next_variable_name: u32,
    set_variable: u32,
    get_next_high_mono_count: u32,
    reset_system: u32,
    update_capsule: u32,
    query_capsule_capabilities: u32,
    query_variable_info: u32,
}

/// 4.6, EFI_CONFIGURATION_TABLE on IA-32.
#[repr(C)]
struct ConfigurationTable32 {
    vendor_guid: Guid,
    vendor_table: u32,
}

/// Where everything is in the tables.
struct Format {
    native: usize,
    system_table: usize,
    firmware_vendor: usize,
    firmware_revision: usize,
    runtime_services: usize,
    number_of_table_entries: usize,
    configuration_table: usize,
    entry: usize,
    vendor_guid: usize,
    vendor_table: usize,
    services: usize,
    /// Where each function is, and what says that it is supported.
    functions: [(usize, u32); 14],
}

macro_rules! format {
    ($native:ty, $system:ty, $configuration:ty, $services:ty) => {
        Format {
            native: size_of::<$native>(),
            system_table: size_of::<$system>(),
            firmware_vendor: offset_of!($system, firmware_vendor),
            firmware_revision: offset_of!($system, firmware_revision),
            runtime_services: offset_of!($system, runtime_services),
            number_of_table_entries: offset_of!($system, number_of_table_entries),
            configuration_table: offset_of!($system, configuration_table),
            entry: size_of::<$configuration>(),
            vendor_guid: offset_of!($configuration, vendor_guid),
            vendor_table: offset_of!($configuration, vendor_table),
            services: size_of::<$services>(),
            functions: [
                (offset_of!($services, get_time), RT_SUPPORTED_GET_TIME),
                (offset_of!($services, set_time), RT_SUPPORTED_SET_TIME),
                (
                    offset_of!($services, get_wakeup_time),
                    RT_SUPPORTED_GET_WAKEUP_TIME,
                ),
                (
                    offset_of!($services, set_wakeup_time),
                    RT_SUPPORTED_SET_WAKEUP_TIME,
                ),
                (
                    offset_of!($services, set_virtual_address_map),
                    RT_SUPPORTED_SET_VIRTUAL_ADDRESS_MAP,
                ),
                (
                    offset_of!($services, convert_pointer),
                    RT_SUPPORTED_CONVERT_POINTER,
                ),
                (
                    offset_of!($services, get_variable),
                    RT_SUPPORTED_GET_VARIABLE,
                ),
                (
                    offset_of!($services, get_next_variable_name),
                    RT_SUPPORTED_GET_NEXT_VARIABLE_NAME,
                ),
                (
                    offset_of!($services, set_variable),
                    RT_SUPPORTED_SET_VARIABLE,
                ),
                (
                    offset_of!($services, get_next_high_mono_count),
                    RT_SUPPORTED_GET_NEXT_HIGH_MONOTONIC_COUNT,
                ),
                (
                    offset_of!($services, reset_system),
                    RT_SUPPORTED_RESET_SYSTEM,
                ),
                (
                    offset_of!($services, update_capsule),
                    RT_SUPPORTED_UPDATE_CAPSULE,
                ),
                (
                    offset_of!($services, query_capsule_capabilities),
                    RT_SUPPORTED_QUERY_CAPSULE_CAPABILITIES,
                ),
                (
                    offset_of!($services, query_variable_info),
                    RT_SUPPORTED_QUERY_VARIABLE_INFO,
                ),
            ],
        }
    };
}

fn format(width: Width) -> Format {
    match width {
        Width::Bits32 => format!(u32, SystemTable32, ConfigurationTable32, RuntimeServices32),
        Width::Bits64 => format!(u64, SystemTable, ConfigurationTable, RuntimeServices),
    }
}

/// What a kernel finds in the tables.
struct Found {
    /// The address of each function, and the flag that belongs to it.
    services: [(u64, u32); 14],
    supported: u64,
}

impl Found {
    fn service(&self, flag: u32) -> u64 {
        let service = self.services.iter().find(|service| service.1 == flag);
        service.unwrap().0
    }
}

/// Reads all that there is in the tables of `layout`, and that there is nothing else.
fn find(firmware: &mut Firmware, layout: &Layout) -> Found {
    let format = format(firmware.info.width);
    let native = format.native;
    let memory = &mut firmware.tables;
    let system_table = firmware.info.system_table;
    assert_eq!(system_table % 8, 0);
    memory.take_header(system_table, SYSTEM_TABLE_SIGNATURE, format.system_table);
    let mut field = |offset, len| memory.take(system_table + offset as u64, len);
    let vendor = field(format.firmware_vendor, native);
    let _revision = field(format.firmware_revision, 4);
    let services = field(format.runtime_services, native);
    let count = field(format.number_of_table_entries, native);
    let entries = field(format.configuration_table, native);

    let vendor = ["M", "i", "n", "t", "\0"].map(|letter| (vendor, letter));
    for (index, (at, letter)) in vendor.into_iter().enumerate() {
        assert_eq!(at % 2, 0);
        let unit = memory.take(at + 2 * index as u64, 2) as u16;
        assert_eq!(String::from_utf16(&[unit]).unwrap(), letter);
    }

    assert_eq!((entries % 8, count), (0, 3));
    let configuration = [0, 1, 2].map(|index| {
        let entry = entries + index * format.entry as u64;
        let guid = memory.get(entry + format.vendor_guid as u64, 16);
        let guid = take(<&mut [u8; 16]>::try_from(guid).unwrap());
        let table = entry + format.vendor_table as u64;
        (guid, memory.take(table, native))
    });
    let table = |guid: Guid| {
        let entry = configuration
            .iter()
            .find(|entry| entry.0 == *guid.as_bytes());
        entry.unwrap().1
    };
    let pointers = pointers(layout);
    assert_eq!(table(ACPI_20_TABLE_GUID), pointers.rsdp);
    assert_eq!(table(SMBIOS3_TABLE_GUID), pointers.smbios);
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
    memory.take_header(services, RUNTIME_SERVICES_SIGNATURE, format.services);
    let services = format
        .functions
        .map(|(offset, flag)| (memory.take(services + offset as u64, native), flag));
    memory.assert_all_taken();
    Found {
        services,
        supported,
    }
}

/// `firmware/efi_runtime.S` or `efi_runtime32.S`, as assembled.
fn assemble(test: &str, width: Width) -> Vec<u8> {
    let (name, source) = match width {
        Width::Bits32 => ("32", "firmware/efi_runtime32.S"),
        Width::Bits64 => ("64", "firmware/efi_runtime.S"),
    };
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(test)
        .join(name);
    fs::create_dir_all(directory.join("linux")).unwrap();
    // What it uses of the kernel's.
    let linkage = "#define SYM_DATA_START(name) .globl name; name:\n\
                   #define SYM_DATA_END_LABEL(name, linkage, label) .globl label; label:\n";
    fs::write(directory.join("linux/linkage.h"), linkage).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../").to_owned() + source;
    for arguments in [
        &["gcc", "-c", "-I.", "-o", "code.o", &source][..],
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

/// A successor's memory with its firmware in it, where the layout says, so that it can be run.
struct Machine {
    memory: MmapRegion,
    layout: Layout,
    width: Width,
}

const ENDBR32: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfb];
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
const CLI: u8 = 0xfa;
/// `1: hlt; jmp 1b`
const REST: [u8; 3] = [0xf4, 0xeb, 0xfd];
const NOP: u8 = 0x90;
const RET: u8 = 0xc3;

/// Of the memory, more than [`RANGE_ALIGN`] longer than the layout.
const MEMORY_LEN: u64 = 16 << 20;

impl Machine {
    fn new(code: &[u8], width: Width) -> Self {
        // MAP_PRIVATE, MAP_ANONYMOUS, and perhaps MAP_32BIT.
        let flags = match width {
            Width::Bits32 => 0x62,
            Width::Bits64 => 0x22,
        };
        // Readable, writable, executable.
        let memory = MmapRegion::build(None, MEMORY_LEN as usize, 7, flags).unwrap();
        let start = (memory.as_ptr() as u64).next_multiple_of(RANGE_ALIGN);
        let layout = layout(start, MEMORY_LEN - RANGE_ALIGN);
        let mut machine = Machine {
            memory,
            layout,
            width,
        };
        let firmware = Firmware::new(&machine.layout, width);
        let Layout { efi, .. } = machine.layout;
        for (at, bytes) in [
            (efi.code, code),
            (efi.tables, &firmware.tables.bytes),
            (efi.memory_map, &firmware.memory_map.bytes),
        ] {
            machine.at(at.start())[..bytes.len()].copy_from_slice(bytes);
        }
        machine
    }

    /// The memory from `address` on.
    fn at(&mut self, address: u64) -> &mut [u8] {
        let start = self.memory.as_ptr();
        // SAFETY: The memory is as long, and lent by `&mut self` alone.
        let bytes = unsafe { from_raw_parts_mut(start, self.memory.size()) };
        &mut bytes[(address - start as u64) as usize..]
    }

    /// All that the firmware's functions may touch.
    fn firmware(&mut self) -> &mut [u8] {
        let len = self.layout.firmware.len() as usize;
        &mut self.at(self.layout.firmware.start())[..len]
    }

    /// What the function at `address` returns for the arguments of SetVirtualAddressMap(), which
    /// the others ignore.
    fn call(&mut self, address: u64, map: &[u8], descriptor_len: usize) -> usize {
        let map_at = self.layout.ram.start();
        self.at(map_at)[..map.len()].copy_from_slice(map);
        self.call_with(
            address,
            [
                map.len() as u64,
                descriptor_len as u64,
                DESCRIPTOR_VERSION.into(),
                map_at,
            ],
        )
    }

    /// What the function at `address` returns, which is not ResetSystem() as it is.
    fn call_with(&mut self, address: u64, arguments: [u64; 4]) -> usize {
        assert_ne!(self.at(address)[4], CLI, "that does not return");
        match self.width {
            Width::Bits32 => self.call_32(address as u32, arguments.map(|n| n as u32)),
            Width::Bits64 => {
                // SAFETY: It is a function of a type like this, which returns.
                let function: unsafe extern "efiapi" fn(u64, u64, u64, u64) -> usize =
                    unsafe { transmute(address as usize) };
                let [a, b, c, d] = arguments;
                // SAFETY: It writes nothing but the machine's memory.
                unsafe { function(a, b, c, d) }
            }
        }
    }

    /// The same in the segments that Linux has for 32-bit programs, on a stack in the memory.
    fn call_32(&mut self, function: u32, arguments: [u32; 4]) -> usize {
        // __USER32_CS, __USER_CS and __USER_DS of arch/x86/include/asm/segment.h.
        const CODE_32: u64 = 0x23;
        const CODE_64: u16 = 0x33;
        const DATA: u32 = 0x2b;
        // To be kept by 2.3.2.
        const KEPT: [u32; 4] = [0x1b1b_1b1b, 0x1515_1515, 0x1d1d_1d1d, 0x1e1e_1e1e];
        const BACK: u32 = 9;

        let end = self.layout.ram.end();
        let thunk = end - PAGE;
        let stack = thunk - 64;
        let mut code = vec![0xff, 0xd0, 0xea]; // call *%eax; ljmp ...
        code.extend((thunk as u32 + BACK).to_le_bytes());
        code.extend(CODE_64.to_le_bytes());
        code.extend([0x41, 0xff, 0xe3]); // jmp *%r11
        self.at(thunk)[..code.len()].copy_from_slice(&code);
        let mut top = Vec::new();
        top.extend(thunk.to_le_bytes());
        top.extend(CODE_32.to_le_bytes());
        for argument in arguments {
            top.extend(argument.to_le_bytes());
        }
        self.at(stack)[..top.len()].copy_from_slice(&top);

        let mut status = u64::from(function);
        let mut kept = [0; 4];
        let stack_behind: u64;
        // SAFETY: The function returns, and writes nothing but the machine's memory, in which the
        // stack is as well. All registers that it or this changes are named or put back.
        unsafe {
            asm!(
                "push rbx",
                "push rbp",
                "mov r12, rsp",
                "mov r13d, ds",
                "mov r14d, es",
                "mov ds, r8d",
                "mov es, r8d",
                "lea r11, [rip + 2f]",
                "mov rsp, r10",
                "mov ebx, {KEPT_B}",
                "mov ebp, {KEPT_P}",
                "mov edi, {KEPT_D}",
                "mov esi, {KEPT_S}",
                "retfq",
                "2:",
                "mov r10, rsp",
                "mov rsp, r12",
                "mov ds, r13d",
                "mov es, r14d",
                "mov r8d, ebx",
                "mov r9d, ebp",
                "pop rbp",
                "pop rbx",
                KEPT_B = const KEPT[0],
                KEPT_P = const KEPT[1],
                KEPT_D = const KEPT[2],
                KEPT_S = const KEPT[3],
                inout("rax") status,
                inout("r8") DATA => kept[0],
                out("r9") kept[1],
                out("edi") kept[2],
                out("esi") kept[3],
                inout("r10") stack => stack_behind,
                out("rcx") _,
                out("rdx") _,
                out("r11") _,
                out("r12") _,
                out("r13") _,
                out("r14") _,
                out("r15") _,
            );
        }
        assert_eq!(kept, KEPT);
        assert_eq!(stack_behind, stack + 16);
        status as u32 as usize
    }

    /// Has ResetSystem() at `address` return where it would rest for ever, and not turn off
    /// interrupts, which user space may not.
    fn make_reset_return(&mut self, address: u64) {
        let start = endbr(self.width);
        let code = self.at(address);
        // Before anything is done.
        assert_eq!((&code[..4], code[4]), (&start[..], CLI));
        code[4] = NOP;
        let end = code.windows(3).position(|bytes| bytes == REST).unwrap();
        code[end] = RET;
    }
}

fn endbr(width: Width) -> [u8; 4] {
    match width {
        Width::Bits32 => ENDBR32,
        Width::Bits64 => ENDBR64,
    }
}

/// r-efi's status, of the host's width, as it is in the other.
fn of_width(status: Status, width: Width) -> usize {
    let code = status.as_usize() & !(1 << 63);
    match width {
        Width::Bits32 => code | (1 << 31),
        Width::Bits64 => code | (1 << 63),
    }
}

#[test]
fn each_service_does_what_the_tables_say() {
    for width in WIDTHS {
        let code = assemble("each_service", width);
        let mut machine = Machine::new(&code, width);
        let layout = machine.layout;
        let mut firmware = Firmware::new(&layout, width);
        let map_len = firmware.info.memory_map.len() as usize;
        let map = firmware.memory_map.bytes[..map_len].to_vec();
        let found = find(&mut firmware, &layout);
        for (address, flag) in found.services {
            assert!(layout.efi.code.contains(&range(address, 1)));
            // A kernel may have indirect branch tracking on.
            assert!(machine.at(address).starts_with(&endbr(width)));
            let supported = match flag {
                // See below.
                RT_SUPPORTED_RESET_SYSTEM => true,
                _ => match machine.call(address, &map, DESCRIPTOR_LEN) {
                    0 => true,
                    status => {
                        assert_eq!(status, of_width(Status::UNSUPPORTED, width));
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
        let known = found
            .services
            .iter()
            .fold(0, |known, (_, flag)| known | flag);
        assert_eq!(found.supported & !u64::from(known), 0);
        let mailbox = &machine.at(layout.mailbox.start())[..PAGE as usize];
        assert!(mailbox.iter().all(|&byte| byte == 0));
    }
}

/// ResetSystem() at `address` for each type; nothing but the word in the mailbox may change.
fn assert_resets(machine: &mut Machine, address: u64) {
    machine.make_reset_return(address);
    for (kind, expected) in [
        (RESET_COLD, Call::Reset),
        (RESET_WARM, Call::ResetAfterPanic),
        (RESET_SHUTDOWN, Call::PowerOff),
        (RESET_PLATFORM_SPECIFIC, Call::Reset),
    ] {
        let before = machine.firmware().to_vec();
        machine.call_with(address, [kind.into(), 0, 0, 0]);
        let mailbox = machine.layout.mailbox.start();
        let word = &mut machine.at(mailbox)[mailbox::RESET..][..4];
        let word = take(<&mut [u8; 4]>::try_from(word).unwrap());
        assert_eq!(
            mailbox::call(0, u32::from_le_bytes(word)),
            Some(expected),
            "{kind}"
        );
        assert!(*machine.firmware() == before, "more than the word changed");
    }
}

#[test]
fn reset_system_leaves_its_type_in_the_mailbox() {
    for width in WIDTHS {
        let mut machine = Machine::new(&assemble("reset_system", width), width);
        let found = find(&mut Firmware::new(&machine.layout, width), &machine.layout);
        assert_resets(&mut machine, found.service(RT_SUPPORTED_RESET_SYSTEM));
    }
}

/// A memory map as a kernel passes it, of descriptors that are longer than they need to be: where
/// each region is, and where it is mapped.
fn virtual_map(regions: &[(Range, u64)], descriptor_len: usize) -> Vec<u8> {
    let descriptors = regions.iter().flat_map(|(physical, virtual_start)| {
        let mut bytes = vec![0; descriptor_len];
        for (offset, value) in [
            (
                offset_of!(MemoryDescriptor, physical_start),
                physical.start(),
            ),
            (offset_of!(MemoryDescriptor, virtual_start), *virtual_start),
            (
                offset_of!(MemoryDescriptor, number_of_pages),
                physical.len() / PAGE,
            ),
            (offset_of!(MemoryDescriptor, attribute), MEMORY_RUNTIME),
        ] {
            bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    });
    descriptors.collect()
}

/// As 32-bit Linux does (`efi_set_virtual_address_map()` in `arch/x86/platform/efi/efi_32.c`).
#[test]
fn a_32_bit_kernel_finds_all_where_it_has_mapped_it() {
    let width = Width::Bits32;
    let code = assemble("virtual", width);
    let format = format(width);
    // The second machine has the memory of the first as that kernel sees it.
    let [mut first, mut second] = [(); 2].map(|()| Machine::new(&code, width));
    let mut firmware = Firmware::new(&first.layout, width);
    let regions: Vec<_> = memory_map(&mut firmware)
        .into_iter()
        .filter(|descriptor| descriptor.attribute & MEMORY_RUNTIME != 0)
        .map(|descriptor| descriptor.range)
        .collect();
    let (from, to) = (first.layout.range().start(), second.layout.range().start());
    let moved = |address: u64| address - from + to;
    let system_table = firmware.info.system_table;
    let mut expected = firmware.tables.bytes.clone();
    let set_virtual_address_map = {
        let found = find(&mut firmware, &first.layout);
        found.service(RT_SUPPORTED_SET_VIRTUAL_ADDRESS_MAP)
    };
    // Regions that end just before the code, and start just behind it.
    let code_at = first.layout.efi.code;
    let before = range(code_at.start() - 3 * PAGE, 3 * PAGE);
    let behind = range(code_at.end(), 9 * PAGE);
    let others = [(before, 0x1_0000), (behind, 0xd000_0000)];
    let mapped: Vec<_> = others
        .into_iter()
        .chain(
            regions
                .into_iter()
                .map(|range| (range, moved(range.start()))),
        )
        .collect();

    let untouched = first.firmware().to_vec();
    let len = DESCRIPTOR_LEN + 8;
    let status = first.call(set_virtual_address_map, &virtual_map(&others, len), len);
    assert_eq!(status, of_width(Status::NO_MAPPING, width));
    assert!(*first.firmware() == untouched);
    let status = first.call(set_virtual_address_map, &virtual_map(&mapped, len), len);
    assert_eq!(status, 0);

    // What the tables must be then: each address of the firmware itself is another.
    let tables = first.layout.efi.tables.start();
    let mut field = |at: u64| {
        let bytes = &mut expected[(at - tables) as usize..][..4];
        let old = u32::from_le_bytes(bytes.try_into().unwrap());
        bytes.copy_from_slice(&(moved(old.into()) as u32).to_le_bytes());
        u64::from(old)
    };
    field(system_table + format.firmware_vendor as u64);
    field(system_table + format.configuration_table as u64);
    let services = field(system_table + format.runtime_services as u64);
    let functions = format
        .functions
        .map(|(offset, flag)| (moved(field(services + offset as u64)), flag));
    assert!(first.at(tables)[..PAGE as usize] == expected[..]);

    // From here on nothing may be done where it was.
    let memory = first.firmware().to_vec();
    second.firmware().copy_from_slice(&memory);
    first.firmware().fill(0);
    for (address, flag) in functions {
        match flag {
            RT_SUPPORTED_SET_VIRTUAL_ADDRESS_MAP => {}
            RT_SUPPORTED_RESET_SYSTEM => assert_resets(&mut second, address),
            _ => assert_eq!(
                second.call(address, &[], len),
                of_width(Status::UNSUPPORTED, width)
            ),
        }
    }
    assert!(first.firmware().iter().all(|&byte| byte == 0));
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
    for (layout, width) in layouts() {
        let mut joined: Vec<(Range, Kind)> = Vec::new();
        for descriptor in memory_map(&mut Firmware::new(&layout, width)) {
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
        let told = e820::map(&layout, &[]).map(|entry| (entry.range, entry.kind));
        assert_eq!(joined, told.collect::<Vec<_>>());
        // The low RAM and the whole range, and nothing else.
        let whole: u64 = joined.iter().map(|(range, _)| range.len()).sum();
        let own = layout.ram.end() - layout.firmware.start();
        assert_eq!(whole, layout.low.ram().len() + own);
    }
}

/// A kernel maps what is marked, and nothing else, when it calls a runtime service.
#[test]
fn what_the_runtime_services_need_is_marked() {
    for (layout, width) in layouts() {
        let map = memory_map(&mut Firmware::new(&layout, width));
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
        let marked: Vec<_> = marked.collect();
        match width {
            // One region, or what is mapped of it would not keep its distance.
            Width::Bits32 => {
                let len = layout.efi.tables.end() - layout.mailbox.start();
                let all = range(layout.mailbox.start(), len);
                assert_eq!(marked, [(all, RUNTIME_SERVICES_CODE)]);
            }
            Width::Bits64 => assert_eq!(
                marked,
                [
                    (layout.mailbox, RUNTIME_SERVICES_DATA),
                    (layout.efi.code, RUNTIME_SERVICES_CODE),
                    (layout.efi.tables, RUNTIME_SERVICES_DATA),
                ]
            ),
        }
    }
}
