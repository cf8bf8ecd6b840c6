// SPDX-License-Identifier: BSD-2-Clause
//
// Registers that keep what is written to them. Owned by the VMM's only thread; no lock.
#include "vmm/dev/scratch.h"

static uint64_t scratch_port_read(void *dev, uint64_t offset, unsigned size)
{
    const struct scratch *scratch = dev;

    (void)offset;
    (void)size;
    return scratch->value;
}

static enum bus_result scratch_port_write(void *dev, uint64_t offset, unsigned size,
                                          uint64_t value)
{
    struct scratch *scratch = dev;

    (void)offset;
    (void)size;
    scratch->value = (uint8_t)value;
    return BUS_OK;
}

static const struct device_ops scratch_port_ops = {
    .name = "scratch port", .max_size = 1,
    .read = scratch_port_read, .write = scratch_port_write,
};

static uint64_t scratch_wide_read(void *dev, uint64_t offset, unsigned size)
{
    const struct scratch *scratch = dev;

    (void)size;
    return scratch->value >> (8 * (offset & 3));
}

// An access that crosses a doubleword keeps to the one that it starts in.
static enum bus_result scratch_wide_write(void *dev, uint64_t offset, unsigned size,
                                          uint64_t value)
{
    struct scratch *scratch = dev;
    unsigned shift = 8 * (offset & 3);
    uint32_t mask = (size >= 4 ? ~0u : (1u << (8 * size)) - 1) << shift;

    scratch->value = (scratch->value & ~mask) | ((uint32_t)value << shift & mask);
    return BUS_OK;
}

static const struct device_ops scratch_wide_ops = {
    .name = "scratch doubleword", .max_size = 4,
    .read = scratch_wide_read, .write = scratch_wide_write,
};

bool scratch_register_port(struct scratch *scratch, struct bus *bus, uint16_t port)
{
    return bus_add_ports(bus, &scratch_port_ops, scratch, port, 1);
}

bool scratch_register_ports(struct scratch *scratch, struct bus *bus, uint16_t port)
{
    return bus_add_ports(bus, &scratch_wide_ops, scratch, port, 4);
}

bool scratch_register_mmio(struct scratch *scratch, struct bus *bus, uint64_t base, uint64_t size)
{
    return bus_add_mmio(bus, &scratch_wide_ops, scratch, base, size);
}
