/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The code with which the first CPU of a successor wakes up in real mode, and goes to the
 * kernel's 32-bit or 64-bit entry point. It has rested before, in machine/rest.S.
 *
 * The first OS never executes this code. machine/wakeup.rs copies it to the start
 * of a page below 640 KiB, whose number is the vector of the startup IPI. So the
 * CPU starts at the first byte of the page, with IP 0 (Intel SDM volume 3, 10.4
 * "Multiple-processor (MP) initialization"). wakeup.rs also writes the arguments
 * at TRAMPOLINE_ARGS in that page, and reads from STAGE there how far the CPU has
 * come.
 */
#include <linux/linkage.h>
#include <asm/processor-flags.h>
#include <asm/msr-index.h>

#define TRAMPOLINE_ARGS	0x700

#define STAGE		(TRAMPOLINE_ARGS + 0x00)
#define MODE		(TRAMPOLINE_ARGS + 0x04)
#define STEPPING_STONE	(TRAMPOLINE_ARGS + 0x08)
#define ENTRY		(TRAMPOLINE_ARGS + 0x10)
#define BOOT_PARAMS	(TRAMPOLINE_ARGS + 0x18)
#define ROOT		(TRAMPOLINE_ARGS + 0x20)

#define ENTER_PROTECTED	1
#define ENTER_LONG	2

#define STAGE_REAL	1
#define STAGE_PROTECTED	2
#define STAGE_LONG	3
#define STAGE_ENTERED	4

/* The kernel expects the selectors 0x10 for code and 0x18 for data (__BOOT_CS, __BOOT_DS). */
#define CODE32		0x08
#define KERNEL_CODE	0x10
#define DATA		0x18

/* The high half of a flat code segment's descriptor (Intel SDM volume 3, 3.4.5). */
#define CODE32_FLAGS	0x00cf9b00
#define CODE64_FLAGS	0x00af9b00

#define OFFSET(label)	((label) - mint_trampoline)

	.section .rodata, "a"
	.balign 16
SYM_DATA_START(mint_trampoline)
	.code16
	cli
	cld
	movw	%cs, %ax
	movw	%ax, %ds

	/* INIT leaves CD and NW as they were (Intel SDM volume 3, "Processor States Following ... INIT"). */
	movl	%cr0, %eax
	andl	$~(X86_CR0_CD | X86_CR0_NW), %eax
	movl	%eax, %cr0

	movl	$STAGE_REAL, STAGE

	/* %ebx = address of this page. Turn offsets in the page into addresses. */
	xorl	%ebx, %ebx
	movw	%cs, %bx
	shll	$4, %ebx
	addl	%ebx, OFFSET(.Lgdt_pointer) + 2
	addl	%ebx, OFFSET(.Lto_protected)
	addl	%ebx, OFFSET(.Lto_long)
	cmpl	$ENTER_LONG, MODE
	je	.Lload_gdt
	movl	$CODE32_FLAGS, OFFSET(.Lkernel_code) + 4
.Lload_gdt:
	lgdtl	OFFSET(.Lgdt_pointer)
	movl	%cr0, %eax
	orl	$X86_CR0_PE, %eax
	movl	%eax, %cr0
	ljmpl	*OFFSET(.Lto_protected)

	.code32
.Lprotected:
	movw	$DATA, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %fs
	movw	%ax, %gs
	movw	%ax, %ss
	movl	$STAGE_PROTECTED, STAGE(%ebx)
	cmpl	$ENTER_LONG, MODE(%ebx)
	je	.Lto_paging

	movl	ENTRY(%ebx), %eax
	movl	%eax, OFFSET(.Lto_kernel)(%ebx)
	movl	BOOT_PARAMS(%ebx), %esi
	movl	$STAGE_ENTERED, STAGE(%ebx)
	leal	OFFSET(.Lto_kernel)(%ebx), %eax
	xorl	%ebx, %ebx
	xorl	%ebp, %ebp
	xorl	%edi, %edi
	ljmpl	*(%eax)

.Lto_paging:
	movl	$X86_CR4_PAE, %eax
	movl	%eax, %cr4
	movl	STEPPING_STONE(%ebx), %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	movl	$(1 << _EFER_LME), %eax
	xorl	%edx, %edx
	wrmsr
	movl	%cr0, %eax
	orl	$X86_CR0_PG, %eax
	movl	%eax, %cr0
	ljmpl	*OFFSET(.Lto_long)(%ebx)

	.code64
.Llong:
	movl	$STAGE_LONG, STAGE(%rbx)
	movq	ROOT(%rbx), %rax
	movq	%rax, %cr3
	movq	ENTRY(%rbx), %rax
	movq	BOOT_PARAMS(%rbx), %rsi
	movl	$STAGE_ENTERED, STAGE(%rbx)
	xorl	%ebx, %ebx
	xorl	%ebp, %ebp
	xorl	%edi, %edi
	jmp	*%rax

	.balign 8
.Lgdt:
	.quad	0
	.long	0x0000ffff, CODE32_FLAGS
.Lkernel_code:
	.long	0x0000ffff, CODE64_FLAGS
	.quad	0x00cf93000000ffff	/* DATA: flat */
.Lgdt_end:

.Lgdt_pointer:
	.word	.Lgdt_end - .Lgdt - 1
	.long	OFFSET(.Lgdt)

	.balign 4
.Lto_protected:
	.long	OFFSET(.Lprotected)
	.word	CODE32
	.balign 4
.Lto_long:
	.long	OFFSET(.Llong)
	.word	KERNEL_CODE
	.balign 4
.Lto_kernel:
	.long	0
	.word	KERNEL_CODE

	/* The assembler fails here if the code overlaps its arguments. */
	.org	mint_trampoline + TRAMPOLINE_ARGS
SYM_DATA_END_LABEL(mint_trampoline, SYM_L_GLOBAL, mint_trampoline_end)
