// SPDX-License-Identifier: BSD-2-Clause
//
// RAM that is mapped on demand. Runs on the VMM's only thread.
#include "vmm/board/demand.h"

#include "libc/kcall.h"

static enum bus_result demand_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    const struct demand *demand = dev;
    uint64_t pages = (RAM_TEXT_END - RAM_TEXT) / PAGE_SIZE;

    (void)offset;
    // A page that is not mapped is refused, which is as good.
    if (size == 4 && value < pages)
        kcall_vm_unmap(demand->vm, RAM_TEXT + value * PAGE_SIZE, PAGE_SIZE);
    return BUS_OK;
}

static const struct device_ops demand_ops = {
    .name = "text window register", .max_size = 4,
    .read = bus_read_ones, .write = demand_write,
};

bool demand_register(struct demand *demand, struct bus *bus)
{
    return bus_add_mmio(bus, &demand_ops, demand, DEMAND_REGISTER, 4);
}
