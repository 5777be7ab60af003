/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The one clock that all systems of a machine have in common: the TSC. A system
 * tells of it by its own log, which the first OS can read from outside.
 */
#ifndef TSC_H
#define TSC_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <x86intrin.h>

/* After all that is before it, as Intel's SDM says of RDTSC. */
static inline uint64_t tsc_now(void)
{
	_mm_lfence();
	return __rdtsc();
}

/*
 * Logs NAME with the TSC of when it was, and then the TSC beside the log's own
 * timestamps. A line can be late, never early; so of several, the one that was
 * least late says how the log's clock stands to the TSC.
 */
static inline int tsc_log(const char *name, uint64_t tsc)
{
	char line[128];
	int kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	int length, i;

	if (kmsg < 0)
		return -1;
	length = snprintf(line, sizeof(line), "mint-bench: %s tsc=%ju", name, (uintmax_t)tsc);
	if (write(kmsg, line, length) != length)
		return -1;
	for (i = 0; i < 3; i++) {
		length = snprintf(line, sizeof(line), "mint-bench: clock tsc=%ju", (uintmax_t)tsc_now());
		if (write(kmsg, line, length) != length)
			return -1;
	}
	return close(kmsg);
}

#endif
