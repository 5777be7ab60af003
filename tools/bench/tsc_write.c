// SPDX-License-Identifier: GPL-2.0
/*
 * tsc_write FILE...: writes 1 to each, and then says of each the TSC before and
 * after the write.
 */
#include <errno.h>
#include <string.h>

#include "tsc.h"

#define FILES 8

int main(int argc, char **argv)
{
	uint64_t before[FILES], after[FILES];
	int fds[FILES], i;

	if (argc < 2 || argc > FILES) {
		fprintf(stderr, "usage: tsc_write FILE...\n");
		return 2;
	}
	for (i = 1; i < argc; i++) {
		fds[i] = open(argv[i], O_WRONLY);
		if (fds[i] < 0) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
			return 1;
		}
	}
	for (i = 1; i < argc; i++) {
		before[i] = tsc_now();
		if (write(fds[i], "1", 1) != 1) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
			return 1;
		}
		after[i] = tsc_now();
	}
	for (i = 1; i < argc; i++)
		printf("wrote %s %ju %ju\n", argv[i], (uintmax_t)before[i], (uintmax_t)after[i]);
	return 0;
}
