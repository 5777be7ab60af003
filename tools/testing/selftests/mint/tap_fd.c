// SPDX-License-Identifier: GPL-2.0
/*
 * tap_fd NAME FLAGS FILE: attaches to the network interface NAME with the flags of TUNSETIFF, or to none if NAME
 * is empty, and writes the number of the file that is attached to FILE.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct ifreq request = {};
	char number[16];
	int tap, file;

	if (argc != 4) {
		fprintf(stderr, "usage: tap_fd NAME FLAGS FILE\n");
		return 2;
	}
	tap = open("/dev/net/tun", O_RDWR);
	if (tap < 0) {
		perror("tap_fd: /dev/net/tun");
		return 2;
	}
	strncpy(request.ifr_name, argv[1], IFNAMSIZ - 1);
	request.ifr_flags = strtoul(argv[2], NULL, 0);
	if (*argv[1] && ioctl(tap, TUNSETIFF, &request)) {
		perror("tap_fd: TUNSETIFF");
		return 2;
	}
	file = open(argv[3], O_WRONLY);
	if (file < 0) {
		perror("tap_fd: FILE");
		return 2;
	}
	snprintf(number, sizeof(number), "%d", tap);
	if (write(file, number, strlen(number)) < 0) {
		fprintf(stderr, "tap_fd: %s\n", strerror(errno));
		return 1;
	}
	return 0;
}
