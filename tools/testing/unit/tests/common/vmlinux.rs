// SPDX-License-Identifier: GPL-2.0

//! A vmlinux that is as small as one can be.

/// Where the entry is in the ELF header.
pub const ENTRY: usize = 24;
/// Where the first program header is.
pub const PROGRAM_HEADERS: usize = 64;
/// The length of each.
pub const PROGRAM_HEADER_LEN: usize = 56;
/// What all numbers are counted from: 16 MiB, where Linux is linked to.
pub const BASE: u64 = 0x100_0000;
/// `__START_KERNEL_map`.
pub const MAP: u64 = 0xffff_ffff_8000_0000;

/// How each kernel introduces itself (init/version-timestamp.c).
pub const BANNER: &[u8] = b"Linux version 6.12.99-test (";

/// A program header; the numbers are as in the System V ABI, "Program Header".
#[derive(Clone, Copy)]
pub struct Segment {
    pub kind: u32,
    pub offset: u64,
    pub vaddr: u64,
    pub paddr: u64,
    pub filesz: u64,
    pub memsz: u64,
}

impl Segment {
    /// One that is loaded `from` the base on, where it is linked to as well.
    pub fn load(offset: u64, from: u64, filesz: u64, memsz: u64) -> Self {
        Segment {
            kind: 1,
            offset,
            vaddr: MAP + BASE + from,
            paddr: BASE + from,
            filesz,
            memsz,
        }
    }
}

/// A vmlinux like that of 6.12, but for its sizes: text, data, the CPUs' own data, which is linked to
/// 0, what is needed at the start, behind which is the bss, and a note.
pub const SEGMENTS: [Segment; 5] = [
    Segment {
        kind: 1,
        offset: 0x200,
        vaddr: MAP + BASE,
        paddr: BASE,
        filesz: 0x123,
        memsz: 0x123,
    },
    Segment {
        kind: 1,
        offset: 0x400,
        vaddr: MAP + BASE + 0x1000,
        paddr: BASE + 0x1000,
        filesz: 0x80,
        memsz: 0x80,
    },
    Segment {
        kind: 1,
        offset: 0x480,
        vaddr: 0,
        paddr: BASE + 0x1080,
        filesz: 0x40,
        memsz: 0x40,
    },
    Segment {
        kind: 1,
        offset: 0x500,
        vaddr: MAP + BASE + 0x2000,
        paddr: BASE + 0x2000,
        filesz: 0x100,
        memsz: 0x1800,
    },
    Segment {
        kind: 4,
        offset: 0x2e0,
        vaddr: MAP + BASE + 0xe0,
        paddr: BASE + 0xe0,
        filesz: 0x40,
        memsz: 0x40,
    },
];

/// The file with these `segments`, entered at physical address `entry`. What they have of it is
/// no text, but for the banner, where the lowest one starts.
pub fn vmlinux(segments: &[Segment], entry: u64) -> Vec<u8> {
    let mut file = vec![0; PROGRAM_HEADERS + PROGRAM_HEADER_LEN * segments.len()];
    for (offset, bytes) in [
        (0, &b"\x7fELF\x02\x01\x01"[..]), // ELFCLASS64, ELFDATA2LSB, EV_CURRENT
        (16, &2u16.to_le_bytes()),        // e_type: ET_EXEC
        (18, &62u16.to_le_bytes()),       // e_machine: EM_X86_64
        (20, &1u32.to_le_bytes()),        // e_version
        (ENTRY, &entry.to_le_bytes()),    // e_entry
        (32, &(PROGRAM_HEADERS as u64).to_le_bytes()), // e_phoff
        (52, &64u16.to_le_bytes()),       // e_ehsize
        (54, &(PROGRAM_HEADER_LEN as u16).to_le_bytes()), // e_phentsize
        (56, &(segments.len() as u16).to_le_bytes()), // e_phnum
    ] {
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    for (index, segment) in segments.iter().enumerate() {
        let header = PROGRAM_HEADERS + PROGRAM_HEADER_LEN * index;
        file[header..header + 4].copy_from_slice(&segment.kind.to_le_bytes());
        for (offset, value) in [
            (8, segment.offset),
            (16, segment.vaddr),
            (24, segment.paddr),
            (32, segment.filesz),
            (40, segment.memsz),
            (48, 0x20_0000), // p_align
        ] {
            file[header + offset..header + offset + 8].copy_from_slice(&value.to_le_bytes());
        }
    }
    let headers = file.len();
    let ends = segments
        .iter()
        .map(|segment| segment.offset + segment.filesz);
    file.resize(ends.max().unwrap_or(0).max(headers as u64) as usize, 0);
    for (index, byte) in file.iter_mut().enumerate().skip(headers) {
        *byte = (index * index / 7) as u8 | 0x80;
    }
    let first = segments.iter().min_by_key(|segment| segment.paddr);
    if let Some(banner) = first.and_then(|first| file.get_mut(first.offset as usize..)) {
        let len = banner.len().min(BANNER.len());
        banner[..len].copy_from_slice(&BANNER[..len]);
    }
    file
}

/// The smallest one; it is entered in the last of its segments, as 7.3 is.
pub fn minimal() -> Vec<u8> {
    let mut file = vmlinux(&SEGMENTS, BASE + 0x2010);
    file[0x240..0x24a].copy_from_slice(b"EL32\0EL64\0");
    file
}
