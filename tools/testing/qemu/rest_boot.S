/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The firmware of a machine on which all CPUs rest (scripts/rest.py): the first CPU sends the
 * others to the page at 0x8000, and follows.
 *
 * It runs in real mode, with a segment for the local APIC, which lies above 1 MiB.
 */
#define ICR_LOW		0xfee00300
#define TO_OTHERS	(3 << 18)
#define INIT		(5 << 8 | 1 << 14)
#define STARTUP		(6 << 8 | 1 << 14)
#define REST_PAGE	0x8000
#define MSR_EFER	0xc0000080
#define EFER		0x801		/* NXE, SCE */
#define CR0_PE		1

#define OFFSET(label)	((label) - rom)

	.code16
rom:
	.org	0xf000
start:
	cli
	lgdtl	%cs:OFFSET(gdt_pointer)
	movl	%cr0, %eax
	orb	$CR0_PE, %al
	movl	%eax, %cr0
	movw	$8, %bx
	movw	%bx, %fs
	andb	$~CR0_PE, %al
	movl	%eax, %cr0

	movl	$MSR_EFER, %ecx
	movl	$EFER, %eax
	xorl	%edx, %edx
	wrmsr

	movl	$ICR_LOW, %ebx
	movl	$TO_OTHERS | INIT, %fs:(%ebx)
	movl	$TO_OTHERS | STARTUP | REST_PAGE >> 12, %fs:(%ebx)
	ljmpw	$REST_PAGE >> 4, $0

	.balign	8
gdt:
	.quad	0
	.quad	0x00cf93000000ffff	/* flat data */
gdt_pointer:
	.word	. - gdt - 1
	.long	0xf0000 + OFFSET(gdt)

	/* Where a CPU begins. */
	.org	0xfff0
	ljmpw	$0xf000, $OFFSET(start)
	.org	0x10000
