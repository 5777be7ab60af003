// SPDX-License-Identifier: GPL-2.0
/* tsc_mark NAME: logs NAME, and the TSC. */
#include "tsc.h"

int main(int argc, char **argv)
{
	uint64_t tsc = tsc_now();

	if (argc != 2) {
		fprintf(stderr, "usage: tsc_mark NAME\n");
		return 2;
	}
	return tsc_log(argv[1], tsc) ? 1 : 0;
}
