// SPDX-License-Identifier: GPL-2.0
/*
 * icr_watch: a QEMU TCG plugin that logs the inter-processor interrupts that
 * vCPUs send, to show that no system sends one to another system's CPUs.
 *
 *	-plugin .../icr_watch.so,log=PATH
 *
 * Each write of the low half of an xAPIC's interrupt command register (ICR) is
 * a line in PATH (emptied at the start), in the file once the write is done:
 *
 *	cr3=0x10a000 dest=3 shorthand=none mode=sipi level=deassert destmode=physical vector=0x99
 *
 * cr3 is the sender's top page table, which lies in the RAM of its own system:
 * the address tells the systems apart. QEMU's index of the vCPU would not. It is
 * a constant in translated code unless that may run on several threads
 * (gen_cpu_index() in accel/tcg/plugin-gen.c), so that with "thread=single" all
 * vCPUs pass for the one for which a block was translated. Registers are right
 * in either case.
 *
 * dest means something only with shorthand=none, and is a set of LDR bits, not
 * an APIC ID, with destmode=logical. level is the bit as written: Linux leaves
 * it clear but in an INIT. What firmware sends is logged as well. A write that
 * can't be told in this way is a line of another form.
 *
 * Not seen: x2APIC mode, in which the ICR is written by WRMSR; an APIC that is
 * not at 0xfee00000; that an INIT clears its target's ICR high; interrupts that
 * are not sent through an ICR (MSIs, the I/O APIC's); and, as plugins are TCG's,
 * anything at all under KVM. A test therefore has to find a line that must be
 * there, such as the first SIPI, before it believes that another is not.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

/* What QEMU looks for in a plugin. */
extern int qemu_plugin_version;
int qemu_plugin_version = 4;
int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

/* The two halves of the ICR, 16 bytes of address space each. */
#define ICR_LOW		0xfee00300
#define ICR_HIGH	0xfee00310
#define REGISTER(addr)	((addr) & ~UINT64_C(0xf))
#define PAGE_OFFSET	0xfff
/* What CR3 holds besides flags and the PCID. */
#define CR3_ADDRESS	UINT64_C(0x000ffffffffff000)

static const char *const shorthands[] = { "none", "self", "all", "others" };
static const char *const modes[] = {
	"fixed", "lowest", "smi", "remread", "nmi", "init", "sipi", "extint"
};

/*
 * The ICR highs that were written and whose lows were not yet. Between the two
 * writes of one vCPU others may come: with "thread=single" when a block of
 * translated code ends, else at any time. So each is found again by its sender:
 * GS base tells apart the CPUs of a system (their per-CPU data), CR3 the systems
 * (no two share a page table), and neither changes between the writes, since
 * whoever sends an IPI does so with interrupts off. The vCPUs need one each; the
 * rest is for those that are reset before they write the low.
 */
static struct pending {
	bool used;
	uint64_t cr3;
	uint64_t gs_base;
	uint32_t icr_high;
} pending[1024];

/* Protects the table and the buffer that registers are read into. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static GByteArray *buffer;
static struct qemu_plugin_register *cr3_handle, *gs_base_handle;
static int log_fd;

static uint64_t read_register(struct qemu_plugin_register *handle)
{
	uint64_t value;

	/* It appends. */
	g_byte_array_set_size(buffer, 0);
	if (qemu_plugin_read_register(handle, buffer) != sizeof(value))
		abort();
	memcpy(&value, buffer->data, sizeof(value));
	return value;
}

static struct pending *find_pending(uint64_t cr3, uint64_t gs_base)
{
	for (size_t i = 0; i < sizeof(pending) / sizeof(*pending); i++) {
		if (pending[i].used && pending[i].cr3 == cr3 && pending[i].gs_base == gs_base)
			return &pending[i];
	}
	return NULL;
}

static struct pending *new_pending(uint64_t cr3, uint64_t gs_base)
{
	size_t i = 0;

	while (pending[i].used) {
		if (++i == sizeof(pending) / sizeof(*pending))
			abort();
	}
	pending[i] = (struct pending){ .used = true, .cr3 = cr3, .gs_base = gs_base };
	return &pending[i];
}

/* One write() per line; a log that lacks one would prove too much. */
#define log_line(...)						\
	do {							\
		if (dprintf(log_fd, __VA_ARGS__) < 0)		\
			abort();				\
	} while (0)

static void icr_written(uint64_t reg, qemu_plugin_mem_value value)
{
	uint64_t cr3 = read_register(cr3_handle) & CR3_ADDRESS;
	uint64_t gs_base = read_register(gs_base_handle);
	struct pending *sent = find_pending(cr3, gs_base);
	uint32_t low = value.data.u32, shorthand = low >> 18 & 3;

	/* What the architecture leaves undefined, and what Linux doesn't do, is for the reader. */
	if (value.type != QEMU_PLUGIN_MEM_VALUE_U32) {
		log_line("cr3=0x%" PRIx64 " wrote the ICR other than by 32 bits\n", cr3);
		return;
	}
	if (reg == ICR_HIGH) {
		if (!sent)
			sent = new_pending(cr3, gs_base);
		sent->icr_high = value.data.u32;
		return;
	}
	if (!shorthand && !sent) {
		log_line("cr3=0x%" PRIx64 " wrote the ICR's low half 0x%x alone\n", cr3, low);
		return;
	}
	log_line("cr3=0x%" PRIx64 " dest=%u shorthand=%s mode=%s level=%s destmode=%s vector=0x%02x\n",
		 cr3, sent ? sent->icr_high >> 24 : 0, shorthands[shorthand], modes[low >> 8 & 7],
		 low & 1 << 14 ? "assert" : "deassert", low & 1 << 11 ? "logical" : "physical",
		 low & 0xff);
	/* With a shorthand it may be from an NMI that came between the halves of another. */
	if (!shorthand)
		sent->used = false;
}

static void store(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t vaddr, void *data)
{
	struct qemu_plugin_hwaddr *hwaddr;
	uint64_t reg;

	(void)vcpu;
	(void)data;
	/* Translation keeps the page offset: it spares nearly all stores the look-up. */
	reg = REGISTER(vaddr & PAGE_OFFSET);
	if (__builtin_expect(reg != (ICR_LOW & PAGE_OFFSET) && reg != (ICR_HIGH & PAGE_OFFSET), 1))
		return;
	hwaddr = qemu_plugin_get_hwaddr(info, vaddr);
	if (!hwaddr || !qemu_plugin_hwaddr_is_io(hwaddr))
		return;
	reg = REGISTER(qemu_plugin_hwaddr_phys_addr(hwaddr));
	if (reg != ICR_LOW && reg != ICR_HIGH)
		return;

	pthread_mutex_lock(&lock);
	icr_written(reg, qemu_plugin_mem_get_value(info));
	pthread_mutex_unlock(&lock);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t count = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t i = 0; i < count; i++)
		qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), store,
						 QEMU_PLUGIN_CB_R_REGS, QEMU_PLUGIN_MEM_W, NULL);
}

/* Handles are the same for all vCPUs. */
static void initialized(qemu_plugin_id_t id, unsigned int vcpu)
{
	GArray *registers = qemu_plugin_get_registers();
	const qemu_plugin_reg_descriptor *all = (const void *)registers->data;

	(void)id;
	(void)vcpu;
	pthread_mutex_lock(&lock);
	for (unsigned int i = 0; i < registers->len; i++) {
		if (!strcmp(all[i].name, "cr3"))
			cr3_handle = all[i].handle;
		else if (!strcmp(all[i].name, "gs_base"))
			gs_base_handle = all[i].handle;
	}
	pthread_mutex_unlock(&lock);
	g_array_free(registers, true);
	if (!cr3_handle || !gs_base_handle) {
		fprintf(stderr, "icr_watch: this QEMU does not tell CR3 and GS base\n");
		exit(1);
	}
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	if (!info->system_emulation || strcmp(info->target_name, "x86_64") ||
	    argc != 1 || strncmp(argv[0], "log=", 4)) {
		fprintf(stderr, "usage: qemu-system-x86_64 -plugin icr_watch.so,log=PATH\n");
		return -1;
	}
	buffer = g_byte_array_new();
	log_fd = open(argv[0] + 4, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
	if (log_fd < 0) {
		perror("icr_watch");
		return -1;
	}
	qemu_plugin_register_vcpu_init_cb(id, initialized);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
