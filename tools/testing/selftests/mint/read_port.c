// SPDX-License-Identifier: GPL-2.0
/*
 * read_port PORT: reads a byte from an I/O port, for the test that sees such things.
 */

#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>

int main(int argc, char **argv)
{
	unsigned long port;

	if (argc != 2) {
		fprintf(stderr, "usage: read_port PORT\n");
		return 2;
	}
	port = strtoul(argv[1], NULL, 0);
	if (ioperm(port, 1, 1)) {
		perror("read_port: ioperm");
		return 1;
	}
	printf("port %#lx: %#x\n", port, inb(port));
	return 0;
}
