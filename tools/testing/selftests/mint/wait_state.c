// SPDX-License-Identifier: GPL-2.0
/*
 * wait_state OS LIMIT STATE...: waits for an OS to go through the states named,
 * in that order and through no others, as a program would that is to act on it:
 * by uevents, and by poll(2) on its file `state`.
 *
 * The first line says since when it listens. The next has the states that uevents
 * told of, each with the seconds since boot at which it came: "went" is before them
 * if there was a uevent for each state, poll(2) woke, and the file reads as the
 * last of them; else "went" is not there, and the reason is behind them.
 *
 * With "any" as the first STATE, others may come before the ones named, and an
 * OS that is in the last state already is not waited for.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	/* What /proc/uptime shows. */
	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(2);
}

static int listen_for_uevents(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)))
		fail("netlink");
	return fd;
}

/* Reading it also arms poll(2) for the next change. */
static void read_state(int fd, char *state, size_t size)
{
	ssize_t length = pread(fd, state, size - 1, 0);

	if (length < 0)
		fail("state");
	state[length] = 0;
	state[strcspn(state, "\n")] = 0;
}

/* The value of KEY in a uevent: strings one behind the other, the first of which is no variable. */
static const char *value(const char *message, ssize_t length, const char *key)
{
	const char *at = message, *end = message + length;

	while ((at += strlen(at) + 1) < end)
		if (!strncmp(at, key, strlen(key)) && at[strlen(key)] == '=')
			return at + strlen(key) + 1;
	return "";
}

/* The state that the next uevent tells of, or NULL if it is not the OS's. */
static const char *next_uevent(int fd, const char *os)
{
	static char message[8192];
	char path[128];
	ssize_t length = recv(fd, message, sizeof(message) - 1, 0);

	if (length < 0)
		fail("uevent");
	message[length] = 0;
	snprintf(path, sizeof(path), "/kernel/mint/%s", os);
	if (strcmp(value(message, length, "SUBSYSTEM"), "mint") ||
	    strcmp(value(message, length, "ACTION"), "change") ||
	    strcmp(value(message, length, "DEVPATH"), path) ||
	    strcmp(value(message, length, "MINT_OS"), os))
		return NULL;
	return value(message, length, "MINT_STATE");
}

int main(int argc, char **argv)
{
	struct pollfd polled[2];
	char path[128], state[32], seen[4096] = "";
	size_t length = 0;
	bool any = argc > 3 && !strcmp(argv[3], "any");
	bool woken = false;
	double deadline;
	int next = any ? 4 : 3;

	if (argc <= next) {
		fprintf(stderr, "usage: wait_state OS LIMIT [any] STATE...\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IONBF, 0);
	deadline = now() + atof(argv[2]);
	snprintf(path, sizeof(path), "/sys/kernel/mint/%s/state", argv[1]);
	polled[0] = (struct pollfd){ .fd = listen_for_uevents(), .events = POLLIN };
	polled[1] = (struct pollfd){ .fd = open(path, O_RDONLY | O_CLOEXEC), .events = POLLPRI };
	if (polled[1].fd < 0)
		fail(path);
	read_state(polled[1].fd, state, sizeof(state));
	printf("since %.2f\n", now());
	if (any && !strcmp(state, argv[argc - 1])) {
		printf("went %s %.2f\n", state, now());
		return 0;
	}
	while (next < argc || !woken || strcmp(state, argv[argc - 1])) {
		double left = deadline - now();

		if (left <= 0 || !poll(polled, 2, left * 1000 + 1)) {
			printf("%sand no more within %s s; poll(2) %s, state is %s\n", seen, argv[2],
			       woken ? "woke" : "did not wake", state);
			return 1;
		}
		if (polled[1].revents) {
			woken = true;
			read_state(polled[1].fd, state, sizeof(state));
		}
		if (polled[0].revents) {
			const char *told = next_uevent(polled[0].fd, argv[1]);

			if (!told)
				continue;
			length += snprintf(seen + length, sizeof(seen) - length, "%s %.2f ", told, now());
			if (length >= sizeof(seen)) {
				printf("too many changes: %s\n", seen);
				return 1;
			}
			if (next < argc && !strcmp(told, argv[next])) {
				next++;
			} else if (!any) {
				printf("%sinstead of %s\n", seen, next < argc ? argv[next] : "nothing");
				return 1;
			}
		}
	}
	printf("went %s\n", seen);
	return 0;
}
