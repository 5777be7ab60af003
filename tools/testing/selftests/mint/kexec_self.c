// SPDX-License-Identifier: GPL-2.0
/*
 * kexec_self KERNEL INITRD CMDLINE: replaces the running kernel by KERNEL, with
 * the text of the file CMDLINE as its command line, as kexec -s and kexec -e do.
 * The TSC as of the latter is the last that it prints.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>
#include <x86intrin.h>

static int fail(const char *what)
{
	fprintf(stderr, "kexec_self: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	char line[2048];
	int kernel, initrd, cmdline;
	ssize_t length;

	if (argc != 4) {
		fprintf(stderr, "usage: kexec_self KERNEL INITRD CMDLINE\n");
		return 2;
	}
	kernel = open(argv[1], O_RDONLY);
	if (kernel < 0)
		return fail(argv[1]);
	initrd = open(argv[2], O_RDONLY);
	if (initrd < 0)
		return fail(argv[2]);
	cmdline = open(argv[3], O_RDONLY);
	if (cmdline < 0)
		return fail(argv[3]);
	length = read(cmdline, line, sizeof(line) - 1);
	if (length < 0)
		return fail(argv[3]);
	line[length] = 0;
	line[strcspn(line, "\n")] = 0;
	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(line) + 1, line, 0))
		return fail("kexec_file_load");
	dprintf(STDOUT_FILENO, "kexec tsc %llu\n", __rdtsc());
	/* What the driver still holds would be lost. */
	tcdrain(STDOUT_FILENO);
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL);
	return fail("reboot");
}
