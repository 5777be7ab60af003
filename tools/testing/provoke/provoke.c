// SPDX-License-Identifier: GPL-2.0
/*
 * provoke: a module that makes the kernel it is loaded into fail, or do what it must
 * not do, as its parameter names. For successors: Debian's kernels have no LKDTM.
 *
 *	insmod provoke.ko how=hang|oops|overflow|msr
 */
#include <linux/module.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <asm/msr.h>

static char *how = "";
module_param(how, charp, 0);
MODULE_PARM_DESC(how, "hang, oops, overflow or msr");

/* No interrupt is taken, no NMI is sent: the CPU is of no use to anybody. */
static void hang(void *unused)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

static void oops(void)
{
	/* The second page, as the compiler may take a load from NULL for anything. */
	READ_ONCE(*(int *)PAGE_SIZE);
}

/*
 * What is done with the result keeps it from being a loop; that there is an end,
 * far beyond the stack's, keeps the compiler from a warning.
 */
static noinline int overflow(int depth)
{
	volatile char block[512];

	if (depth == INT_MAX)
		return 0;
	block[depth % sizeof(block)] = depth;
	return overflow(depth + 1) + block[(depth + 1) % sizeof(block)];
}

static int __init provoke_init(void)
{
	if (!strcmp(how, "hang")) {
		pr_info("provoke: all CPUs hang from here on\n");
		on_each_cpu(hang, NULL, 0);
	} else if (!strcmp(how, "oops")) {
		oops();
	} else if (!strcmp(how, "overflow")) {
		overflow(0);
	} else if (!strcmp(how, "msr")) {
		/* A package's power limits, which QEMU's CPU does not have. */
		wrmsr_safe(MSR_PKG_POWER_LIMIT, 0, 0);
	}
	return -EINVAL;
}
module_init(provoke_init);

MODULE_DESCRIPTION("Makes the kernel fail");
MODULE_LICENSE("GPL");
