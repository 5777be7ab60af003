/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The code in which parked CPUs of successors rest: all of them before a start, those
 * that the successor has not woken yet, and all of them when it has ended. Each CPU
 * stops what the last kernel has left going in its MSRs, says in its slot that it
 * has come here, and halts.
 *
 * The first OS never executes this code. machine/resting.rs copies it to the start of
 * a page below 640 KiB, whose number is the vector of the startup IPI. The slots are in
 * the next page. Several CPUs may run here at the same time, and share the stack: nothing
 * is ever read back from it.
 *
 * A CPU that waits for a startup IPI has CR4.MCE clear, and a machine check that is
 * broadcast to all CPUs would then shut down the machine (Intel SDM volume 3,
 * "Machine-Check Architecture"; kernel/cpu.c, cpu_bootable()). A CPU that rests here takes
 * the machine check, and clears MCG_STATUS.MCIP as Linux does for its offline CPUs
 * (mce_check_crashing_cpu(), arch/x86/kernel/cpu/mce/core.c). What the banks say is left to the
 * kernel that gets the CPU next.
 */
#include <linux/linkage.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

/* The end of the code, and of the page. */
#define CODE_END	0xe00
#define STACK		0x1000
/* The slots, by APIC ID. */
#define SLOTS		0x1000
#define SLOT_SHIFT	4

/* Offsets in a slot; machine/resting.rs has them too. */
#define FLAGS		0
#define REQUEST_MSR	4
#define REQUEST		8
#define BANKS		12

#define HAS_REQUEST	(1 << 0)
#define HAS_BIAS	(1 << 1)
#define HAS_CMCI	(1 << 2)
/* Set by the CPU: BANKS is valid; and it rests. */
#define BANKS_KNOWN	(1 << 3)
#define RESTS		(1 << 4)
#define BIAS_SHIFT	8
#define BIAS_MASK	0xf

/* There are CTL2 registers of 32 banks (Intel SDM volume 4, IA32_MCi_CTL2). */
#define CTL2_BANKS	32
#define CMCI_EN		(1 << 30)

/* Length of an entry in the lists of MSRs; all bits of a half. */
#define ENTRY		12
#define ALL		0xffffffff

#define CPUID_VENDOR	0
#define CPUID_FEATURES	1
#define EDX_MCE		(1 << 7)
/* The first four letters of the vendor (CPUID leaf 0, EBX). */
#define GENUINE_INTEL	0x756e6547
#define AUTHENTIC_AMD	0x68747541
#define HYGON_GENUINE	0x6f677948

#define CODE32		0x08
#define DATA		0x10
#define CODE32_FLAGS	0x00cf9b00
#define DATA_FLAGS	0x00cf9300
/* A 32-bit interrupt gate, present (Intel SDM volume 3, "IDT Descriptors"). */
#define GATE		0x8e00
#define VECTOR_NMI	2
#define VECTOR_MC	18
#define VECTORS		32

#define OFFSET(label)	((label) - mint_rest)

	.section .rodata, "a"
	.balign 16
SYM_DATA_START(mint_rest)
	.code16
	cli
	cld
	movw	%cs, %ax
	movw	%ax, %ds

	/* As in trampoline.S. */
	movl	%cr0, %eax
	andl	$~(X86_CR0_CD | X86_CR0_NW), %eax
	movl	%eax, %cr0

	/*
	 * The segments begin at this page, so that all addresses are offsets in it. Each CPU
	 * writes the same bytes here.
	 */
	xorl	%ebx, %ebx
	movw	%cs, %bx
	shll	$4, %ebx
	leal	OFFSET(.Lgdt)(%ebx), %eax
	movl	%eax, OFFSET(.Lgdt_pointer) + 2
	leal	OFFSET(.Lidt)(%ebx), %eax
	movl	%eax, OFFSET(.Lidt_pointer) + 2
	movw	%bx, OFFSET(.Lcode) + 2
	movw	%bx, OFFSET(.Ldata) + 2
	shrl	$16, %ebx
	movb	%bl, OFFSET(.Lcode) + 4
	movb	%bl, OFFSET(.Ldata) + 4
	lgdtl	OFFSET(.Lgdt_pointer)
	movl	%cr0, %eax
	orl	$X86_CR0_PE, %eax
	movl	%eax, %cr0
	ljmpl	$CODE32, $OFFSET(.Lprotected)

	.code32
.Lprotected:
	movw	$DATA, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	lidtl	OFFSET(.Lidt_pointer)

	/* A machine check and an NMI lead here again. All that follows may be done twice. */
.Lagain:
	movl	$STACK, %esp

	/* %ebp = this CPU's slot, by its initial APIC ID, which has 8 bits (machine/resting.rs). */
	movl	$CPUID_FEATURES, %eax
	cpuid
	shrl	$24, %ebx
	shll	$SLOT_SHIFT, %ebx
	leal	SLOTS(%ebx), %ebp
	testl	$EDX_MCE, %edx
	jz	.Lno_mce
	movl	%cr4, %eax
	orl	$X86_CR4_MCE, %eax
	movl	%eax, %cr4
.Lno_mce:

	/*
	 * %edi is where a CPU goes on after other exceptions: an MSR that it does not have raises #GP,
	 * and is skipped. %ebx is where .Lclear goes on, as there is no stack to return by.
	 */
	movl	$OFFSET(.Lcommon) - ENTRY, %esi
	movl	$OFFSET(.Lvendor), %ebx
.Lclear:
	movl	$OFFSET(.Lnext), %edi
.Lnext:
	addl	$ENTRY, %esi
	movl	(%esi), %ecx
	jecxz	.Lcleared
	rdmsr
	andl	4(%esi), %eax
	andl	8(%esi), %edx
	wrmsr
	jmp	.Lnext
.Lcleared:
	jmp	*%ebx

.Lvendor:
	movl	$CPUID_VENDOR, %eax
	cpuid
	movl	%ebx, %eax
	movl	$OFFSET(.Lcmci), %ebx
	movl	$OFFSET(.Lintel) - ENTRY, %esi
	cmpl	$GENUINE_INTEL, %eax
	je	.Lclear
	movl	$OFFSET(.Lamd) - ENTRY, %esi
	cmpl	$AUTHENTIC_AMD, %eax
	je	.Lclear
	cmpl	$HYGON_GENUINE, %eax
	je	.Lclear

	/*
	 * A kernel takes a bank with CMCI_EN set for another CPU's, which shares the bank
	 * (cmci_skip_bank(), arch/x86/kernel/cpu/mce/intel.c). So CMCI_EN is cleared here, but
	 * only of the banks in which it was clear when the CPU came here first, just taken from
	 * the first OS. Another CPU may use the other banks.
	 */
.Lcmci:
	testl	$HAS_CMCI, FLAGS(%ebp)
	jz	.Lrequest
	movl	$OFFSET(.Lnext_bank), %edi
	movl	$-1, %esi
.Lnext_bank:
	incl	%esi
	cmpl	$CTL2_BANKS, %esi
	je	.Lbanks_done
	leal	MSR_IA32_MC0_CTL2(%esi), %ecx
	rdmsr
	testl	$BANKS_KNOWN, FLAGS(%ebp)
	jnz	.Lgive_up_bank
	testl	$CMCI_EN, %eax
	jnz	.Lnext_bank
	btsl	%esi, BANKS(%ebp)
	jmp	.Lnext_bank
.Lgive_up_bank:
	btl	%esi, BANKS(%ebp)
	jnc	.Lnext_bank
	andl	$~CMCI_EN, %eax
	wrmsr
	jmp	.Lnext_bank
.Lbanks_done:
	orl	$BANKS_KNOWN, FLAGS(%ebp)

	/* What the first OS had requested before it took the CPU offline. */
.Lrequest:
	testl	$HAS_REQUEST, FLAGS(%ebp)
	jz	.Lbias
	movl	$OFFSET(.Lbias), %edi
	movl	REQUEST_MSR(%ebp), %ecx
	rdmsr
	movl	REQUEST(%ebp), %eax
	wrmsr
.Lbias:
	testl	$HAS_BIAS, FLAGS(%ebp)
	jz	.Lanswer
	movl	$OFFSET(.Lanswer), %edi
	movl	$MSR_IA32_ENERGY_PERF_BIAS, %ecx
	rdmsr
	movl	FLAGS(%ebp), %ebx
	shrl	$BIAS_SHIFT, %ebx
	andl	$BIAS_MASK, %ebx
	andl	$~BIAS_MASK, %eax
	orl	%ebx, %eax
	wrmsr

.Lanswer:
	orl	$RESTS, FLAGS(%ebp)
.Lrest:
	hlt
	jmp	.Lrest

.Lmachine_check:
	movl	$OFFSET(.Lagain), %edi
	movl	$MSR_IA32_MCG_STATUS, %ecx
	xorl	%eax, %eax
	xorl	%edx, %edx
	wrmsr
.Lnmi:
	jmp	.Lagain
.Lexception:
	movl	$STACK, %esp
	jmp	*%edi

	/* An MSR, and the bits of its low and its high half that stay as they are. 0 ends a list. */
	.macro	clear msr:req, keep_low=0, keep_high=0
	.long	\msr, \keep_low, \keep_high
	.endm

	.balign 4
.Lcommon:
	/* A core with IBRS or STIBP set slows down the other thread (native_play_dead(), smpboot.c). */
	clear	MSR_IA32_SPEC_CTRL
	/* LBR, and TR, BTS, BTINT: branches are written to memory. */
	clear	MSR_IA32_DEBUGCTLMSR, ~0x1c1, ALL
	.long	0
.Lintel:
	/* TraceEn first: while that is set, other bits can't change. */
	clear	MSR_IA32_RTIT_CTL, ~0x1, ALL
	clear	MSR_IA32_PEBS_ENABLE
	clear	MSR_CORE_PERF_GLOBAL_CTRL
	clear	MSR_CORE_PERF_FIXED_CTR_CTRL
	clear	MSR_P6_EVNTSEL0
	clear	MSR_P6_EVNTSEL0+1
	clear	MSR_P6_EVNTSEL0+2
	clear	MSR_P6_EVNTSEL0+3
	clear	MSR_P6_EVNTSEL0+4
	clear	MSR_P6_EVNTSEL0+5
	clear	MSR_P6_EVNTSEL0+6
	clear	MSR_P6_EVNTSEL0+7
	clear	MSR_IA32_DS_AREA
	clear	MSR_ARCH_LBR_CTL
	.long	0
.Lamd:
	/* IbsFetchEn is bit 48, IbsOpEn bit 17. */
	clear	MSR_AMD64_IBSFETCHCTL, ALL, ~(1 << 16)
	clear	MSR_AMD64_IBSOPCTL, ~(1 << 17), ALL
	clear	MSR_AMD64_PERF_CNTR_GLOBAL_CTL
	clear	MSR_F15H_PERF_CTL0
	clear	MSR_F15H_PERF_CTL1
	clear	MSR_F15H_PERF_CTL2
	clear	MSR_F15H_PERF_CTL3
	clear	MSR_F15H_PERF_CTL4
	clear	MSR_F15H_PERF_CTL5
	clear	MSR_K7_EVNTSEL0
	clear	MSR_K7_EVNTSEL0+1
	clear	MSR_K7_EVNTSEL0+2
	clear	MSR_K7_EVNTSEL0+3
	/* LBRV2EN, and BRSMEN (arch/x86/events/amd/brs.c). */
	clear	MSR_AMD_DBG_EXTN_CFG, ~0x44, ALL
	.long	0

	.balign 8
.Lidt:
	.rept	VECTOR_NMI
	.word	OFFSET(.Lexception), CODE32, GATE, 0
	.endr
	.word	OFFSET(.Lnmi), CODE32, GATE, 0
	.rept	VECTOR_MC - VECTOR_NMI - 1
	.word	OFFSET(.Lexception), CODE32, GATE, 0
	.endr
	.word	OFFSET(.Lmachine_check), CODE32, GATE, 0
	.rept	VECTORS - VECTOR_MC - 1
	.word	OFFSET(.Lexception), CODE32, GATE, 0
	.endr
.Lidt_end:

.Lgdt:
	.quad	0
.Lcode:
	.long	0x0000ffff, CODE32_FLAGS
.Ldata:
	.long	0x0000ffff, DATA_FLAGS
.Lgdt_end:

.Lgdt_pointer:
	.word	.Lgdt_end - .Lgdt - 1
	.long	0
.Lidt_pointer:
	.word	.Lidt_end - .Lidt - 1
	.long	0

	/* The assembler fails here if the code gets too near to the stack. */
	.org	mint_rest + CODE_END
SYM_DATA_END_LABEL(mint_rest, SYM_L_GLOBAL, mint_rest_end)
