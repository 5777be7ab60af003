// SPDX-License-Identifier: GPL-2.0
/*
 * scribble FUNCTION HOW SECONDS SEED: writes nonsense to a disk made of memory, and says how much.
 *
 * With "wild", to all of its bus: configuration space, registers, doorbells and MSI-X entries, whether
 * there is a function or not. With "driven", as a driver that is out of its mind: there are queues,
 * whose commands make some sense, and change while they are read. It needs iomem=relaxed on the
 * command line, and for "driven" that the function has no other driver.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* memory_device/bus.rs: ECAM and window, and how far one device is from the next in both. */
#define BUS_LEN		(2 << 20)
#define WINDOW		(1 << 20)
#define STRIDE		(32 << 10)

/* NVM Express Base Specification; nvme/registers.rs */
#define NVME_CC		0x14
#define NVME_CSTS	0x1c
#define NVME_AQA	0x24
#define NVME_ASQ	0x28
#define NVME_ACQ	0x30
#define NVME_DOORBELLS	0x1000
#define NVME_MSIX	0x2000
#define CC_ENABLE	0x00460001	/* entries of 64 and of 16 bytes */
#define CSTS_READY	0x1
#define CSTS_FATAL	0x2

#define PCI_CAPABILITY	0x34
#define PCI_CAP_MSIX	0x11
#define MSIX_ENABLE	0x8000

/* Where the RAM of all OSes begins (POOL in first_os.py); below is the first OS's. */
#define POOL		(1 << 30)

#define PAGES		64
#define PAGE		4096
#define ENTRIES		64
#define QUEUES		3
#define VECTORS		4

static uint64_t seed;
static uint64_t written;
static time_t end;

static volatile uint8_t *bus;
/* Where the function's configuration space is in the ECAM, and its registers in the window. */
static uint32_t place;
static uint8_t *own;
static uint64_t physical[PAGES];

static uint32_t any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed >> 16;
}

static int in_time(void)
{
	return time(NULL) < end;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void put32(uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)(bus + offset) = value;
	written++;
}

static uint32_t get32(uint32_t offset)
{
	return *(volatile uint32_t *)(bus + offset);
}

static void put_register(uint32_t offset, uint32_t value)
{
	put32(WINDOW + place + offset, value);
}

static uint32_t get_register(uint32_t offset)
{
	return get32(WINDOW + place + offset);
}

static void put_register64(uint32_t offset, uint64_t value)
{
	put_register(offset, value);
	put_register(offset + 4, value >> 32);
}

/* Mostly what is near to something that could be right. */
static uint32_t odd_value(void)
{
	switch (any() % 6) {
	case 0:
		return 0;
	case 1:
		return 0xffffffff;
	case 2:			/* an address of a queue, but not where the OSes have their RAM */
		return 1u << (any() % 30);
	case 3:
		return any() % 64;
	case 4:
		return CC_ENABLE ^ (any() % 4 ? 0 : 1u << (any() % 32));
	default:
		return any();
	}
}

static void wild(void)
{
	while (in_time()) {
		for (int count = 0; count < 256; count++) {
			uint32_t where = any() % 8;
			uint32_t offset;

			if (where == 0)		/* anywhere */
				offset = any() % BUS_LEN;
			else if (where == 1)	/* configuration space */
				offset = place + any() % 256;
			else if (where == 2)	/* MSI-X entries */
				offset = WINDOW + place + NVME_MSIX + any() % 256;
			else if (where < 5)	/* doorbells */
				offset = WINDOW + place + NVME_DOORBELLS + any() % 64;
			else			/* registers */
				offset = WINDOW + place + any() % 64;
			put32(offset & ~3, odd_value());
		}
		usleep(1000);
	}
}

/*
 * An address of this program's own memory, or, now and then, one that is not the OS's. One that is
 * could do the OS itself harm.
 */
static uint64_t address(void)
{
	switch (any() % 16) {
	case 0:
		return (uint64_t)(any() | 1) << 32 | any();
	case 1:
		return any() % POOL;
	case 2:
		return physical[any() % PAGES] + any() % PAGE;
	default:
		return physical[any() % PAGES];
	}
}

/* Messages to one of the program's own CPUs have a vector that does it no harm. */
static void put_msix(void)
{
	static const uint8_t harmless[] = { 0x30, 0x41, 0x52, 0x63, 0x74 };

	for (uint32_t vector = 0; vector < VECTORS; vector++) {
		uint32_t entry = NVME_MSIX + 16 * vector;
		int is_own = any() % 2;

		put_register(entry, 0xfee00000 | (is_own ? 2 + any() % 2 : any() % 2 ? any() % 2 : 4 + any() % 252) << 12);
		put_register(entry + 4, any() % 8 ? 0 : any());
		put_register(entry + 8, is_own ? harmless[any() % sizeof(harmless)] : any() % 4 ? any() % 256 : any());
		put_register(entry + 12, any() % 8 ? 0 : any());
	}
}

static void put_command(uint32_t *command, int is_admin)
{
	static const uint8_t admin[] = { 0x00, 0x01, 0x01, 0x02, 0x04, 0x05, 0x05, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x7c };
	static const uint8_t io[] = { 0x00, 0x01, 0x01, 0x02, 0x02, 0x08, 0x09 };
	uint8_t opcode = is_admin ? admin[any() % sizeof(admin)] : io[any() % sizeof(io)];
	uint64_t prp1 = address(), prp2 = address();

	for (int word = 0; word < 16; word++)
		command[word] = any() % 4 ? 0 : odd_value();
	if (any() % 32 == 0)
		opcode = any();
	command[0] = any() << 16 | opcode;
	command[1] = any() % 8 ? 1 : odd_value();
	memcpy(&command[6], &prp1, 8);
	memcpy(&command[8], &prp2, 8);
	command[10] = is_admin ? any() % (QUEUES + 1) | (ENTRIES - 1) << 16 : any() % 4096;
	command[11] = is_admin ? 1 | any() % 2 << 1 | any() % VECTORS << 16 : 0;
	if (!is_admin)
		command[12] = any() % 4 ? any() % 64 : any();
}

/* The first two pages are the admin queues; the others serve as whatever the commands say. */
static void scribble_queues(void)
{
	for (int count = 0; count < 8; count++)
		put_command((uint32_t *)(own + any() % ENTRIES * 64), 1);
	for (int count = 0; count < 32; count++)
		put_command((uint32_t *)(own + (2 + any() % (PAGES - 2)) * PAGE + any() % ENTRIES * 64), 0);
	for (int count = 0; count < 32; count++) {
		/* PRP lists and shadow doorbells. */
		uint64_t *word = (uint64_t *)(own + (2 + any() % (PAGES - 2)) * PAGE) + any() % (PAGE / 8);

		*word = any() % 2 ? address() : any() % ENTRIES;
	}
	written += 72;
}

static void drive(void)
{
	unsigned int enabled = 0, ready = 0, fatal = 0;

	while (in_time()) {
		put_register(NVME_CC, 0);
		for (int count = 0; count < 200 && get_register(NVME_CSTS) & CSTS_READY; count++)
			usleep(5000);
		/* Longer queues would reach into memory of the OS that is not this program's. */
		put_register(NVME_AQA, any() % 8 ? (ENTRIES - 1) << 16 | (ENTRIES - 1) : any() & 0xf03ff03f);
		put_register64(NVME_ASQ, any() % 16 ? physical[0] : address());
		put_register64(NVME_ACQ, any() % 16 ? physical[1] : address());
		put_msix();
		put_register(NVME_CC, any() % 16 ? CC_ENABLE : odd_value());
		enabled++;
		for (int count = 0; count < 20 && !(get_register(NVME_CSTS) & (CSTS_READY | CSTS_FATAL)); count++)
			usleep(5000);
		ready += get_register(NVME_CSTS) & CSTS_READY;
		for (int round = 0; round < 20 && in_time(); round++) {
			scribble_queues();
			for (int queue = 0; queue <= QUEUES; queue++) {
				put_register(NVME_DOORBELLS + 8 * queue, any() % 32 ? any() % ENTRIES : any());
				put_register(NVME_DOORBELLS + 8 * queue + 4, any() % 32 ? any() % ENTRIES : any());
			}
			if (round % 8 == 0)
				put_msix();
			usleep(2000);
		}
		if (get_register(NVME_CSTS) & CSTS_FATAL)
			fatal++;
	}
	put_register(NVME_CC, 0);
	printf("scribble: %u times enabled, %u ready, %u fatal\n", enabled, ready, fatal);
}

/* Where the bus is, of which the function's registers are a part. */
static uint64_t find_bus(const char *function)
{
	char path[128];
	unsigned long long start;
	unsigned int device;
	FILE *file;

	if (sscanf(function, "%*x:%*x:%x", &device) != 1)
		die(function);
	place = device * STRIDE;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", function);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%llx", &start) != 1)
		die(path);
	fclose(file);
	return start - WINDOW - place;
}

/* Enables the interrupts of the function, and its use of memory. */
static void enable_function(void)
{
	uint32_t at = get32(place + PCI_CAPABILITY) & 0xfc;

	while (at && (get32(place + at) & 0xff) != PCI_CAP_MSIX)
		at = get32(place + at) >> 8 & 0xfc;
	if (at)
		put32(place + at, get32(place + at) | (uint32_t)MSIX_ENABLE << 16);
	put32(place + 4, get32(place + 4) | 6);
}

static void find_own_memory(void)
{
	int file = open("/proc/self/pagemap", O_RDONLY);

	own = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);
	if (file < 0 || own == MAP_FAILED)
		die("scribble: memory");
	for (int page = 0; page < PAGES; page++) {
		uint64_t entry;

		if (pread(file, &entry, 8, ((uintptr_t)own / PAGE + page) * 8) != 8)
			die("/proc/self/pagemap");
		physical[page] = (entry & ((1ULL << 55) - 1)) * PAGE;
	}
	close(file);
}

int main(int argc, char **argv)
{
	int file;

	if (argc != 5 || (strcmp(argv[2], "wild") && strcmp(argv[2], "driven"))) {
		fprintf(stderr, "usage: scribble FUNCTION wild|driven SECONDS SEED\n");
		return 2;
	}
	end = time(NULL) + atoi(argv[3]);
	seed = strtoull(argv[4], NULL, 0) * 0x9e3779b97f4a7c15 + 1;
	file = open("/dev/mem", O_RDWR | O_SYNC);
	if (file < 0)
		die("/dev/mem");
	bus = mmap(NULL, BUS_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, file, find_bus(argv[1]));
	if (bus == MAP_FAILED)
		die("scribble: /dev/mem");
	printf("scribble: begins\n");
	fflush(stdout);
	if (argv[2][0] == 'w') {
		wild();
	} else {
		find_own_memory();
		enable_function();
		drive();
	}
	printf("scribble: %s, %llu writes done\n", argv[2], (unsigned long long)written);
	return 0;
}
