// SPDX-License-Identifier: GPL-2.0

//! The setup header of a kernel image: the offsets of its fields, and their values.
//!
//! Reference: Documentation/arch/x86/boot.rst ("The Real-Mode Kernel Header"). Offsets are from the
//! start of a bzImage; all fields are little-endian.

/// Offset of the setup header, in a bzImage and in `boot_params` (boot.rst).
pub const START: usize = 0x1f1;
/// `boot_params` has room for a header that ends here (`struct boot_params`: `edd_mbr_sig_buffer`).
pub const END_MAX: usize = 0x290;
/// A copy of the setup header from [`START`] on, as `boot_params` holds it. The bytes after the
/// header's end are zeros.
pub type SetupHeader = [u8; END_MAX - START];

/// Whether the root is mounted read-only.
pub const ROOT_FLAGS: usize = 0x1f2;
/// The video mode.
pub const VID_MODE: usize = 0x1fa;
/// Must be [`BOOT_FLAG_MAGIC`].
pub const BOOT_FLAG: usize = 0x1fe;
/// The operand of the short jump over the header. The header ends this many bytes after
/// [`HEADER`].
pub const JUMP_OPERAND: usize = 0x201;
/// Must be [`HEADER_MAGIC`].
pub const HEADER: usize = 0x202;
/// Boot protocol version, major in the high byte.
pub const VERSION: usize = 0x206;
/// Boot protocol option flags.
pub const LOADFLAGS: usize = 0x211;
/// Highest address that the initrd's last byte may have.
pub const INITRD_ADDR_MAX: usize = 0x22c;
/// Alignment of the load address that a relocatable kernel needs.
pub const KERNEL_ALIGNMENT: usize = 0x230;
/// Whether the kernel may be loaded at another address than the preferred one.
pub const RELOCATABLE_KERNEL: usize = 0x234;
/// The minimum alignment, as a power of two.
pub const MIN_ALIGNMENT: usize = 0x235;
/// 64-bit and EFI capabilities.
pub const XLOADFLAGS: usize = 0x236;
/// The maximum length of the command line, without the terminating zero.
pub const CMDLINE_SIZE: usize = 0x238;
/// The kernel's preferred load address.
pub const PREF_ADDRESS: usize = 0x258;
/// Length of the memory from the load address on that the kernel needs while it decompresses
/// itself.
pub const INIT_SIZE: usize = 0x260;
/// The value at [`BOOT_FLAG`].
pub const BOOT_FLAG_MAGIC: u16 = 0xaa55;
/// The value at [`HEADER`].
pub const HEADER_MAGIC: u32 = u32::from_le_bytes(*b"HdrS");
/// `loadflags`: the protected-mode code is loaded at 1 MiB or above.
pub const LOADED_HIGH: u8 = 1 << 0;
/// `xloadflags`: there is a 64-bit entry at offset 0x200 of the protected-mode code.
pub const XLF_KERNEL_64: u16 = 1 << 0;
/// `xloadflags`: kernel, boot_params, command line and initrd may lie above 4 GiB.
pub const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;
/// `xloadflags`: built with CONFIG_EFI and CONFIG_KEXEC_CORE.
pub const XLF_EFI_KEXEC: u16 = 1 << 4;
