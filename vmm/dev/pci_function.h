// SPDX-License-Identifier: BSD-2-Clause
//
// One PCI function: its configuration space, and the memory that it decodes.
//
// Follows the PCI Local Bus specification, sections "Configuration Space Organization" and "Base
// Addresses". Each bit of the space can be written or cannot. A memory BAR of 32 bits is on the bus
// while memory decoding is on (bit 1 of the command register), where the BAR says, and moves with
// it. It is nowhere at address 0, up to the end of 4 GB (which is how its size is asked for), and
// where it would meet another range.
//
// A device has its function in its own struct; the host bridge (pci_host.h) finds it by its slot.
// Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/bus.h"

enum {
    PCI_CONFIG_BYTES = 256,
    PCI_BARS = 6,
};

// "Type 00h Configuration Space Header"
enum {
    PCI_VENDOR = 0x00,
    PCI_DEVICE = 0x02,
    PCI_COMMAND = 0x04,
    PCI_CLASS = 0x0A, // subclass, and the base class above it
    PCI_BAR0 = 0x10,
};

// "Command Register Bits"
enum {
    PCI_COMMAND_MEMORY = 0x02,
    PCI_COMMAND_MASTER = 0x04,
};

struct pci_id {
    uint16_t vendor, device, class;
};

struct pci_function_ops {
    // `size` bytes at `offset` have been written, as far as they can be.
    void (*written)(void *dev, unsigned offset, unsigned size);
};

struct pci_bar {
    uint32_t size; // a power of two; 0: there is none
    uint32_t home; // where the board has put it
    uint32_t base; // where it is on the bus; 0: nowhere
    const struct device_ops *ops;
};

struct pci_function {
    uint8_t config[PCI_CONFIG_BYTES];
    uint8_t writable[PCI_CONFIG_BYTES]; // the bits of it that are
    struct pci_bar bar[PCI_BARS];
    const struct pci_function_ops *ops; // NULL: nothing more happens at a write
    void *dev;
    struct bus *bus; // NULL: it is in no slot
};

// All zero and read-only, but for the identity.
void pci_function_init(struct pci_function *fn, const struct pci_id *id,
                       const struct pci_function_ops *ops, void *dev);

// Gives it a memory BAR of `size` bytes, 16 or more, whose accesses go to `ops` with its dev, and
// the bits of the command register that go with one.
void pci_function_add_bar(struct pci_function *fn, unsigned n, uint32_t size,
                          const struct device_ops *ops);

// Puts it on the bus as a BIOS would: each BAR on pages of its own, below *end, which is lowered;
// memory decoding on. False: a range is not free, and bus_error() says why.
bool pci_function_place(struct pci_function *fn, struct bus *bus, uint32_t *end);

// Command register and BARs as the board has left them.
void pci_function_reset(struct pci_function *fn);

// An access of the guest's to `size` bytes that lie in one doubleword.
uint32_t pci_function_read(const struct pci_function *fn, unsigned offset, unsigned size);
void pci_function_write(struct pci_function *fn, unsigned offset, unsigned size, uint32_t value);

// What the device itself keeps there.
static inline void pci_function_set16(struct pci_function *fn, unsigned offset, uint16_t value)
{
    fn->config[offset] = (uint8_t)value;
    fn->config[offset + 1] = (uint8_t)(value >> 8);
}
