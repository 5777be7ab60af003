// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz_sysfs WRITES PROCESSES SEED [NAME...]: writes WRITES values to the files
 * of /sys/kernel/mint, from PROCESSES at once, and reads them in between, while
 * OSes are added and removed. The OSes of the NAMEs are left alone.
 *
 * Values are those that a file takes, those that it refuses, and what becomes
 * of them when bytes are changed. Each write must succeed, or fail with an error
 * that Documentation/ABI/testing/sysfs-kernel-mint has for that file; no process
 * may be killed or hang. Nothing is ever started: "1" is not written to `start`
 * or `restart`, and no kernel that is named would run.
 *
 * Makes /tmp/fuzz, with the files that are named as kernels and initrds; their
 * headers are made from that of /boot/vmlinuz. What each process tries is the
 * same for the same SEED, as far as it finds the same in the directories.
 *
 * Prints how often each error came. Exit status 0: all was as it must be.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MINT		"/sys/kernel/mint"
#define FILES		"/tmp/fuzz"
/* What sysfs takes of one write() at most. */
#define PAGE		4096
#define VALUE_MAX	(4 * PAGE)
#define PROCESSES_MAX	64
/* A directory's path, and the name of a file of Mint's in it. */
#define PATH_ROOM	(PATH_MAX + 16)
/* Files that a process keeps open. */
#define HELD		8
/* A process that makes no step for as long hangs, in seconds: what the scripts call PATIENCE. */
static unsigned int step_limit(void)
{
	const char *patience = getenv("PATIENCE");

	return patience ? atoi(patience) : 60;
}
#define ERRNO_MAX	160
#define M		(1ULL << 20)
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof(*(a)))
#define PICK(array)	((array)[below(ARRAY_SIZE(array))])

/* Few, so that processes meet. */
static const char *const names[] = { "a", "b", "web-1" };

static const char *const other_names[] = {
	"", ".", "..", ".a", "a/b", "a b", "a\tb", "add", "remove", "memory_free", "%s%n", "\xc3\xa4",
	"abcdefghijklmnopqrstuvwxyz01234", "abcdefghijklmnopqrstuvwxyz012345",
};

static const char *const cpus[] = {
	"", "1", "2-3", "1-3", "3,1-2", "1,2,3", "0", "0-3", "4", "255", "4096", "1-", "-1", "1,,2",
	"2-1", "1:2", "1-3:1/2", "all", "N", "1-N", "none", "99999999999999999999",
};

static const char *const sizes[] = {
	"", "2M", "4M", "8M", "16M", "64M", "4096K", "0x400000", "040000000", "4194304",
	"16M@0x40000000", "4M@0x47000000", "64M@1984M", "8M@0x40000000", "2G", "16E", "1P@1P", "0",
	"1", "3M", "64M@", "64M@x", "4M@1M", "4M@0xffffffffffe00000", "-4M", "4Mx",
	"99999999999999999999", "2M@0x10000000",
};

static const char *const paths[] = {
	"", FILES "/good", FILES "/good", FILES "/good", FILES "/bad0", FILES "/bad1",
	FILES "/bad2", FILES "/bad3", FILES "/bad4", FILES "/bad5", FILES "/bad6", FILES "/bad7",
	FILES "/text", FILES "/empty", FILES "/short", FILES "/sparse", FILES "/link",
	FILES "/missing", FILES "/directory", FILES "/text/x", FILES "/loop", FILES "/fifo",
	MINT "/a/state", MINT "/b/memory", "/", "//", "/proc", "none", "relative", "./x", " /tmp",
	"/tmp/../tmp/fuzz/good",
};

static const char *const parameters[] = {
	"", "quiet", "a=1 \"b=2 3\" -- init", "tsc=reliable", "pci=off", "panic=0", "panic=10",
	"memmap=1G", "acpi=off", "noapic", "apic=bigsmp", "tsc=unstable", "no_ipi_broadcast=0",
	"tsc_early_khz=1", "8250.nr_uarts=4", "earlyprintk=ttyS0", "efi=noruntime", "noefi",
	"mem_encrypt=on",
	"console=ttyS0", "console=uart8250,io,0x2f8", "console=uart,io,0x3f8", "earlycon",
	"\"noapic ", "a\nb", "a\tb", "\x7f", "\xc3\xa4", "%s%n%p", "'{}' {:?}",
};

static const char *const consoles[] = {
	"", "0x2e8", "0x2f8", "0x3e8", "0x3f8", "0x8", "0xfff8", "0x500", "0x60", "0", "0x0", "2f8",
	"0x2f9", "0x12f80", "ttyS1", "-1", "0x+8",
};

static const char *const devices[] = {
	"", "0000:01:00.0", "01:00.0", "0000:01", "0000:02 0000:01:00.0", "0000:01:00.0\t0000:01",
	"0000:00:00.0", "0000:00", "00:1f.2", "0000:70:00.0", "ffff:ff:1f.7", "10000:00:00.0", "0000:",
	"0000:01:00", "0000:01:20.0", "0000:01:00.8", ":::", "all", "01",
};

static const char *const disks[] = {
	"", FILES "/text", FILES "/text:ro", FILES "/text:ro " FILES "/good:ro", FILES "/text " FILES "/text",
	FILES "/good\t/tmp:ro", "/proc/meminfo:ro", "/dev/null", "/dev/nvme0n1", "/dev/nvme0n1:ro", "/none",
	"none", ":ro", "/:ro", FILES "/text:rw", "relative:ro " FILES "/text", "//", FILES "/text:ro:ro",
};

/* Of files, only those that are no TAP interface. */
static const char *const networks[] = {
	"", "none", "none 02:00:00:00:00:01", "none 01:00:00:00:00:01", "0", "1 02:00:00:00:00:01", "99", "4294967295",
	"lo", "lo 02:00:00:00:00:01", "tap%d", "a/b", "..", "a b c", "02:00:00:00:00:01", "\xc3\xa4",
};

static const char *const serial_numbers[] = {
	"", "1", "ds=nocloud;s=http://10.0.0.1/", " ", "a\nb", "a\tb", "\xc3\xa4", "%s%n",
};

static const char *const credentials[] = {
	"", "a=1\n", "a=1", "system.hostname=web-1\nbinary:b=AAAA\n", "binary:a=AAA", "binary:a=AAA\n", "a=1\na=2\n",
	"\n\n", "=\n", "a\n", "a/b=\n", "a=\xc3\xa4\n", "a=\t\n", "a=\033\n", "binary:=AAAA\n", "%s%n=%s\n",
};

static const char *const recoveries[] = {
	"enabled", "disabled", "recover", "", "1", "0", "Enabled", "enabled disabled",
};

static const char *const commands[] = {
	"1", "1", "1", "1", "1", "1", "", "0", "2", "1\n\n", " 1", "1 ", "01", "11", "true",
};

/* What is written to a file, and the errors that it has besides those that all have. */
struct kind {
	const char *file;
	const char *const *values;
	size_t count;
	const int *errors;
};

#define KIND(file, values, ...) \
	{ file, values, ARRAY_SIZE(values), (const int[]){ __VA_ARGS__ __VA_OPT__(,) 0 } }

static const struct kind kinds[] = {
	KIND("add", other_names, EEXIST),
	KIND("remove", other_names, ENOENT, EBUSY),
	KIND("cpus", cpus, ERANGE, EOVERFLOW, EBUSY),
	KIND("memory", sizes, EBUSY),
	KIND("kernel", paths, EBUSY, ENAMETOOLONG),
	KIND("initrd", paths, EBUSY, ENAMETOOLONG),
	KIND("cmdline", parameters, E2BIG, EBUSY),
	KIND("console", consoles, EBUSY),
	KIND("devices", devices, EBUSY, EOPNOTSUPP),
	KIND("disks", disks, EBUSY, E2BIG),
	/* ENOENT: without the module tun. */
	KIND("network", networks, EBUSY, EBADF, ENOENT),
	KIND("serial_number", serial_numbers, EBUSY),
	KIND("credentials", credentials, EBUSY, E2BIG),
	/* Its own, and those of open(2) and read(2) for what is in `paths`. */
	KIND("load", commands, EBUSY, ENOEXEC, ETXTBSY, ENOENT, ENOTDIR, EACCES, EISDIR, EIO, ELOOP,
	     ENAMETOOLONG, EFBIG, EOVERFLOW),
	KIND("start", commands, EBUSY),
	KIND("restart", commands, EBUSY),
	KIND("stop", commands, EBUSY),
	KIND("recovery", recoveries, EBUSY),
	/* Any other. */
	KIND(NULL, commands, EBUSY),
};

/* Of all files: no value, no memory left, an OS that is being removed. */
static const int write_errors[] = { EINVAL, ENOMEM, ENODEV, 0 };
/* There is no log or core of an OS that does not run. */
static const int read_errors[] = { ENODATA, ENOMEM, ENODEV, 0 };
/* A file that is not there any more; one that is not to be written, or read. */
static const int open_errors[] = { ENOENT, ENODEV, EACCES, ENOMEM, 0 };

static struct shared {
	unsigned long written[ERRNO_MAX];
	unsigned long opened[ERRNO_MAX];
	unsigned long read[ERRNO_MAX];
	unsigned long loaded;
	unsigned long faults;
	/* What each process does, and how much it has done. */
	struct {
		unsigned long steps;
		const char *what;
		char path[PATH_ROOM];
	} doing[PROCESSES_MAX];
} *shared;

struct file {
	int fd;
	const struct kind *kind;
	char path[PATH_ROOM];
};

static char **spared;
static int process;
static unsigned long writes_left;
static struct file held[HELD];
static uint64_t random_state;

/* SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014). */
static uint64_t next(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static size_t below(size_t end)
{
	return next() % end;
}

static bool one_in(size_t count)
{
	return below(count) == 0;
}

__attribute__((format(printf, 1, 2))) static void fault(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	printf("process %d: ", process);
	vprintf(format, arguments);
	printf("\n");
	fflush(stdout);
	va_end(arguments);
	__atomic_add_fetch(&shared->faults, 1, __ATOMIC_RELAXED);
}

static void must(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(2);
}

static bool is_among(const int *errors, int error)
{
	while (*errors && *errors != error)
		errors++;
	return *errors != 0;
}

static void count(unsigned long *counts, int error)
{
	__atomic_add_fetch(&counts[error], 1, __ATOMIC_RELAXED);
}

/* Says what is about to be done, in case that it does not end. */
static void doing(const char *what, const char *path)
{
	shared->doing[process].what = what;
	snprintf(shared->doing[process].path, PATH_ROOM, "%s", path);
	__atomic_add_fetch(&shared->doing[process].steps, 1, __ATOMIC_RELAXED);
}

static bool is_spared(const char *name, size_t len)
{
	for (char **one = spared; *one; one++)
		if (strlen(*one) == len && !memcmp(*one, name, len))
			return true;
	return false;
}

static const struct kind *kind_of(const char *path)
{
	const struct kind *kind = kinds;
	const char *file = strrchr(path, '/') + 1;

	while (kind->file && strcmp(kind->file, file))
		kind++;
	return kind;
}

/* One of a kind's values; returns its length. */
static size_t take(const struct kind *kind, char *value)
{
	const char *text = kind->values[below(kind->count)];

	if (kind->values == other_names && !one_in(4))
		text = PICK(names);
	strcpy(value, text);
	return strlen(text);
}

/* Changes a value of `len` bytes; returns how many it has then. */
static size_t change(char *value, size_t len)
{
	static const size_t limits[] = { 32, 2048, PAGE };
	size_t at = below(len + 1);

	switch (below(8)) {
	case 0:
		value[at] = below(256);
		return at < len ? len : len + 1;
	case 1:
		memmove(value + at + 1, value + at, len - at);
		value[at] = below(256);
		return len + 1;
	case 2:
		value[at] = 0;
		return at < len ? len : len + 1;
	case 3:
		value[len] = '\n';
		return len + 1;
	case 4:
		return len + take(&PICK(kinds), value + len);
	case 5:
		return take(&PICK(kinds), value);
	case 6:
		return at;
	default:
		/* About as long as can be, or much longer. */
		at = one_in(4) ? below(3 * PAGE) : PICK(limits) - 2 + below(4);
		if (at > len)
			memset(value + len, len ? value[len - 1] : 'x', at - len);
		return at;
	}
}

/* Whether to scrub so much would take an emulator long. What nobody has may be asked for. */
static bool is_slow(const char *size)
{
	char *end;
	unsigned long long bytes = strtoull(size, &end, 0);

	switch (toupper((unsigned char)*end)) {
	case 'K':
		bytes <<= 10;
		break;
	case 'M':
		bytes <<= 20;
		break;
	case 'G':
		bytes <<= 30;
		break;
	}
	return bytes > 64 * M && bytes < 2048 * M;
}

/* Makes a value for a file of this kind; returns its length. */
static size_t make_value(const struct kind *kind, char *value)
{
	size_t len = take(kind, value);

	while (one_in(3) && len < PAGE)
		len = change(value, len);
	value[len] = 0;
	if (kind->values == sizes && is_slow(value))
		len = sprintf(value, "64M");
	return len;
}

/* Whether it would start something, or touch an OS that is to be left alone. */
static bool is_forbidden(const struct kind *kind, const char *value, size_t len)
{
	if (len > PAGE)
		len = PAGE;
	if (len && value[len - 1] == '\n')
		len--;
	if (kind->values == other_names)
		return is_spared(value, len);
	if (kind->file && (!strcmp(kind->file, "start") || !strcmp(kind->file, "restart")))
		return len == 1 && *value == '1';
	return false;
}

static bool open_file(struct file *file, const char *path, int flags)
{
	int error;

	snprintf(file->path, PATH_ROOM, "%s", path);
	file->kind = kind_of(path);
	doing("open", path);
	file->fd = open(path, flags | O_CLOEXEC);
	error = file->fd < 0 ? errno : 0;
	count(shared->opened, error);
	if (error && !is_among(open_errors, error))
		fault("open %s: %s", path, strerror(error));
	return !error;
}

static void write_value(const struct file *file, const char *value, size_t len, off_t offset)
{
	size_t taken = len < PAGE ? len : PAGE;
	ssize_t result;
	int error;

	if (is_forbidden(file->kind, value, len) || !writes_left)
		return;
	writes_left--;
	doing("write", file->path);
	result = offset ? pwrite(file->fd, value, len, offset) : write(file->fd, value, len);
	error = result < 0 ? errno : 0;
	count(shared->written, error);
	if (!error && file->kind->file && !strcmp(file->kind->file, "load"))
		__atomic_add_fetch(&shared->loaded, 1, __ATOMIC_RELAXED);
	if (result >= 0 && (size_t)result != taken)
		fault("%zu bytes to %s: %zd were taken", len, file->path, result);
	if (error && !is_among(write_errors, error) && !is_among(file->kind->errors, error))
		fault("%zu bytes '%.64s' to %s: %s", len, value, file->path, strerror(error));
}

static void write_any(const struct file *file, off_t offset)
{
	char value[VALUE_MAX];
	size_t len = make_value(file->kind, value);

	write_value(file, value, len, offset);
}

static void write_to(const char *path, const char *text)
{
	struct file file;

	if (!open_file(&file, path, O_WRONLY | (one_in(2) ? O_TRUNC : 0)))
		return;
	if (text)
		write_value(&file, text, strlen(text), 0);
	else
		write_any(&file, 0);
	close(file.fd);
}

static void read_from(const struct file *file, off_t offset)
{
	char buffer[2 * PAGE];
	size_t room = one_in(2) ? sizeof(buffer) : 1 + below(sizeof(buffer));
	ssize_t result;

	doing("read", file->path);
	result = offset ? pread(file->fd, buffer, room, offset) : read(file->fd, buffer, room);
	count(shared->read, result < 0 ? errno : 0);
	/* An offset that is none is refused before the file is asked. */
	if (result < 0 && !is_among(read_errors, errno) && !(errno == EINVAL && offset))
		fault("read %s: %m", file->path);
}

static off_t any_offset(void)
{
	static const off_t offsets[] = { 1, 7, PAGE - 1, PAGE, PAGE + 1, 1 << 20, 1LL << 31, 1LL << 40,
					 LLONG_MAX - PAGE, LLONG_MAX, -1, LLONG_MIN };

	return one_in(2) ? 0 : PICK(offsets);
}

/* The path of one of the entries of a directory, of its subdirectories or else of its files. */
static bool pick_entry(const char *directory, bool subdirectory, char *path)
{
	struct dirent *entry;
	size_t seen = 0;
	DIR *open;

	doing("list", directory);
	open = opendir(directory);
	if (!open)
		return false;
	while ((entry = readdir(open))) {
		if ((entry->d_type == DT_DIR) != subdirectory || *entry->d_name == '.' ||
		    is_spared(entry->d_name, strlen(entry->d_name)))
			continue;
		/* Each is as likely. */
		if (one_in(++seen))
			snprintf(path, PATH_MAX, "%s/%s", directory, entry->d_name);
	}
	closedir(open);
	return seen;
}

static bool pick_file(char *path)
{
	char directory[PATH_MAX];

	if (one_in(10))
		return pick_entry(MINT, false, path);
	return pick_entry(MINT, true, directory) && pick_entry(directory, false, path);
}

/* Does something with a file that was opened earlier, perhaps of an OS that is gone. */
static void use_held(struct file *file)
{
	struct pollfd poll_fd = { .fd = file->fd, .events = POLLIN | POLLPRI };

	switch (below(6)) {
	case 0:
	case 1:
		if ((fcntl(file->fd, F_GETFL) & O_ACCMODE) != O_RDONLY)
			write_any(file, any_offset());
		break;
	case 2:
	case 3:
		if ((fcntl(file->fd, F_GETFL) & O_ACCMODE) != O_WRONLY)
			read_from(file, any_offset());
		break;
	case 4:
		doing("poll", file->path);
		poll(&poll_fd, 1, 0);
		break;
	default:
		close(file->fd);
		file->fd = -1;
	}
}

static void hold(struct file *file)
{
	static const int flags[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_APPEND };
	char path[PATH_MAX];

	if (pick_file(path))
		open_file(file, path, PICK(flags));
}

/* All that a load needs, or all but one thing, while others write there as well. */
static void load_one(void)
{
	static const char *const values[][2] = {
		{ "stop", "1" }, { "cpus", "1-2" }, { "memory", "8M" }, { "kernel", FILES "/good" },
		{ "initrd", "" }, { "cmdline", "quiet" }, { "console", "" }, { "load", "1" },
	};
	char directory[PATH_MAX], path[PATH_ROOM];
	size_t other = below(2 * ARRAY_SIZE(values));

	if (!pick_entry(MINT, true, directory))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		snprintf(path, PATH_ROOM, "%s/%s", directory, values[i][0]);
		/* Nothing can't be written: an empty line. */
		write_to(path, i == other ? NULL : *values[i][1] ? values[i][1] : "\n");
	}
}

static void step(void)
{
	struct file file, *any = &PICK(held);
	char path[PATH_MAX];
	size_t what = below(100);

	if (what < 8) {
		write_to(MINT "/add", NULL);
	} else if (what < 11) {
		/* Half of the time one that is there. */
		if (one_in(2) && pick_entry(MINT, true, path))
			write_to(MINT "/remove", strrchr(path, '/') + 1);
		else
			write_to(MINT "/remove", NULL);
	} else if (what < 15) {
		load_one();
	} else if (what < 40) {
		if (any->fd >= 0)
			use_held(any);
		else
			hold(any);
	} else if (what < 75) {
		if (pick_file(path))
			write_to(path, NULL);
	} else if (pick_file(path) && open_file(&file, path, O_RDONLY)) {
		read_from(&file, any_offset());
		close(file.fd);
	}
}

static void run(unsigned long writes, uint64_t seed)
{
	random_state = seed * PROCESSES_MAX + process;
	writes_left = writes;
	for (size_t i = 0; i < HELD; i++)
		held[i].fd = -1;
	while (writes_left)
		step();
	exit(0);
}

static void make_file(const char *path, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	must(fd >= 0 && write(fd, bytes, len) == (ssize_t)len, path);
	close(fd);
}

static void make_files(void)
{
	static unsigned char image[1024 + 0x10000];
	/* The setup header; see Documentation/arch/x86/boot.rst. */
	const size_t header = 0x1f1, header_end = 0x290;
	int fd = open("/boot/vmlinuz", O_RDONLY | O_CLOEXEC);

	must(fd >= 0 && read(fd, image, header_end) == (ssize_t)header_end, "/boot/vmlinuz");
	close(fd);
	must(!mkdir(FILES, 0700) && !mkdir(FILES "/directory", 0700), FILES);
	/* One sector of setup code, 64 KiB of code that is all zeros, 1 MiB to unpack it. */
	image[0x1f1] = 1;
	memcpy(image + 0x1f4, &(uint32_t){ 0x1000 }, 4);
	memcpy(image + 0x260, &(uint32_t){ M }, 4);
	make_file(FILES "/good", image, sizeof(image));
	make_file(FILES "/short", image, 2000);
	make_file(FILES "/text", "no kernel\n", 10);
	make_file(FILES "/empty", "", 0);
	make_file(FILES "/sparse", "", 0);
	must(!truncate(FILES "/sparse", 8192 * M), FILES "/sparse");
	must(!symlink("good", FILES "/link") && !symlink("loop", FILES "/loop") &&
	     !mkfifo(FILES "/fifo", 0600), FILES);
	for (char name[] = FILES "/bad0"; name[sizeof(name) - 2] < '8'; name[sizeof(name) - 2]++) {
		unsigned char before[0x290];

		memcpy(before, image, sizeof(before));
		for (size_t left = 1 + below(3); left; left--)
			image[header + below(header_end - header)] = below(256);
		make_file(name, image, sizeof(image));
		memcpy(image, before, sizeof(before));
	}
}

static void print_counts(const char *what, const unsigned long *counts)
{
	printf("%s: %lu good", what, counts[0]);
	for (int error = 1; error < ERRNO_MAX; error++)
		if (counts[error])
			printf(", %lu %s", counts[error], strerrorname_np(error));
	printf("\n");
}

/* Waits for a process to end, which none does without being seen to do something. */
static void wait_for_one(pid_t *pids, unsigned int processes)
{
	static unsigned long steps[PROCESSES_MAX];
	const struct timespec limit = { .tv_sec = step_limit() };
	sigset_t child;
	int status;
	pid_t pid;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	while ((pid = waitpid(-1, &status, WNOHANG)) == 0) {
		if (sigtimedwait(&child, NULL, &limit) >= 0)
			continue;
		for (process = 0; process < (int)processes; process++) {
			unsigned long now = __atomic_load_n(&shared->doing[process].steps, __ATOMIC_RELAXED);

			if (pids[process] && now == steps[process]) {
				fault("hangs: %s %s", shared->doing[process].what,
				      shared->doing[process].path);
				/* It may be one that can't be killed: others are not waited for. */
				exit(1);
			}
			steps[process] = now;
		}
	}
	must(pid > 0, "waitpid");
	for (process = 0; pids[process] != pid; process++)
		;
	pids[process] = 0;
	if (status)
		fault("ended with status %#x: %s %s", status, shared->doing[process].what,
		      shared->doing[process].path);
}

int main(int argc, char **argv)
{
	pid_t pids[PROCESSES_MAX];
	unsigned long writes, processes;
	uint64_t seed;
	sigset_t child;

	if (argc < 4) {
		printf("usage: fuzz_sysfs WRITES PROCESSES SEED [NAME...]\n");
		return 2;
	}
	writes = strtoul(argv[1], NULL, 0);
	processes = strtoul(argv[2], NULL, 0);
	seed = strtoull(argv[3], NULL, 0);
	spared = argv + 4;
	if (!processes || processes > PROCESSES_MAX) {
		printf("1 to %d processes\n", PROCESSES_MAX);
		return 2;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(shared != MAP_FAILED, "mmap");
	random_state = seed;
	make_files();

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	for (process = 0; process < (int)processes; process++) {
		fflush(stdout);
		pids[process] = fork();
		must(pids[process] >= 0, "fork");
		if (!pids[process])
			run(writes / processes + ((unsigned int)process < writes % processes), seed);
	}
	for (unsigned long left = processes; left; left--)
		wait_for_one(pids, processes);

	print_counts("open", shared->opened);
	print_counts("read", shared->read);
	print_counts("write", shared->written);
	printf("%lu loads, %lu faults\n", shared->loaded, shared->faults);
	return shared->faults != 0;
}
