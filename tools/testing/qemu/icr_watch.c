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
 *	vcpu=0 dest=3 shorthand=none mode=sipi level=deassert destmode=physical vector=0x99
 *
 * vcpu is QEMU's index, which is the APIC ID on a machine of one socket. dest
 * means something only with shorthand=none, and is a set of LDR bits, not an
 * APIC ID, with destmode=logical. level is the bit as written: Linux leaves it
 * clear but in an INIT. What firmware sends is logged as well.
 *
 * Not seen: x2APIC mode, in which the ICR is written by WRMSR; an APIC that is
 * not at 0xfee00000; that an INIT clears its target's ICR high; interrupts that
 * are not sent through an ICR (MSIs, the I/O APIC's); and, as plugins are TCG's,
 * anything at all under KVM. A test therefore has to find a line that must be
 * there, such as the first SIPI, before it believes that another is not.
 */

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What is used here of API version 4 (QEMU 9.2 and later): Debian packages no
 * header. See include/qemu/qemu-plugin.h in QEMU's source.
 */
typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;

typedef struct {
	const char *target_name;
	struct {
		int min;
		int cur;
	} version;
	bool system_emulation;
	struct {
		int smp_vcpus;
		int max_vcpus;
	} system;
} qemu_info_t;

enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_W = 2 };
enum qemu_plugin_mem_value_type { QEMU_PLUGIN_MEM_VALUE_U32 = 2 };

typedef struct {
	enum qemu_plugin_mem_value_type type;
	union {
		uint32_t u32;
		struct {
			uint64_t low;
			uint64_t high;
		} u128;
	} data;
} qemu_plugin_mem_value;

typedef void (*qemu_plugin_vcpu_tb_trans_cb_t)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*qemu_plugin_vcpu_mem_cb_t)(unsigned int vcpu, qemu_plugin_meminfo_t info,
					  uint64_t vaddr, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_tb_trans_cb_t cb);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, qemu_plugin_vcpu_mem_cb_t cb,
				      enum qemu_plugin_cb_flags flags, enum qemu_plugin_mem_rw rw,
				      void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
qemu_plugin_mem_value qemu_plugin_mem_get_value(qemu_plugin_meminfo_t info);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(qemu_plugin_meminfo_t info, uint64_t vaddr);
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *hwaddr);
uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *hwaddr);

/* What QEMU looks for in a plugin. */
extern int qemu_plugin_version;
int qemu_plugin_version = 4;
int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

/* The two halves of the ICR, 16 bytes of address space each. */
#define ICR_LOW		0xfee00300
#define ICR_HIGH	0xfee00310
#define REGISTER(addr)	((addr) & ~UINT64_C(0xf))
#define PAGE_OFFSET	0xfff

static const char *const shorthands[] = { "none", "self", "all", "others" };
static const char *const modes[] = {
	"fixed", "lowest", "smi", "remread", "nmi", "init", "sipi", "extint"
};

static int log_fd;
/* Each vCPU's ICR high, as last written; each is only used on its vCPU's thread. */
static uint32_t *icr_high;

static void log_icr(unsigned int vcpu, uint32_t high, uint32_t low)
{
	/* One write() per line; a log that lacks one would prove too much. */
	if (dprintf(log_fd,
		    "vcpu=%u dest=%u shorthand=%s mode=%s level=%s destmode=%s vector=0x%02x\n",
		    vcpu, high >> 24, shorthands[low >> 18 & 3], modes[low >> 8 & 7],
		    low & 1 << 14 ? "assert" : "deassert",
		    low & 1 << 11 ? "logical" : "physical", low & 0xff) < 0)
		abort();
}

static void store(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t vaddr, void *data)
{
	struct qemu_plugin_hwaddr *hwaddr;
	qemu_plugin_mem_value value;
	uint64_t reg;

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

	value = qemu_plugin_mem_get_value(info);
	if (value.type != QEMU_PLUGIN_MEM_VALUE_U32) {
		/* Undefined by the architecture: for whoever reads the log to judge. */
		if (dprintf(log_fd, "vcpu=%u wrote the ICR other than by 32 bits\n", vcpu) < 0)
			abort();
	} else if (reg == ICR_HIGH) {
		icr_high[vcpu] = value.data.u32;
	} else {
		log_icr(vcpu, icr_high[vcpu], value.data.u32);
	}
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t count = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t i = 0; i < count; i++)
		qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), store,
						 QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_W, NULL);
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	if (!info->system_emulation || strcmp(info->target_name, "x86_64") ||
	    argc != 1 || strncmp(argv[0], "log=", 4)) {
		fprintf(stderr, "usage: qemu-system-x86_64 -plugin icr_watch.so,log=PATH\n");
		return -1;
	}
	icr_high = calloc(info->system.max_vcpus, sizeof(*icr_high));
	log_fd = open(argv[0] + 4, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
	if (!icr_high || log_fd < 0) {
		perror("icr_watch");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
