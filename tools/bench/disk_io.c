// SPDX-License-Identifier: GPL-2.0
/*
 * disk_io JOB DEVICE COUNT: moves COUNT pieces between the disk and memory, past the page
 * cache, and prints how long a piece is, COUNT, the TSC before and after, and the median of the
 * ticks that a piece took. What was written is flushed before the end. As many as a quarter go
 * before, to warm up. With COUNT 0 it goes on until it is killed.
 *
 * read, write            one piece after the other
 * random, random_write   pieces at random places, the same each time
 * random1, random_write1 the same, but the next piece waits for the one before
 *
 * Otherwise always several pieces are under way, so that the disk is not waiting for the program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/aio_abi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tsc.h"

#define HUGE_PAGE (2u << 20)
#define DEPTH_MAX 32
/* The data port of the serial port that the measurement listens to; see lib.sh. */
#define CONTROL 0x2f8

static const struct job {
	const char *name;
	uint16_t opcode;
	int random;
	uint64_t piece;
	unsigned int depth;
} jobs[] = {
	{ "read", IOCB_CMD_PREAD, 0, 1 << 20, 4 },
	{ "write", IOCB_CMD_PWRITE, 0, 1 << 20, 4 },
	{ "random", IOCB_CMD_PREAD, 1, 4096, DEPTH_MAX },
	{ "random_write", IOCB_CMD_PWRITE, 1, 4096, DEPTH_MAX },
	{ "random1", IOCB_CMD_PREAD, 1, 4096, 1 },
	{ "random_write1", IOCB_CMD_PWRITE, 1, 4096, 1 },
};

static const struct job *job;
static aio_context_t context;
static struct iocb requests[DEPTH_MAX];
static uint64_t pieces, submitted;
/* When each request was submitted, and the ticks that each piece took. */
static uint64_t begun_at[DEPTH_MAX], *took, finished;

static void fail(const char *what)
{
	fprintf(stderr, "disk_io: %s: %s\n", what, strerror(errno));
	exit(1);
}

/*
 * Tells whoever runs the machine, which then reads the CPU time of the emulator. It goes to the
 * port itself: in a successor nothing else may have an effect on the first OS meanwhile. The line
 * fits into the port's FIFO.
 */
static void tell(const char *line)
{
	while (*line)
		outb(*line++, CONTROL);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Where the next piece is. */
static uint64_t next_place(void)
{
	static uint64_t x = 88172645463325252u;

	if (!job->random)
		return submitted % pieces * job->piece;
	/* Marsaglia's xorshift64. */
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x % pieces * job->piece;
}

static void submit(struct iocb **batch, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		batch[i]->aio_offset = next_place();
		begun_at[batch[i] - requests] = tsc_now();
		submitted++;
	}
	if (syscall(SYS_io_submit, context, (long)count, batch) != (long)count)
		fail("io_submit");
}

/* Waits for as many as have come, but no more than `limit`; those are free again. */
static unsigned int reap(struct iocb **batch, uint64_t limit)
{
	struct io_event events[DEPTH_MAX];
	long count, i;

	count = syscall(SYS_io_getevents, context, 1L, limit < job->depth ? (long)limit : (long)job->depth,
			events, NULL);
	if (count < 1)
		fail("io_getevents");
	for (i = 0; i < count; i++) {
		if (events[i].res != (int64_t)job->piece) {
			errno = events[i].res < 0 ? -events[i].res : EIO;
			fail(job->name);
		}
		batch[i] = (struct iocb *)(uintptr_t)events[i].obj;
		if (took)
			took[finished++] = tsc_now() - begun_at[batch[i] - requests];
	}
	return count;
}

/* Until `count` more have come: as many are under way afterwards as before. */
static void move(uint64_t count)
{
	struct iocb *batch[DEPTH_MAX];

	while (count) {
		unsigned int came = reap(batch, count);

		submit(batch, came);
		count -= came;
	}
}

/*
 * In huge pages, whatever the system has decided on: by whether the memory of a request lies
 * together, NVMe's driver tells the disk of it in another way. Small pages lie otherwise in
 * each system.
 */
static char *allocate(size_t size)
{
	char *memory;

	size = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	memory = aligned_alloc(HUGE_PAGE, size);
	if (!memory)
		fail("memory");
	memset(memory, 0x5a, size);
	if (madvise(memory, size, MADV_COLLAPSE))
		fail("huge pages");
	return memory;
}

int main(int argc, char **argv)
{
	struct iocb *all[DEPTH_MAX];
	uint64_t count, begun, ended;
	unsigned int i;
	char *memory;
	off_t size;
	int disk;

	if (argc == 4)
		for (i = 0; i < sizeof(jobs) / sizeof(*jobs); i++)
			if (!strcmp(argv[1], jobs[i].name))
				job = &jobs[i];
	if (!job) {
		fprintf(stderr, "usage: disk_io JOB DEVICE COUNT\n");
		return 2;
	}
	count = strtoull(argv[3], NULL, 10);
	disk = open(argv[2], O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk < 0)
		fail(argv[2]);
	size = lseek(disk, 0, SEEK_END);
	if (size < (off_t)job->piece)
		fail("size");
	pieces = size / job->piece;
	if (syscall(SYS_io_setup, (long)job->depth, &context))
		fail("io_setup");
	memory = allocate(job->depth * job->piece);
	for (i = 0; i < job->depth; i++) {
		requests[i] = (struct iocb){
			.aio_lio_opcode = job->opcode,
			.aio_fildes = disk,
			.aio_buf = (uintptr_t)memory + i * job->piece,
			.aio_nbytes = job->piece,
		};
		all[i] = &requests[i];
	}
	submit(all, job->depth);
	do
		move(count ? count / 4 : UINT64_MAX);
	while (!count);
	took = calloc(count, sizeof(*took));
	if (!took)
		fail("memory");
	memset(took, 1, count * sizeof(*took));
	if (ioperm(CONTROL, 1, 1))
		fail("ioperm");
	tell("begin\n");
	begun = tsc_now();
	move(count);
	if (job->opcode == IOCB_CMD_PWRITE && fdatasync(disk))
		fail("fdatasync");
	ended = tsc_now();
	tell("end\n");
	qsort(took, count, sizeof(*took), compare);
	printf("%ju %ju %ju %ju %ju\n", (uintmax_t)job->piece, (uintmax_t)count, (uintmax_t)begun, (uintmax_t)ended,
	       (uintmax_t)took[count / 2]);
	return 0;
}
