// SPDX-License-Identifier: BSD-2-Clause
//
// The test board's registers. Runs on the VMM's only thread.
#include "vmm/dev/testdev.h"

#include <string.h>

static uint64_t read_zero(void *dev, uint64_t offset, unsigned size)
{
    (void)dev;
    (void)offset;
    (void)size;
    return 0;
}

static const struct device_ops flush_ops = {
    .name = "test board's flush port", .max_size = 4,
    .read = read_zero, .write = bus_write_nothing,
};

// Of a string of values the first counts: QEMU would not see another.
static enum bus_result exit_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct testdev *test = dev;

    (void)offset;
    (void)size;
    if (!test->exited)
        test->exit_value = (uint32_t)value;
    test->exited = true;
    power_request(&test->power, POWER_EXIT);
    return BUS_OK;
}

static const struct device_ops exit_ops = {
    .name = "test board's exit port", .max_size = 4, .read = read_zero, .write = exit_write,
};

static void set_line(struct testdev *test, unsigned n, bool level)
{
    test->high = (test->high & ~(1u << n)) | (uint32_t)level << n;
    irq_set(&test->line[n], level);
}

static enum bus_result line_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    (void)size;
    set_line(dev, (unsigned)offset, (uint8_t)value != 0);
    return BUS_OK;
}

static const struct device_ops line_ops = {
    .name = "test board's interrupt lines", .max_size = 1,
    .read = bus_read_ones, .write = line_write,
};

// The word's first letter comes only once in it, so a wrong one is where the word may begin, and
// no earlier one is.
static enum bus_result shutdown_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    static const char word[] = "Shutdown";
    struct testdev *test = dev;

    (void)offset;
    (void)size;
    if ((char)value != word[test->letters])
        test->letters = 0;
    if ((char)value == word[test->letters])
        test->letters++;
    if (test->letters == sizeof(word) - 1) {
        test->letters = 0;
        power_request(&test->power, POWER_OFF);
    }
    return BUS_OK;
}

static const struct device_ops shutdown_ops = {
    .name = "test board's shutdown port", .max_size = 1,
    .read = bus_read_ones, .write = shutdown_write,
};

static uint64_t ram_device_read(void *dev, uint64_t offset, unsigned size)
{
    const struct testdev *test = dev;
    uint64_t value = 0;

    memcpy(&value, test->ram + offset, size);
    return value;
}

static enum bus_result ram_device_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct testdev *test = dev;

    memcpy(test->ram + offset, &value, size);
    return BUS_OK;
}

static const struct device_ops ram_ops = {
    .name = "test board's memory", .max_size = 8,
    .read = ram_device_read, .write = ram_device_write,
};

void testdev_init(struct testdev *test, uint8_t *ram, const struct irq_line line[TESTDEV_LINES],
                  struct power_sink power)
{
    *test = (struct testdev){ .ram = ram, .power = power };
    memcpy(test->line, line, sizeof(test->line));
}

void testdev_reset(struct testdev *test)
{
    for (unsigned n = 0; n < TESTDEV_LINES; n++) {
        if ((test->high >> n & 1) != 0)
            set_line(test, n, false);
    }
    test->echo.value = test->bench_port.value = test->bench_mmio.value = 0;
    test->letters = 0;
}

bool testdev_register(struct testdev *test, struct bus *bus)
{
    return scratch_register_ports(&test->echo, bus, TESTDEV_ECHO)
           && bus_add_ports(bus, &flush_ops, test, TESTDEV_FLUSH, 4)
           && bus_add_ports(bus, &exit_ops, test, TESTDEV_EXIT, 4)
           && bus_add_ports(bus, &line_ops, test, TESTDEV_LINE, TESTDEV_LINES)
           && bus_add_ports(bus, &shutdown_ops, test, TESTDEV_SHUTDOWN, 1)
           && bus_add_mmio(bus, &ram_ops, test, TESTDEV_RAM_BASE, TESTDEV_RAM_SIZE)
           && scratch_register_mmio(&test->bench_mmio, bus, BENCH_MMIO_BASE, BENCH_MMIO_SIZE)
           // Last on purpose: what an access costs must not depend on a device's place.
           && scratch_register_port(&test->bench_port, bus, BENCH_PORT);
}
