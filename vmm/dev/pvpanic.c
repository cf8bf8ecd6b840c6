// SPDX-License-Identifier: BSD-2-Clause
//
// The port by which a guest says that it has panicked. Runs on the VMM's only thread.
#include "vmm/dev/pvpanic.h"

static uint64_t pvpanic_read(void *dev, uint64_t offset, unsigned size)
{
    (void)dev;
    (void)offset;
    (void)size;
    return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
}

static enum bus_result pvpanic_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct pvpanic *panic = dev;

    (void)offset;
    (void)size;
    if ((value & PVPANIC_PANICKED) != 0)
        power_request(&panic->power, POWER_PANIC);
    else if ((value & PVPANIC_CRASH_LOADED) != 0)
        power_request(&panic->power, POWER_CRASH);
    return BUS_OK;
}

static const struct device_ops pvpanic_ops = {
    .name = "pvpanic", .max_size = 1, .read = pvpanic_read, .write = pvpanic_write,
};

void pvpanic_init(struct pvpanic *dev, struct power_sink power) { dev->power = power; }

bool pvpanic_register(struct pvpanic *dev, struct bus *bus)
{
    return bus_add_ports(bus, &pvpanic_ops, dev, PVPANIC_PORT, 1);
}
