// SPDX-License-Identifier: GPL-2.0
/*
 * deadline RUNTIME PERIOD: is a SCHED_DEADLINE task with these, in milliseconds, says so,
 * and sleeps until it is killed.
 */
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sched_attr attr = { .size = sizeof(attr), .sched_policy = SCHED_DEADLINE };

	if (argc != 3) {
		fprintf(stderr, "usage: deadline RUNTIME PERIOD\n");
		return 2;
	}
	attr.sched_runtime = strtoull(argv[1], NULL, 0) * 1000000;
	attr.sched_deadline = strtoull(argv[2], NULL, 0) * 1000000;
	attr.sched_period = attr.sched_deadline;
	if (syscall(SYS_sched_setattr, 0, &attr, 0)) {
		perror("sched_setattr");
		return 1;
	}
	puts("deadline");
	fflush(stdout);
	for (;;)
		pause();
}
