// SPDX-License-Identifier: BSD-2-Clause
//
// One device (FUZZ_DEVICE names its row in device_table.c) against a script of accesses of every
// size at and around its ranges, passing time, what reaches it by other ways, and resets. Beside
// what the sanitizers find it checks of every device that
//   - time brings no storm of wake-ups, and no deadline lies in the past without progress;
//   - a write is blocked only for want of room, and has then changed nothing;
//   - only a device with a wire to the power supply pulls it;
//   - a reset leaves the same state whatever was before: a second one changes nothing;
// and what its row checks.
#include "tests/fuzz/device.h"

#define NS_START (5 * NS_PER_SEC)

static void time_passes(const struct fuzz_device *device, struct fake_host *host, uint64_t ns)
{
    uint64_t end = host->now_ns + ns, most = device->fires_per_second * ns / NS_PER_SEC + 8;

    for (uint64_t fires = 0; host->armed_ns <= end; fires++) {
        require(fires < most);
        if (host->armed_ns > host->now_ns)
            host->now_ns = host->armed_ns;
        host->armed_ns = CLOCK_NEVER;
        clock_run(&host->clock, host->now_ns);
    }
    host->now_ns = end;
}

static void write_access(const struct fuzz_device *device, struct fuzz_board *b, bool mmio,
                         uint64_t addr, unsigned size, uint64_t value)
{
    static struct fuzz_board before;
    bool full = b->host.output_count >= b->host.output_room;
    unsigned output = b->host.output_count;
    enum bus_result result;

    if (device->may_block)
        memcpy(&before.dev, &b->dev, device->bytes);
    result = mmio ? bus_mmio_write(&b->host.bus, addr, size, value)
                  : bus_port_write(&b->host.bus, (uint16_t)addr, size, (uint32_t)value);
    if (result == BUS_BLOCKED) {
        require(device->may_block && full && output == b->host.output_count);
        require(memcmp(&before.dev, &b->dev, device->bytes) == 0);
    }
}

// An address of the device: mostly an IOAPIC's index, window and EOI register, or one of an HPET's
// registers; else anything in one of the ranges, or right in front of it or behind it.
static uint64_t pick_address(const struct bus *bus, bool mmio, struct script *s)
{
    uint64_t at = script_take(s, 2), which = script_take(s, 1);
    // Of the ports' ranges, 0 is nobody's.
    const struct bus_range *range = mmio ? &bus->mmio[which % bus->nr_mmio]
                                         : &bus->port[1 + which % (bus->nr_ports - 1)];
    uint64_t offset = (at & 0xFFF) % (range->last - range->base + 4);

    if (mmio && (at & 0x8000) != 0)
        return range->base + (at & ((at & 0x2000) != 0 ? 0x1FC : 0x50));
    return mmio && (at & 0x4000) != 0 ? range->last + 2 - offset : range->base - 2 + offset;
}

static void bus_access(const struct fuzz_device *device, struct fuzz_board *b, struct script *s,
                       bool write)
{
    struct bus *bus = &b->host.bus;
    bool both = bus->nr_mmio != 0 && bus->nr_ports > 1;
    bool mmio = both ? script_take(s, 1) & 1 : bus->nr_mmio != 0;
    uint64_t addr = pick_address(bus, mmio, s), value;
    unsigned size = 1u << script_take(s, 1) % (mmio ? 4 : 3);

    if (write) {
        write_access(device, b, mmio, addr, size, script_take(s, size));
        return;
    }
    value = mmio ? bus_mmio_read(bus, addr, size) : bus_port_read(bus, (uint16_t)addr, size);
    require(size == 8 || value >> 8 * size == 0);
}

static void reset(const struct fuzz_device *device, struct fuzz_board *b)
{
    static struct fuzz_board first;

    device->reset(b);
    memcpy(&first.dev, &b->dev, device->bytes);
    device->reset(b);
    require(memcmp(&first.dev, &b->dev, device->bytes) == 0);
}

static void step(const struct fuzz_device *device, struct fuzz_board *b, struct script *s)
{
    uint8_t op = (uint8_t)script_take(s, 1);

    b->messages = 0;
    switch (op % 8) {
    case 0 ... 2:
        bus_access(device, b, s, true);
        break;
    case 3:
        bus_access(device, b, s, false);
        break;
    case 4:
        time_passes(device, &b->host, script_take(s, 3) * 97);
        break;
    case 5: // the VMM was away
        b->host.now_ns += script_take(s, 4) << (op >> 3 & 7);
        break;
    case 6:
        if (device->act != NULL)
            device->act(b, (uint8_t)script_take(s, 1));
        break;
    default:
        if (op >= 0xF0)
            reset(device, b);
        b->host.output_count = 0;
        b->host.output_room = (unsigned)script_take(s, 1) % 8;
        break;
    }
    time_passes(device, &b->host, 0);
    require(b->host.armed_ns > b->host.now_ns);
    require(device->may_power || b->host.resets + b->host.power_offs + b->host.exits == 0);
    if (device->check != NULL)
        device->check(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_board board;
    const struct fuzz_device *device = fuzz_device_find(FUZZ_DEVICE);
    struct script script = {data, size};

    require(device != NULL);
    fake_host_init(&board.host);
    board.host.now_ns = NS_START;
    board.host.output_room = 4;
    memset(&board.dev, 0, device->bytes);
    require(device->init(&board, (unsigned)script_take(&script, 1) & 3));
    while (script.left != 0)
        step(device, &board, &script);
    return 0;
}
