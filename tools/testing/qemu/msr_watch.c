// SPDX-License-Identifier: GPL-2.0
/*
 * msr_watch: a QEMU TCG plugin that logs the accesses to model-specific
 * registers (MSRs), to show which of them a successor touches.
 *
 *	-plugin .../msr_watch.so,log=PATH
 *
 * Each RDMSR and WRMSR is a line in PATH (emptied at the start), before it is
 * executed, so that one which faults is logged too:
 *
 *	write msr=0x1a0 value=0x1 pc=0xffffffff8103a3f2 cr3=0x4a10a000
 *	read msr=0x1b pc=0xffffffff8103a3f2 cr3=0x4a10a000
 *
 * pc is the linear address of the instruction. cr3 is the CPU's top page table,
 * which lies in the RAM of its own system. The two tell the systems apart; the
 * index of the vCPU would not (see icr_watch.c).
 *
 * Not seen: WRMSRNS, WRMSRLIST and the forms with an immediate, which TCG does
 * not have; and, as plugins are TCG's, anything at all under KVM.
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

/* The longest instruction of x86. */
#define MAX_INSN	15
/* The second bytes of the opcodes; the first is 0x0f. */
#define WRMSR		0x30
#define RDMSR		0x32
/* What CR3 holds besides flags and the PCID. */
#define CR3_ADDRESS	UINT64_C(0x000ffffffffff000)

/* Protects the buffer that registers are read into. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static GByteArray *buffer;
static struct {
	const char *name;
	struct qemu_plugin_register *handle;
} registers[] = { { "rax", NULL }, { "rcx", NULL }, { "rdx", NULL }, { "cr3", NULL } };
enum { RAX, RCX, RDX, CR3, REGISTERS };
static int log_fd;

static uint64_t read_register(int index)
{
	uint64_t value;

	/* It appends. */
	g_byte_array_set_size(buffer, 0);
	if (qemu_plugin_read_register(registers[index].handle, buffer) != sizeof(value))
		abort();
	memcpy(&value, buffer->data, sizeof(value));
	return value;
}

/* One write() per line; a log that lacks one would prove too much. */
#define log_line(...)						\
	do {							\
		if (dprintf(log_fd, __VA_ARGS__) < 0)		\
			abort();				\
	} while (0)

static void writes(unsigned int vcpu, void *pc)
{
	(void)vcpu;
	pthread_mutex_lock(&lock);
	log_line("write msr=0x%" PRIx32 " value=0x%" PRIx64 " pc=0x%" PRIxPTR " cr3=0x%" PRIx64 "\n",
		 (uint32_t)read_register(RCX),
		 read_register(RDX) << 32 | (uint32_t)read_register(RAX),
		 (uintptr_t)pc, read_register(CR3) & CR3_ADDRESS);
	pthread_mutex_unlock(&lock);
}

static void reads(unsigned int vcpu, void *pc)
{
	(void)vcpu;
	pthread_mutex_lock(&lock);
	log_line("read msr=0x%" PRIx32 " pc=0x%" PRIxPTR " cr3=0x%" PRIx64 "\n",
		 (uint32_t)read_register(RCX), (uintptr_t)pc, read_register(CR3) & CR3_ADDRESS);
	pthread_mutex_unlock(&lock);
}

/* The prefixes that an assembler may put before an instruction; in 64-bit mode REX besides. */
static bool is_prefix(uint8_t byte)
{
	return (byte && strchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", byte)) || (byte & 0xf0) == 0x40;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t count = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t i = 0; i < count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint8_t bytes[MAX_INSN];
		size_t len = qemu_plugin_insn_data(insn, bytes, sizeof(bytes)), at = 0;
		qemu_plugin_vcpu_udata_cb_t callback;

		while (at < len && is_prefix(bytes[at]))
			at++;
		if (len - at != 2 || bytes[at] != 0x0f)
			continue;
		if (bytes[at + 1] == WRMSR)
			callback = writes;
		else if (bytes[at + 1] == RDMSR)
			callback = reads;
		else
			continue;
		qemu_plugin_register_vcpu_insn_exec_cb(insn, callback, QEMU_PLUGIN_CB_R_REGS,
						       (void *)(uintptr_t)qemu_plugin_insn_vaddr(insn));
	}
}

/* Handles are the same for all vCPUs. */
static void initialized(qemu_plugin_id_t id, unsigned int vcpu)
{
	GArray *found = qemu_plugin_get_registers();
	const qemu_plugin_reg_descriptor *all = (const void *)found->data;

	(void)id;
	(void)vcpu;
	pthread_mutex_lock(&lock);
	for (int i = 0; i < REGISTERS; i++) {
		for (unsigned int j = 0; j < found->len; j++) {
			if (!strcmp(all[j].name, registers[i].name))
				registers[i].handle = all[j].handle;
		}
		if (!registers[i].handle) {
			fprintf(stderr, "msr_watch: this QEMU does not tell %s\n", registers[i].name);
			exit(1);
		}
	}
	pthread_mutex_unlock(&lock);
	g_array_free(found, true);
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	if (!info->system_emulation || strcmp(info->target_name, "x86_64") ||
	    argc != 1 || strncmp(argv[0], "log=", 4)) {
		fprintf(stderr, "usage: qemu-system-x86_64 -plugin msr_watch.so,log=PATH\n");
		return -1;
	}
	buffer = g_byte_array_new();
	log_fd = open(argv[0] + 4, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
	if (log_fd < 0) {
		perror("msr_watch");
		return -1;
	}
	qemu_plugin_register_vcpu_init_cb(id, initialized);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
