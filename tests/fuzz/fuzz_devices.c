// SPDX-License-Identifier: BSD-2-Clause
//
// The whole board against a hostile guest: the input is a script of port and MMIO accesses, passing
// time, console input and interrupt acknowledges. Beside what the sanitizers find it checks that
// the INTR line is what the PIC says, that the timer list asks for no storm of wake-ups, and that
// a write is blocked only when the console has no room.
#include "tests/fuzz/script.h"
#include "tests/unit/fake_host.h"
#include "vmm/board/machine.h"

struct world {
    struct script script;
    struct fake_host host;
};

static bool world_msi(void *ctx, uint64_t addr, uint32_t data, bool level)
{
    (void)ctx;
    require(addr >> 20 == 0xFEE);
    require(((data & 0x8000) != 0) == level);
    return false;
}

static const struct clock_ops clock_ops = {.now_ns = fake_now, .arm = fake_arm};
static const struct ioapic_ops msi_ops = {.msi = world_msi};

// Every port of the board, and some that lie between.
static const uint16_t ports[] = {
    0x20,  0x21,  0xA0,  0xA1,  0x4D0, 0x4D1, 0x40,  0x41,  0x42,  0x43,
    0x60,  0x61,  0x64,  0x70,  0x71,  0x92,  0xE9,  0x3F7, 0x3F8, 0x3F9,
    0x3FA, 0x3FB, 0x3FC, 0x3FD, 0x3FE, 0x3FF, 0x600, 0x601, 0x602, 0x603,
    0x604, 0x605, 0x608, 0x60B, 0xCF8, 0xCF9, 0xCFC, 0xCFE, 0xCFF, 0xFFFF,
    0x505, 0x3C0, 0x3C5, 0x3C9, 0x3D4, 0x3D5, 0x3DA,
    0xE0,  0xE3,  0xE4,  0xF4,  0xB0F, 0x8900, 0x2000, 0x2001, 0x2002, 0x2004,
    0x2008, 0x2009, 0x2010, 0x2017,
};

static void run_time(struct machine *m, struct fake_host *host, uint64_t ns)
{
    uint64_t end = host->now_ns + ns;
    unsigned fires = 0;

    while (host->armed_ns <= end) {
        if (host->armed_ns > host->now_ns)
            host->now_ns = host->armed_ns;
        host->armed_ns = CLOCK_NEVER;
        clock_run(&m->clock, host->now_ns);
        // HPET 111,200, PIT 37,300, watchdog 10,000 and RTC 8,192 a second at most, others a few.
        require(++fires <= ns / 5900 + 8);
    }
    host->now_ns = end;
}

static void port_access(struct machine *m, struct world *w, bool write)
{
    struct script *s = &w->script;
    uint16_t port = ports[script_take(s, 1) % (sizeof(ports) / sizeof(ports[0]))];
    unsigned size = 1U << script_take(s, 1) % 3;
    bool full = w->host.output_count >= w->host.output_room;

    if (!write)
        bus_port_read(&m->bus, port, size);
    else if (bus_port_write(&m->bus, port, size, (uint32_t)script_take(s, size)) == BUS_BLOCKED)
        require(full);
}

static void ioapic_access(struct machine *m, struct script *s)
{
    uint64_t addr = IOAPIC_BASE + script_take(s, 1);

    // The index register and the window, mostly.
    if ((addr & 0x80) != 0)
        addr = IOAPIC_BASE + (addr & 0x10);
    unsigned size = 1U << script_take(s, 1) % 4;
    bus_mmio_write(&m->bus, addr, size, script_take(s, size));
    bus_mmio_read(&m->bus, addr, size);
}

static void hpet_access(struct machine *m, struct script *s)
{
    uint64_t addr = HPET_BASE + (script_take(s, 2) & 0x1FF);
    unsigned size = 1U << script_take(s, 1) % 4;

    bus_mmio_write(&m->bus, addr & ~3ull, size, script_take(s, size));
    bus_mmio_read(&m->bus, addr, size);
}

static void step(struct machine *m, struct world *w)
{
    struct script *s = &w->script;
    uint8_t op = (uint8_t)script_take(s, 1);

    switch (op % 10) {
    case 0 ... 2:
        port_access(m, w, true);
        break;
    case 3:
    case 4:
        port_access(m, w, false);
        break;
    case 5:
        run_time(m, &w->host, script_take(s, 3) * 97);
        break;
    case 6: // the VMM was away
        w->host.now_ns += script_take(s, 4);
        run_time(m, &w->host, 0);
        break;
    case 7:
        w->host.output_count = 0;
        w->host.output_room = (unsigned)script_take(s, 1) % 8;
        w->host.input_taken = 0;
        w->host.input_count = (unsigned)script_take(s, 1) % 32;
        uart16550_rx_poll(&m->com1);
        break;
    case 8:
        if (op >= 200)
            acpi_pm_power_button(&m->pm);
        else if (m->pic.level)
            i8259_ack(&m->pic);
        else
            ioapic_eoi(&m->ioapic, (uint8_t)script_take(s, 1));
        break;
    default:
        if (op >= 128)
            hpet_access(m, s);
        else
            ioapic_access(m, s);
        break;
    }
    require(w->host.level == i8259_intr(&m->pic));
    require(m->pit_gate.cut == (m->hpet.config == 3) && m->rtc_gate.cut == m->pit_gate.cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct machine machine;
    static struct world world;
    static uint8_t testdev_ram[TESTDEV_RAM_SIZE];

    fake_host_init(&world.host);
    world.script = (struct script){data, size};
    world.host.now_ns = 5 * NS_PER_SEC;
    world.host.output_room = 4;
    struct machine_host host = {
        .clock = &clock_ops,
        .msi = &msi_ops,
        .intr = fake_line(&world.host),
        .console = fake_stream(&world.host),
        .ctx = &world.host,
        .wall_seconds = 1700000000,
        .hpet = true,
        .watchdog = true,
        .watchdog_start_ns = NS_PER_SEC,
        .testdev_ram = testdev_ram,
    };

    require(machine_init(&machine, &host, 64 << 20, 0));
    while (world.script.left != 0)
        step(&machine, &world);
    return 0;
}
