// SPDX-License-Identifier: BSD-2-Clause
//
// The board's bus: registration, and the accesses that bus.h does not answer inline.
// Owned by the VMM's only thread; no lock.
#include "vmm/board/bus.h"

#include <stdio.h>
#include <string.h>

uint64_t bus_read_ones(void *dev, uint64_t offset, unsigned size)
{
    (void)dev;
    (void)offset;
    (void)size;
    return UINT64_MAX;
}

enum bus_result bus_write_nothing(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    (void)dev;
    (void)offset;
    (void)size;
    (void)value;
    return BUS_OK;
}

// Takes no size, so that every access to it goes the slow way: a wide one may reach a device.
static const struct device_ops nobody_ops = {
    .name = "nobody",
    .max_size = 0,
    .read = bus_read_ones,
    .write = bus_write_nothing,
};

void bus_init(struct bus *bus)
{
    memset(bus, 0, sizeof(*bus));
    bus->port[0].ops = &nobody_ops;
    bus->nr_ports = 1;
    bus->last_mmio = &bus->port[0];
}

const char *bus_error(const struct bus *bus)
{
    return bus->error;
}

static bool bus_refuse_overlap(struct bus *bus, const struct bus_range *wanted,
                               const struct bus_range *other, const char *space)
{
    snprintf(bus->error, sizeof(bus->error), "%s: %s 0x%llx-0x%llx overlap %s at 0x%llx-0x%llx",
             wanted->ops->name, space, (unsigned long long)wanted->base,
             (unsigned long long)wanted->last, other->ops->name, (unsigned long long)other->base,
             (unsigned long long)other->last);
    return false;
}

static bool bus_refuse(struct bus *bus, const struct device_ops *ops, const char *why,
                       uint64_t base, uint64_t size)
{
    snprintf(bus->error, sizeof(bus->error), "%s: %s (base 0x%llx, length 0x%llx)", ops->name, why,
             (unsigned long long)base, (unsigned long long)size);
    return false;
}

bool bus_add_ports(struct bus *bus, const struct device_ops *ops, void *dev, uint16_t base,
                   unsigned count)
{
    if (count == 0 || count > 65536U - base)
        return bus_refuse(bus, ops, "bad port range", base, count);
    if (bus->nr_ports == BUS_MAX_PORT_RANGES)
        return bus_refuse(bus, ops, "too many port ranges", base, count);

    struct bus_range range = {.base = base, .last = base + count - 1, .ops = ops, .dev = dev};
    for (unsigned i = 0; i < count; i++) {
        uint8_t owner = bus->port_owner[base + i];
        if (owner != 0)
            return bus_refuse_overlap(bus, &range, &bus->port[owner], "ports");
    }
    bus->port[bus->nr_ports] = range;
    memset(&bus->port_owner[base], (int)bus->nr_ports, count);
    bus->nr_ports++;
    return true;
}

bool bus_add_mmio(struct bus *bus, const struct device_ops *ops, void *dev, uint64_t base,
                  uint64_t size)
{
    if (size == 0 || base > UINT64_MAX - (size - 1))
        return bus_refuse(bus, ops, "bad memory range", base, size);
    if (bus->nr_mmio == BUS_MAX_MMIO_RANGES)
        return bus_refuse(bus, ops, "too many memory ranges", base, size);

    struct bus_range range = {.base = base, .last = base + size - 1, .ops = ops, .dev = dev};
    unsigned at = 0;
    for (unsigned i = 0; i < bus->nr_mmio; i++) {
        const struct bus_range *r = &bus->mmio[i];
        if (r->base <= range.last && range.base <= r->last)
            return bus_refuse_overlap(bus, &range, r, "addresses");
        if (r->base < range.base)
            at = i + 1;
    }
    memmove(&bus->mmio[at + 1], &bus->mmio[at], (bus->nr_mmio - at) * sizeof(bus->mmio[0]));
    bus->mmio[at] = range;
    bus->nr_mmio++;
    bus->last_mmio = &bus->port[0];
    return true;
}

void bus_remove_mmio(struct bus *bus, uint64_t base)
{
    unsigned at = 0;

    while (bus->mmio[at].base != base)
        at++;
    bus->nr_mmio--;
    memmove(&bus->mmio[at], &bus->mmio[at + 1], (bus->nr_mmio - at) * sizeof(bus->mmio[0]));
    bus->last_mmio = &bus->port[0];
}

uint32_t bus_port_read_split(struct bus *bus, uint16_t port, unsigned size)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < size; i++) {
        uint32_t at = (uint32_t)port + i;
        uint32_t byte = 0xFF;
        if (at <= 0xFFFF && bus->port_owner[at] != 0) {
            const struct bus_range *r = &bus->port[bus->port_owner[at]];
            byte = r->ops->read(r->dev, at - r->base, 1) & 0xFF;
        }
        value |= byte << (i * 8);
    }
    return value;
}

enum bus_result bus_port_write_split(struct bus *bus, uint16_t port, unsigned size, uint32_t value)
{
    for (unsigned i = 0; i < size; i++) {
        uint32_t at = (uint32_t)port + i;
        if (at > 0xFFFF || bus->port_owner[at] == 0)
            continue;
        const struct bus_range *r = &bus->port[bus->port_owner[at]];
        if (r->ops->write(r->dev, at - r->base, 1, (value >> (i * 8)) & 0xFF) == BUS_BLOCKED)
            return BUS_BLOCKED;
    }
    return BUS_OK;
}

static const struct bus_range *bus_mmio_find(struct bus *bus, uint64_t addr)
{
    unsigned low = 0;
    unsigned high = bus->nr_mmio;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        const struct bus_range *r = &bus->mmio[mid];
        if (addr < r->base) {
            high = mid;
        } else if (addr > r->last) {
            low = mid + 1;
        } else {
            return bus->last_mmio = r;
        }
    }
    return NULL;
}

bool bus_mmio_claimed(struct bus *bus, uint64_t addr)
{
    return bus_mmio_find(bus, addr) != NULL;
}

uint64_t bus_mmio_read_any(struct bus *bus, uint64_t addr, unsigned size)
{
    const struct bus_range *r = bus_mmio_find(bus, addr);
    uint64_t value = 0;

    if (r != NULL && bus_range_takes(r, addr, size)) {
        return bus_value(r->ops->read(r->dev, addr - r->base, size), size);
    }
    for (unsigned i = 0; i < size; i++) {
        r = bus_mmio_find(bus, addr + i);
        uint64_t byte = r != NULL ? r->ops->read(r->dev, addr + i - r->base, 1) & 0xFF : 0xFF;
        value |= byte << (i * 8);
    }
    return value;
}

enum bus_result bus_mmio_write_any(struct bus *bus, uint64_t addr, unsigned size, uint64_t value)
{
    const struct bus_range *r = bus_mmio_find(bus, addr);

    if (r != NULL && bus_range_takes(r, addr, size))
        return r->ops->write(r->dev, addr - r->base, size, value);
    for (unsigned i = 0; i < size; i++) {
        r = bus_mmio_find(bus, addr + i);
        if (r == NULL)
            continue;
        if (r->ops->write(r->dev, addr + i - r->base, 1, (value >> (i * 8)) & 0xFF) == BUS_BLOCKED)
            return BUS_BLOCKED;
    }
    return BUS_OK;
}
