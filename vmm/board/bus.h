// SPDX-License-Identifier: BSD-2-Clause
//
// The board's bus: routes a guest's port and MMIO accesses to the device that claimed the range.
//
// One bus per VM, owned by the VMM's only thread; no lock. All ranges are added while the machine
// is wired up, before the first vCPU runs; but those of memory that PCI functions decode come and
// go as the guest says.
//
// Ports are looked up in a table with one byte per port, so an access costs the same whichever
// range it meets, first or last. MMIO ranges are kept sorted and searched, the last hit first.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BUS_MAX_PORT_RANGES = 64, // range 0 is "nobody", so at most 63 can be claimed
    BUS_MAX_MMIO_RANGES = 32,
    BUS_ERROR_SIZE = 128,
};

enum bus_result {
    BUS_OK,
    // The device cannot take the value now (its console ring is full). Nothing has happened: the
    // VMM leaves the vCPU where it is and repeats the same access when the ring has room.
    BUS_BLOCKED,
};

// What a device gives the bus for one kind of range. `offset` is relative to the start of the
// range. `size` is 1, 2, 4 or 8 (8 on MMIO only) and never more than `max_size`; the access lies
// wholly inside the range. Wider accesses, and those that cross the end of the range, reach the
// device as single bytes in ascending order, as on an 8-bit ISA slot. Bits of a result above
// `size` are ignored. Only the lowest register of a range may answer BUS_BLOCKED, because a split
// write is repeated from its first byte.
struct device_ops {
    const char *name; // for messages
    uint8_t max_size; // widest access that the callbacks take: 1, 2, 4 or 8
    uint64_t (*read)(void *dev, uint64_t offset, unsigned size);
    enum bus_result (*write)(void *dev, uint64_t offset, unsigned size, uint64_t value);
};

// For a register that reads all ones, and for one whose writes vanish: of any device.
uint64_t bus_read_ones(void *dev, uint64_t offset, unsigned size);
enum bus_result bus_write_nothing(void *dev, uint64_t offset, unsigned size, uint64_t value);

struct bus_range {
    uint64_t base;
    uint64_t last; // inclusive
    const struct device_ops *ops;
    void *dev;
};

struct bus {
    uint8_t port_owner[65536]; // index into port[]; 0 is unclaimed
    struct bus_range port[BUS_MAX_PORT_RANGES];
    unsigned nr_ports;
    struct bus_range mmio[BUS_MAX_MMIO_RANGES]; // sorted by base
    unsigned nr_mmio;
    const struct bus_range *last_mmio; // that the last access met
    char error[BUS_ERROR_SIZE];
};

void bus_init(struct bus *bus);

// Claim `count` ports from `base`, or `size` bytes of guest-physical space from `base`, for `dev`.
// False if the range is empty, runs past the end of the space, overlaps another one or if the table
// is full; bus_error() then says which device and range met which other one.
bool bus_add_ports(struct bus *bus, const struct device_ops *ops, void *dev, uint16_t base,
                   unsigned count);
bool bus_add_mmio(struct bus *bus, const struct device_ops *ops, void *dev, uint64_t base,
                  uint64_t size);
const char *bus_error(const struct bus *bus);

// Gives up the range of memory that begins at `base`, which must be claimed.
void bus_remove_mmio(struct bus *bus, uint64_t base);

// The ways that are not hot: unclaimed ports and accesses that have to be taken apart.
uint32_t bus_port_read_split(struct bus *bus, uint16_t port, unsigned size);
enum bus_result bus_port_write_split(struct bus *bus, uint16_t port, unsigned size, uint32_t value);

// True if the access of `size` bytes at `addr`, which is in the range or in nobody's (which takes
// no size at all), can be given to the device in one piece.
static inline bool bus_range_takes(const struct bus_range *r, uint64_t addr, unsigned size)
{
    return size <= r->ops->max_size && size - 1 <= r->last - addr;
}

// An IN of `size` (1, 2 or 4) bytes. Unclaimed bytes read as all ones; an access that runs past
// port 0xFFFF reads all ones there too. Bits above `size` are 0.
static inline uint32_t bus_port_read(struct bus *bus, uint16_t port, unsigned size)
{
    const struct bus_range *r = &bus->port[bus->port_owner[port]];

    if (bus_range_takes(r, port, size)) {
        uint32_t value = (uint32_t)r->ops->read(r->dev, port - r->base, size);
        return size == 4 ? value : value & ((1U << (size * 8)) - 1);
    }
    return bus_port_read_split(bus, port, size);
}

// An OUT of `size` (1, 2 or 4) bytes. Writes to unclaimed ports vanish.
static inline enum bus_result bus_port_write(struct bus *bus, uint16_t port, unsigned size,
                                             uint32_t value)
{
    const struct bus_range *r = &bus->port[bus->port_owner[port]];

    if (bus_range_takes(r, port, size))
        return r->ops->write(r->dev, port - r->base, size, value);
    return bus_port_write_split(bus, port, size, value);
}

// Accesses of 1 to 8 bytes to guest-physical space that is not RAM. Unclaimed bytes read as all
// ones. bus_mmio_claimed() tells whether any device decodes the byte at `addr`.
bool bus_mmio_claimed(struct bus *bus, uint64_t addr);
uint64_t bus_mmio_read_any(struct bus *bus, uint64_t addr, unsigned size);
enum bus_result bus_mmio_write_any(struct bus *bus, uint64_t addr, unsigned size, uint64_t value);

static inline bool bus_mmio_again(const struct bus_range *r, uint64_t addr, unsigned size)
{
    return addr - r->base <= r->last - r->base && bus_range_takes(r, addr, size);
}

static inline uint64_t bus_value(uint64_t value, unsigned size)
{
    return size == 8 ? value : value & ((1ULL << (size * 8)) - 1);
}

static inline uint64_t bus_mmio_read(struct bus *bus, uint64_t addr, unsigned size)
{
    const struct bus_range *r = bus->last_mmio;

    if (bus_mmio_again(r, addr, size))
        return bus_value(r->ops->read(r->dev, addr - r->base, size), size);
    return bus_mmio_read_any(bus, addr, size);
}

static inline enum bus_result bus_mmio_write(struct bus *bus, uint64_t addr, unsigned size,
                                             uint64_t value)
{
    const struct bus_range *r = bus->last_mmio;

    if (bus_mmio_again(r, addr, size))
        return r->ops->write(r->dev, addr - r->base, size, value);
    return bus_mmio_write_any(bus, addr, size, value);
}
