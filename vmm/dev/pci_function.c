// SPDX-License-Identifier: BSD-2-Clause
//
// Configuration space and BARs of one PCI function. Runs on the VMM's only thread.
#include "vmm/dev/pci_function.h"

#include <string.h>

#define PAGE 0x1000u

void pci_function_init(struct pci_function *fn, const struct pci_id *id,
                       const struct pci_function_ops *ops, void *dev)
{
    *fn = (struct pci_function){ .ops = ops, .dev = dev };
    pci_function_set16(fn, PCI_VENDOR, id->vendor);
    pci_function_set16(fn, PCI_DEVICE, id->device);
    pci_function_set16(fn, PCI_CLASS, id->class);
}

static void set32(uint8_t *bytes, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
}

void pci_function_add_bar(struct pci_function *fn, unsigned n, uint32_t size,
                          const struct device_ops *ops)
{
    fn->bar[n] = (struct pci_bar){ .size = size, .ops = ops };
    set32(&fn->writable[PCI_BAR0 + 4 * n], ~(size - 1));
    fn->writable[PCI_COMMAND] = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
}

// Where the registers say that the BAR is, or 0. The bits below its size are 0.
static uint32_t bar_wanted(const struct pci_function *fn, unsigned n)
{
    uint32_t base = pci_function_read(fn, PCI_BAR0 + 4 * n, 4), size = fn->bar[n].size;

    if (size == 0 || (fn->config[PCI_COMMAND] & PCI_COMMAND_MEMORY) == 0)
        return 0;
    return base > UINT32_MAX - size ? 0 : base;
}

// All leave before one comes, for two may change places. False: one found its place taken.
static void bars_move(struct pci_function *fn)
{
    for (unsigned n = 0; n < PCI_BARS; n++) {
        struct pci_bar *bar = &fn->bar[n];
        if (bar->base != 0 && bar->base != bar_wanted(fn, n)) {
            bus_remove_mmio(fn->bus, bar->base);
            bar->base = 0;
        }
    }
    for (unsigned n = 0; n < PCI_BARS; n++) {
        struct pci_bar *bar = &fn->bar[n];
        uint32_t base = bar_wanted(fn, n);
        if (base == bar->base)
            continue;
        if (bus_add_mmio(fn->bus, bar->ops, fn->dev, base, bar->size))
            bar->base = base;
    }
}

bool pci_function_place(struct pci_function *fn, struct bus *bus, uint32_t *end)
{
    fn->bus = bus;
    for (unsigned n = 0; n < PCI_BARS; n++) {
        struct pci_bar *bar = &fn->bar[n];
        if (bar->size == 0)
            continue;
        *end = (*end - bar->size) & ~(bar->size - 1) & ~(PAGE - 1);
        bar->home = *end;
    }
    pci_function_reset(fn);
    for (unsigned n = 0; n < PCI_BARS; n++) {
        if (fn->bar[n].base != fn->bar[n].home)
            return false;
    }
    return true;
}

void pci_function_reset(struct pci_function *fn)
{
    for (unsigned n = 0; n < PCI_BARS; n++) {
        if (fn->bar[n].size != 0) {
            set32(&fn->config[PCI_BAR0 + 4 * n], fn->bar[n].home);
            fn->config[PCI_COMMAND] = PCI_COMMAND_MEMORY;
        }
    }
    if (fn->bus != NULL)
        bars_move(fn);
}

uint32_t pci_function_read(const struct pci_function *fn, unsigned offset, unsigned size)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (uint32_t)fn->config[offset + i] << (8 * i);
    return value;
}

void pci_function_write(struct pci_function *fn, unsigned offset, unsigned size, uint32_t value)
{
    for (unsigned i = 0; i < size; i++) {
        uint8_t mask = fn->writable[offset + i], byte = (uint8_t)(value >> (8 * i));
        fn->config[offset + i] = (fn->config[offset + i] & (uint8_t)~mask) | (byte & mask);
    }
    if (fn->bus != NULL)
        bars_move(fn);
    if (fn->ops != NULL)
        fn->ops->written(fn->dev, offset, size);
}
