// SPDX-License-Identifier: GPL-2.0
/* tsc_rate: prints the TSC's frequency in Hz, by the system's clock over a second. */
#include <time.h>

#include "tsc.h"

/* The clock and the TSC at one time: of several, the two that were read in the least time. */
static void read_both(double *seconds, uint64_t *tsc)
{
	uint64_t least = UINT64_MAX;
	int i;

	for (i = 0; i < 1000; i++) {
		struct timespec time;
		uint64_t before = tsc_now(), after;

		clock_gettime(CLOCK_MONOTONIC_RAW, &time);
		after = tsc_now();
		if (after - before < least) {
			least = after - before;
			*tsc = before + least / 2;
			*seconds = time.tv_sec + time.tv_nsec / 1e9;
		}
	}
}

int main(void)
{
	double seconds[2];
	uint64_t tsc[2];

	read_both(&seconds[0], &tsc[0]);
	nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
	read_both(&seconds[1], &tsc[1]);
	printf("%.0f\n", (tsc[1] - tsc[0]) / (seconds[1] - seconds[0]));
	return 0;
}
