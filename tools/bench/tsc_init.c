// SPDX-License-Identifier: GPL-2.0
/*
 * The first program of a system that is measured: logs when user space began,
 * and goes on as /bench/init.
 */
#include <stdlib.h>
#include <sys/mount.h>

#include "tsc.h"

int main(int argc, char **argv)
{
	uint64_t tsc = tsc_now();

	(void)argc;
	/* Without a console there are no open files, and the next ones would pass for them. */
	if (mount("dev", "/dev", "devtmpfs", 0, NULL))
		return 1;
	while (fcntl(STDERR_FILENO, F_GETFD) < 0)
		if (open("/dev/null", O_RDWR) < 0)
			return 1;
	if (tsc_log("user_space", tsc))
		return 1;
	argv[0] = "/bench/init";
	execv(argv[0], argv);
	return 1;
}
