// SPDX-License-Identifier: GPL-2.0
/*
 * tsc_job KIND SECONDS: does pieces of the same work again and again until SECONDS
 * have passed, and prints the TSC before the first piece and after each.
 *
 * cpu      arithmetic in registers
 * memory   reads that each depend on the one before, over more than a cache holds
 * syscall  getppid(2), which does nothing but enter and leave the kernel
 */
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "tsc.h"

#define PIECES 4096
#define CELLS (8u << 20)

static volatile uint64_t sink;
static uint32_t *cells;

static void cpu(void)
{
	uint64_t x = 88172645463325252u;
	unsigned int i;

	/* Marsaglia's xorshift64: each step needs the one before. */
	for (i = 0; i < 10000000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	sink = x;
}

static void memory(void)
{
	uint32_t at = sink % CELLS;
	unsigned int i;

	for (i = 0; i < 1000000; i++)
		at = cells[at];
	sink = at;
}

static void syscalls(void)
{
	unsigned int i;

	for (i = 0; i < 100000; i++)
		sink = syscall(SYS_getppid);
}

/* One cycle through all cells, in no order that a prefetcher knows (Sattolo's algorithm). */
static int shuffle(void)
{
	uint32_t i;

	cells = malloc(CELLS * sizeof(*cells));
	if (!cells)
		return -1;
	for (i = 0; i < CELLS; i++)
		cells[i] = i;
	for (i = CELLS - 1; i > 0; i--) {
		uint32_t other = random() % i, kept = cells[i];

		cells[i] = cells[other];
		cells[other] = kept;
	}
	return 0;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static uint64_t done[PIECES + 1];
	void (*piece)(void) = NULL;
	int count = 0, i;
	double end;

	if (argc == 3)
		piece = !strcmp(argv[1], "cpu") ? cpu : !strcmp(argv[1], "memory") ? memory :
			!strcmp(argv[1], "syscall") ? syscalls : NULL;
	if (!piece) {
		fprintf(stderr, "usage: tsc_job cpu|memory|syscall SECONDS\n");
		return 2;
	}
	if (piece == memory && shuffle())
		return 1;
	end = now() + atof(argv[2]);
	done[0] = tsc_now();
	while (count < PIECES && now() < end) {
		piece();
		done[++count] = tsc_now();
	}
	for (i = 0; i <= count; i++)
		printf("%ju%c", (uintmax_t)done[i], i < count ? ' ' : '\n');
	return 0;
}
