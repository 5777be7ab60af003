/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The EFI runtime services of a 64-bit successor. The only one that does
 * something is ResetSystem(), by which a kernel with hardware-reduced ACPI
 * reboots and powers off. efi_runtime32.S is the version for a 32-bit successor.
 *
 * The first OS never executes this code. start.rs copies it to a page of the
 * successor's firmware area, directly after the mailbox. The successor calls it
 * at the page's physical address, since this SetVirtualAddressMap() leaves all
 * pointers as they are. The offsets of the functions are also in
 * firmware/efi.rs, the offset of the word RESET in firmware/mailbox.rs.
 * Calling convention: UEFI specification, 2.3.4 "x64 Platforms".
 */
#include <linux/linkage.h>

#define UNSUPPORTED		0x00
#define RESET_SYSTEM		0x10
#define SET_VIRTUAL_ADDRESS_MAP	0x30
#define END			0x40

#define PAGE			0x1000
#define RESET			0x08

	.section .rodata, "a"
	.balign 16
SYM_DATA_START(mint_efi_runtime)
.Lstart:
	.code64
	.org	.Lstart + UNSUPPORTED
	endbr64
	movabsq	$0x8000000000000003, %rax	/* EFI_UNSUPPORTED */
	ret

	/* %ecx = EFI_RESET_TYPE. Never returns, not even after an NMI. */
	.org	.Lstart + RESET_SYSTEM
	endbr64
	cli
	incl	%ecx
	movl	%ecx, .Lstart - PAGE + RESET(%rip)
.Lrest:
	hlt
	jmp	.Lrest

	.org	.Lstart + SET_VIRTUAL_ADDRESS_MAP
	endbr64
	xorl	%eax, %eax			/* EFI_SUCCESS */
	ret

	/* The assembler fails here if the code is longer. */
	.org	.Lstart + END
SYM_DATA_END_LABEL(mint_efi_runtime, SYM_L_GLOBAL, mint_efi_runtime_end)
