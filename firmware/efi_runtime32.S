/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The EFI runtime services of a 32-bit successor: the IA-32 version of
 * efi_runtime.S. The functions are at the same offsets.
 *
 * A 32-bit kernel maps each region of the memory map that has the attribute
 * EFI_MEMORY_RUNTIME at an address of its choice (efi_map_region() in
 * arch/x86/platform/efi/efi_32.c), and calls the services there. Before that,
 * with paging off, it passes these addresses to SetVirtualAddressMap(), which
 * relocates all pointers. Mailbox, code and tables are one region
 * (firmware/efi.rs), so their distances stay the same. Calling convention: UEFI
 * specification, 2.3.2 "IA-32 Platforms".
 */
#include <linux/linkage.h>

#define UNSUPPORTED		0x00
#define RESET_SYSTEM		0x10
#define SET_VIRTUAL_ADDRESS_MAP	0x30
#define END			0xa0

#define PAGE			0x1000
#define RESET			0x08

/* firmware/efi.rs: the tables are in the page after the code. */
#define SYSTEM_TABLE		0x00
#define FIRMWARE_VENDOR		(PAGE + SYSTEM_TABLE + 24)
#define RUNTIME_SERVICES	(PAGE + SYSTEM_TABLE + 56)
#define CONFIGURATION_TABLE	(PAGE + SYSTEM_TABLE + 68)
#define FUNCTIONS		(PAGE + 0x100 + 24)
#define FUNCTIONS_COUNT		14

/* EFI_MEMORY_DESCRIPTOR. The high halves are 0: all memory is below 4 GiB. */
#define PHYSICAL_START		8
#define VIRTUAL_START		16
#define NUMBER_OF_PAGES		24

	.section .rodata, "a"
	.balign 16
SYM_DATA_START(mint_efi_runtime32)
.Lstart:
	.code32
	.org	.Lstart + UNSUPPORTED
	endbr32
	movl	$0x80000003, %eax		/* EFI_UNSUPPORTED */
	ret

	/* 4(%esp) = EFI_RESET_TYPE. Never returns, not even after an NMI. */
	.org	.Lstart + RESET_SYSTEM
	endbr32
	cli
	movl	4(%esp), %ecx
	incl	%ecx
	call	.Lreset
.Lreset:
	popl	%eax
	movl	%ecx, (.Lstart - PAGE + RESET - .Lreset)(%eax)
.Lrest:
	hlt
	jmp	.Lrest

	/*
	 * 4(%esp) = length of the map, 8(%esp) = length of a descriptor,
	 * 16(%esp) = address of the map. The CRCs of the tables are not updated: no
	 * kernel checks them after this.
	 */
	.org	.Lstart + SET_VIRTUAL_ADDRESS_MAP
	endbr32
	pushl	%ebx
	pushl	%esi
	call	.Lset
.Lset:
	popl	%ebx
	subl	$(.Lset - .Lstart), %ebx	/* the code's physical address */
	movl	24(%esp), %esi
	movl	12(%esp), %ecx
	addl	%esi, %ecx			/* the end of the map */
.Lnext:
	cmpl	%ecx, %esi
	jae	.Lnone
	movl	%ebx, %eax
	subl	PHYSICAL_START(%esi), %eax
	shrl	$12, %eax			/* huge if it is below the region */
	cmpl	NUMBER_OF_PAGES(%esi), %eax
	jb	.Lfound
	addl	16(%esp), %esi
	jmp	.Lnext
.Lfound:
	movl	VIRTUAL_START(%esi), %eax
	subl	PHYSICAL_START(%esi), %eax
	addl	%eax, FIRMWARE_VENDOR(%ebx)
	addl	%eax, RUNTIME_SERVICES(%ebx)
	addl	%eax, CONFIGURATION_TABLE(%ebx)
	movl	$FUNCTIONS_COUNT, %ecx
.Lmove:
	addl	%eax, (FUNCTIONS - 4)(%ebx, %ecx, 4)
	loop	.Lmove
	xorl	%eax, %eax			/* EFI_SUCCESS */
	jmp	.Lreturn
.Lnone:
	movl	$0x80000011, %eax		/* EFI_NO_MAPPING */
.Lreturn:
	popl	%esi
	popl	%ebx
	ret

	/* The assembler fails here if the code is longer. */
	.org	.Lstart + END
SYM_DATA_END_LABEL(mint_efi_runtime32, SYM_L_GLOBAL, mint_efi_runtime32_end)
