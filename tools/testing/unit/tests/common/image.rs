// SPDX-License-Identifier: GPL-2.0

//! A bzImage that is as small as one can be.

/// Where the protected-mode code starts: behind the boot sector and one sector of setup code.
pub const CODE_START: usize = 1024;
/// The smallest code that has an entry at 0x200, in units of 16 bytes.
pub const CODE_UNITS: u32 = 0x21;

/// The image; offsets and meaning as in Documentation/arch/x86/boot.rst.
pub fn minimal() -> Vec<u8> {
    let mut image = vec![0; CODE_START + 16 * CODE_UNITS as usize];
    for (offset, bytes) in [
        (0x1f1, &[1][..]),                         // setup_sects
        (0x1f4, &CODE_UNITS.to_le_bytes()),        // syssize
        (0x1fe, &0xaa55u16.to_le_bytes()),         // boot_flag
        (0x200, &[0xeb, 0x26c_u16 as u8 - 2]),     // jump to the end of the header
        (0x202, b"HdrS"),                          // header
        (0x206, &0x020fu16.to_le_bytes()),         // version
        (0x211, &[1]),                             // loadflags: LOADED_HIGH
        (0x214, &0x10_0000u32.to_le_bytes()),      // code32_start
        (0x22c, &0x7fff_ffffu32.to_le_bytes()),    // initrd_addr_max
        (0x230, &0x20_0000u32.to_le_bytes()),      // kernel_alignment
        (0x234, &[1]),                             // relocatable_kernel
        (0x236, &3u16.to_le_bytes()),              // xloadflags: 64-bit, above 4 GiB
        (0x238, &2047u32.to_le_bytes()),           // cmdline_size
        (0x258, &0x100_0000u64.to_le_bytes()),     // pref_address
        (0x260, &(16 * CODE_UNITS).to_le_bytes()), // init_size
    ] {
        image[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    image
}
