/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The EFI runtime services of a 64-bit successor, for the sake of one:
 * ResetSystem(), by which a kernel with hardware-reduced ACPI reboots and powers
 * off. efi_runtime32.S has those of a 32-bit one.
 *
 * This is data to the first OS. It is copied to a page of the successor's
 * firmware area, right behind its mailbox, and entered by the successor at the
 * page's physical address, since SetVirtualAddressMap() leaves all pointers as
 * they are. firmware/efi.rs has the offsets of the functions, mailbox.rs that
 * of the word. Calling convention: UEFI specification, 2.3.4 "x64 Platforms".
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

	/* %ecx = EFI_RESET_TYPE. It does not come back; nor may an NMI's end. */
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

	/* Refused by the assembler if the code is longer. */
	.org	.Lstart + END
SYM_DATA_END_LABEL(mint_efi_runtime, SYM_L_GLOBAL, mint_efi_runtime_end)
