// SPDX-License-Identifier: GPL-2.0
/*
 * kexec_self [-p] KERNEL INITRD CMDLINE: replaces the running kernel by KERNEL, with
 * the text of the file CMDLINE as its command line, as kexec -s and kexec -e do.
 * The TSC as of the latter is the last that it prints. With -p it only loads KERNEL, to
 * be started by a panic, as kexec -s -p does.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
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
	int kernel, initrd, cmdline, flags = 0;
	ssize_t length;

	if (argc == 5 && !strcmp(argv[1], "-p")) {
		flags = KEXEC_FILE_ON_CRASH;
		argc--;
		argv++;
	}
	if (argc != 4) {
		fprintf(stderr, "usage: kexec_self [-p] KERNEL INITRD CMDLINE\n");
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
	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(line) + 1, line, flags))
		return fail("kexec_file_load");
	if (flags)
		return 0;
	dprintf(STDOUT_FILENO, "kexec tsc %llu\n", __rdtsc());
	/* What the driver still holds would be lost. */
	tcdrain(STDOUT_FILENO);
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL);
	return fail("reboot");
}
