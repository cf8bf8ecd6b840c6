// SPDX-License-Identifier: BSD-2-Clause
//
// PCI host bridge, configuration mechanism 1. Owned by the VMM's only thread; no lock.
#include "vmm/dev/pci_host.h"

#include <string.h>

enum {
    CONFIG_ADDRESS_PORT = 0xCF8,
    OFFSET_RESET = 1, // 0xCF9
    OFFSET_DATA = 4,  // 0xCFC
};

#define CONFIG_ENABLE        0x80000000U
#define CONFIG_ADDRESS_BITS  0x80FFFFFCU
#define CONFIG_FUNCTION_BITS 0x00FFFF00U // bus, device, function

// Reset control register of the PIIX and ICH families.
enum {
    RESET_HARD = 0x02,
    RESET_CPU = 0x04, // its rising edge pulls the line
    RESET_FULL = 0x08,
};

// "Type 00h Configuration Space Header". The identity is that of a generic host bridge: an id of a
// real chip set would make operating systems apply the workarounds for its bugs.
static const struct {
    uint8_t offset;
    uint8_t value;
} bridge_header[] = {
    {0x00, 0x36}, {0x01, 0x1B}, // vendor
    {0x02, 0x08}, {0x03, 0x00}, // device
    {0x04, 0x06}, {0x05, 0x00}, // command: memory, bus master; fixed
    {0x0A, 0x00}, {0x0B, 0x06}, // class: host bridge
};

// The byte of configuration space that the address register and the data port's byte lane select,
// or NULL if no function is there.
static uint8_t *pci_host_config(struct pci_host *host, unsigned lane)
{
    if ((host->address & CONFIG_ENABLE) == 0 || (host->address & CONFIG_FUNCTION_BITS) != 0)
        return NULL;
    return &host->config[(host->address & 0xFC) + lane];
}

static uint64_t pci_host_read(void *dev, uint64_t offset, unsigned size)
{
    struct pci_host *host = dev;

    if (offset < OFFSET_DATA) {
        // Only a 32-bit access meets the address register; others pass on to the ISA side.
        if (offset == 0 && size == 4)
            return host->address;
        if (offset == OFFSET_RESET && size == 1)
            return host->reset_control;
        return UINT64_MAX;
    }
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        const uint8_t *byte = pci_host_config(host, (unsigned)(offset - OFFSET_DATA) + i);
        value |= (uint64_t)(byte != NULL ? *byte : 0xFF) << (i * 8);
    }
    return value;
}

static enum bus_result pci_host_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_host *host = dev;

    if (offset == 0 && size == 4) {
        host->address = (uint32_t)value & CONFIG_ADDRESS_BITS;
    } else if (offset == OFFSET_RESET) { // the first byte of a wider write, too
        bool pulled = (value & RESET_CPU) != 0 && (host->reset_control & RESET_CPU) == 0;
        host->reset_control = value & (RESET_HARD | RESET_CPU | RESET_FULL);
        if (pulled)
            power_request(&host->power, POWER_RESET);
    }
    // The bridge's own registers are all read-only.
    return BUS_OK;
}

static const struct device_ops pci_host_ops = {
    .name = "PCI host bridge",
    .max_size = 4,
    .read = pci_host_read,
    .write = pci_host_write,
};

void pci_host_init(struct pci_host *host, struct power_sink power)
{
    memset(host->config, 0, sizeof(host->config));
    for (unsigned i = 0; i < sizeof(bridge_header) / sizeof(bridge_header[0]); i++)
        host->config[bridge_header[i].offset] = bridge_header[i].value;
    host->power = power;
    pci_host_reset(host);
}

void pci_host_reset(struct pci_host *host)
{
    host->address = 0;
    host->reset_control = 0;
}

bool pci_host_register(struct pci_host *host, struct bus *bus)
{
    return bus_add_ports(bus, &pci_host_ops, host, CONFIG_ADDRESS_PORT, 8);
}
