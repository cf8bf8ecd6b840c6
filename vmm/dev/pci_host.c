// SPDX-License-Identifier: BSD-2-Clause
//
// PCI host bridge, configuration mechanism 1. Owned by the VMM's only thread; no lock.
#include "vmm/dev/pci_host.h"

enum {
    CONFIG_ADDRESS_PORT = 0xCF8,
    OFFSET_RESET = 1, // 0xCF9
    OFFSET_DATA = 4,  // 0xCFC
};

#define CONFIG_ENABLE        0x80000000U
#define CONFIG_ADDRESS_BITS  0x80FFFFFCU
#define CONFIG_BUS_FUNCTION  0x00FF0700U

// Reset control register of the PIIX and ICH families.
enum {
    RESET_HARD = 0x02,
    RESET_CPU = 0x04, // its rising edge pulls the line
    RESET_FULL = 0x08,
};

// The identity is that of a generic host bridge: an id of a real chip set would make operating
// systems apply the workarounds for its bugs.
static const struct pci_id bridge_id = { .vendor = 0x1B36, .device = 0x0008, .class = 0x0600 };

// The function that the address register selects, or NULL.
static struct pci_function *pci_host_selected(const struct pci_host *host)
{
    if ((host->address & CONFIG_ENABLE) == 0 || (host->address & CONFIG_BUS_FUNCTION) != 0)
        return NULL;
    return host->slot[host->address >> 11 & (PCI_SLOTS - 1)];
}

// Where in its configuration space: the data port has a byte lane for each byte of the doubleword.
static unsigned pci_host_register_at(const struct pci_host *host, uint64_t offset)
{
    return (host->address & 0xFC) + (unsigned)(offset - OFFSET_DATA);
}

static uint64_t pci_host_read(void *dev, uint64_t offset, unsigned size)
{
    const struct pci_host *host = dev;
    const struct pci_function *fn = pci_host_selected(host);

    if (offset < OFFSET_DATA) {
        // Only a 32-bit access meets the address register; others pass on to the ISA side.
        if (offset == 0 && size == 4)
            return host->address;
        if (offset == OFFSET_RESET && size == 1)
            return host->reset_control;
        return UINT64_MAX;
    }
    return fn != NULL ? pci_function_read(fn, pci_host_register_at(host, offset), size)
                      : UINT64_MAX;
}

static enum bus_result pci_host_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_host *host = dev;
    struct pci_function *fn = pci_host_selected(host);

    if (offset == 0 && size == 4) {
        host->address = (uint32_t)value & CONFIG_ADDRESS_BITS;
    } else if (offset == OFFSET_RESET) { // the first byte of a wider write, too
        bool pulled = (value & RESET_CPU) != 0 && (host->reset_control & RESET_CPU) == 0;
        host->reset_control = value & (RESET_HARD | RESET_CPU | RESET_FULL);
        if (pulled)
            power_request(&host->power, POWER_RESET);
    } else if (offset >= OFFSET_DATA && fn != NULL) {
        pci_function_write(fn, pci_host_register_at(host, offset), size, (uint32_t)value);
    }
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
    *host = (struct pci_host){ .power = power, .memory_end = PCI_MEMORY_END };
    pci_function_init(&host->bridge, &bridge_id, NULL, NULL);
    pci_function_set16(&host->bridge, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    host->slot[0] = &host->bridge;
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

bool pci_host_plug(struct pci_host *host, unsigned slot, struct pci_function *fn, struct bus *bus)
{
    host->slot[slot] = fn;
    return pci_function_place(fn, bus, &host->memory_end);
}
