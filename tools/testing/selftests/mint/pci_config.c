// SPDX-License-Identifier: GPL-2.0
/*
 * pci_config FUNCTION...: prints the whole configuration space of each, but for what the hardware or
 * a driver changes all the time: status bits, the messages of MSI, and a window of virtio.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* include/uapi/linux/pci_regs.h */
#define PCI_COMMAND		0x04
#define PCI_COMMAND_MASTER	0x4
#define PCI_STATUS		0x06
#define PCI_CAPABILITY_LIST	0x34
#define PCI_CAP_ID_PM		0x01
#define PCI_CAP_ID_MSI		0x05
#define PCI_CAP_ID_VNDR		0x09
#define PCI_CAP_ID_EXP		0x10
#define PCI_EXT_CAPS		0x100
#define PCI_EXT_CAP_ID_ERR	0x01
/* include/uapi/linux/virtio_pci.h */
#define VIRTIO_VENDOR		0x1af4
#define VIRTIO_PCI_CAP_PCI_CFG	5

static uint8_t config[4096];

static uint32_t get(int offset)
{
	uint32_t value;

	memcpy(&value, config + offset, sizeof(value));
	return value;
}

static void hide(int offset, int len)
{
	if (offset + len <= (int)sizeof(config))
		memset(config + offset, 0, len);
}

static void hide_changing(void)
{
	uint32_t header;
	int cap;

	hide(PCI_STATUS + 1, 1);
	for (cap = config[PCI_CAPABILITY_LIST]; cap >= 0x40; cap = config[cap + 1]) {
		switch (config[cap]) {
		case PCI_CAP_ID_PM:
			/* PME status */
			config[cap + 5] &= 0x7f;
			break;
		case PCI_CAP_ID_MSI:
			/* address, data, mask and pending bits, for 32 or 64 bits of address */
			hide(cap + 4, config[cap + 2] & 0x80 ? 20 : 16);
			break;
		case PCI_CAP_ID_VNDR:
			/* virtio's window into the memory of a device */
			if ((get(0) & 0xffff) == VIRTIO_VENDOR && config[cap + 3] == VIRTIO_PCI_CAP_PCI_CFG)
				hide(cap + 4, 16);
			break;
		case PCI_CAP_ID_EXP:
			/* device, link, slot and root status */
			hide(cap + 0x0a, 2);
			hide(cap + 0x12, 2);
			hide(cap + 0x1a, 2);
			hide(cap + 0x20, 4);
			break;
		}
	}
	for (cap = PCI_EXT_CAPS; cap >= PCI_EXT_CAPS; cap = header >> 20) {
		header = get(cap);
		if ((header & 0xffff) == PCI_EXT_CAP_ID_ERR) {
			/* status of errors, their headers, and what ports log */
			hide(cap + 0x04, 4);
			hide(cap + 0x10, 4);
			hide(cap + 0x1c, 16);
			hide(cap + 0x30, 8);
		}
	}
}

int main(int argc, char **argv)
{
	char path[128];
	ssize_t len;
	int i, file;

	for (i = 1; i < argc; i++) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", argv[i]);
		memset(config, 0, sizeof(config));
		file = open(path, O_RDONLY);
		len = file < 0 ? -1 : read(file, config, sizeof(config));
		if (len < 64 || get(0) == UINT32_MAX) {
			fprintf(stderr, "%s: can't be read\n", path);
			return 1;
		}
		close(file);
		hide_changing();
		/* Firmware may have left it on, but nobody turns it on again without need. */
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", argv[i]);
		if (access(path, F_OK))
			config[PCI_COMMAND] &= ~PCI_COMMAND_MASTER;
		for (int offset = 0; offset < len; offset += 4) {
			if (get(offset))
				printf("%s %03x: %08x\n", argv[i], offset, get(offset));
		}
	}
	return 0;
}
