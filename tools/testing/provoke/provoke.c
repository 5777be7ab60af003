// SPDX-License-Identifier: GPL-2.0
/*
 * provoke: a module that makes the kernel it is loaded into fail, or do what it must
 * not do, as its parameter names. For successors: Debian's kernels have no LKDTM.
 *
 *	insmod provoke.ko how=hang|oops|overflow|msr
 *
 * For the first OS, it is a driver of PCI functions whose IDs are written to
 * /sys/bus/pci/drivers/provoke/new_id:
 *
 *	insmod provoke.ko how=cling	Lets go of them once 1 is written to
 *					/sys/module/provoke/parameters/let_go
 *	insmod provoke.ko how=node	Has a character device for each
 *
 * Or it uses a page of memory-mapped I/O without being a driver, as a console may:
 *
 *	insmod provoke.ko how=use address=ADDRESS
 */
#include <linux/completion.h>
#include <linux/ioport.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <asm/msr.h>

static char *how = "";
module_param(how, charp, 0);
MODULE_PARM_DESC(how, "hang, oops, overflow, msr, cling, node or use");

static unsigned long address;
module_param(address, ulong, 0);
MODULE_PARM_DESC(address, "what to use");

static DECLARE_COMPLETION(may_go);

static int set_let_go(const char *value, const struct kernel_param *unused)
{
	complete_all(&may_go);
	return 0;
}
static const struct kernel_param_ops let_go_ops = { .set = set_let_go };
module_param_cb(let_go, &let_go_ops, NULL, 0200);

static const struct file_operations node_ops = { .owner = THIS_MODULE };
static struct miscdevice node = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "provoke",
	.fops = &node_ops,
};

static int provoke_probe(struct pci_dev *dev, const struct pci_device_id *unused)
{
	if (strcmp(how, "node"))
		return 0;
	node.parent = &dev->dev;
	return misc_register(&node);
}

static void provoke_remove(struct pci_dev *dev)
{
	if (!strcmp(how, "node")) {
		misc_deregister(&node);
		return;
	}
	dev_info(&dev->dev, "provoke: it clings\n");
	wait_for_completion(&may_go);
}

static struct pci_driver driver = {
	.name = "provoke",
	.id_table = NULL, /* those of new_id alone */
	.probe = provoke_probe,
	.remove = provoke_remove,
};

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
	} else if (!strcmp(how, "cling") || !strcmp(how, "node")) {
		return pci_register_driver(&driver);
	} else if (!strcmp(how, "use")) {
		return request_mem_region(address, PAGE_SIZE, "provoke") ? 0 : -EBUSY;
	} else if (!strcmp(how, "msr")) {
		/* A package's power limits, which QEMU's CPU does not have. */
		wrmsr_safe(MSR_PKG_POWER_LIMIT, 0, 0);
	}
	return -EINVAL;
}
module_init(provoke_init);

static void __exit provoke_exit(void)
{
	if (!strcmp(how, "use"))
		release_mem_region(address, PAGE_SIZE);
	else
		pci_unregister_driver(&driver);
}
module_exit(provoke_exit);

MODULE_DESCRIPTION("Makes the kernel fail");
MODULE_LICENSE("GPL");
