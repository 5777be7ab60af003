// SPDX-License-Identifier: GPL-2.0
/*
 * edu_read FUNCTION ADDRESS: has QEMU's device edu read 4 bytes of memory at a bus address, by DMA.
 * There is no driver for it.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PCI_COMMAND		0x04
#define PCI_COMMAND_USE		0x06	/* memory and bus mastering */

/* docs/specs/edu.rst of QEMU */
#define EDU_SIZE		0x100000
#define EDU_ID			0x00
#define EDU_DMA_SOURCE		0x80
#define EDU_DMA_DESTINATION	0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_COMMAND		0x98
#define EDU_DMA_START		0x01
#define EDU_BUFFER		0x40000

static int open_file(const char *function, const char *name)
{
	char path[128];
	int file;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", function, name);
	file = open(path, O_RDWR);
	if (file < 0) {
		perror(path);
		exit(1);
	}
	return file;
}

int main(int argc, char **argv)
{
	uint16_t command = PCI_COMMAND_USE;
	volatile uint32_t *id;
	volatile char *edu;
	uint64_t address;

	if (argc != 3) {
		fprintf(stderr, "usage: edu_read FUNCTION ADDRESS\n");
		return 2;
	}
	address = strtoull(argv[2], NULL, 0);
	if (pwrite(open_file(argv[1], "config"), &command, sizeof(command), PCI_COMMAND) != sizeof(command)) {
		perror("edu_read: config");
		return 1;
	}
	edu = mmap(NULL, EDU_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, open_file(argv[1], "resource0"), 0);
	if (edu == MAP_FAILED) {
		perror("edu_read: mmap");
		return 1;
	}
	id = (volatile uint32_t *)(edu + EDU_ID);
	if ((*id & 0xffff) != 0x00ed) {
		fprintf(stderr, "edu_read: %#x is not edu's ID\n", *id);
		return 1;
	}
	*(volatile uint64_t *)(edu + EDU_DMA_SOURCE) = address;
	*(volatile uint64_t *)(edu + EDU_DMA_DESTINATION) = EDU_BUFFER;
	*(volatile uint64_t *)(edu + EDU_DMA_COUNT) = 4;
	*(volatile uint64_t *)(edu + EDU_DMA_COMMAND) = EDU_DMA_START;
	while (*(volatile uint64_t *)(edu + EDU_DMA_COMMAND) & EDU_DMA_START)
		usleep(10000);
	printf("edu has read at %#llx\n", (unsigned long long)address);
	return 0;
}
