// SPDX-License-Identifier: BSD-2-Clause
//
// Debug port 0xE9. Owned by the VMM's only thread; no lock.
#include "vmm/dev/debugcon.h"

static uint64_t debugcon_read(void *dev, uint64_t offset, unsigned size)
{
    (void)dev;
    (void)offset;
    (void)size;
    return DEBUGCON_PORT;
}

static enum bus_result debugcon_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct debugcon *con = dev;

    (void)offset;
    (void)size;
    return con->stream.ops->put(con->stream.ctx, (uint8_t)value) ? BUS_OK : BUS_BLOCKED;
}

static const struct device_ops debugcon_ops = {
    .name = "debug port",
    .max_size = 1,
    .read = debugcon_read,
    .write = debugcon_write,
};

void debugcon_init(struct debugcon *con, struct stream stream)
{
    con->stream = stream;
}

bool debugcon_register(struct debugcon *con, struct bus *bus)
{
    return bus_add_ports(bus, &debugcon_ops, con, DEBUGCON_PORT, 1);
}
