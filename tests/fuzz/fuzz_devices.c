// SPDX-License-Identifier: BSD-2-Clause
//
// The whole board against a hostile guest: the input is a script of port and MMIO accesses, passing
// time, console input and interrupt acknowledges. Beside what the sanitizers find it checks that
// the INTR line is what the PIC says, that the timer list asks for no storm of wake-ups, and that
// a write is blocked only when the console has no room.
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct script {
    const uint8_t *data;
    size_t left;
    uint64_t now_ns;
    uint64_t armed_ns;
    unsigned room;
    unsigned input;
    bool intr;
};

static uint64_t take(struct script *s, unsigned bytes)
{
    uint64_t value = 0;

    while (bytes-- != 0 && s->left != 0) {
        value = value << 8 | *s->data++;
        s->left--;
    }
    return value;
}

static uint64_t script_now(void *ctx)
{
    return ((struct script *)ctx)->now_ns;
}

static void script_arm(void *ctx, uint64_t deadline_ns)
{
    ((struct script *)ctx)->armed_ns = deadline_ns;
}

static void script_intr(void *ctx, unsigned n, bool level)
{
    (void)n;
    ((struct script *)ctx)->intr = level;
}

static void script_msi(void *ctx, uint64_t addr, uint32_t data, bool level)
{
    (void)ctx;
    assert(addr >> 20 == 0xFEE);
    assert(((data & 0x8000) != 0) == level);
}

static bool script_put(void *ctx, uint8_t byte)
{
    struct script *s = ctx;

    (void)byte;
    if (s->room == 0)
        return false;
    s->room--;
    return true;
}

static int script_get(void *ctx)
{
    struct script *s = ctx;

    if (s->input == 0)
        return -1;
    s->input--;
    return 'a';
}

static const struct clock_ops clock_ops = {.now_ns = script_now, .arm = script_arm};
static const struct irq_ops irq_ops = {.set = script_intr};
static const struct ioapic_ops msi_ops = {.msi = script_msi};
static const struct stream_ops stream_ops = {.put = script_put, .get = script_get};

// Every port of the board, and some that lie between.
static const uint16_t ports[] = {
    0x20,  0x21,  0xA0,  0xA1,  0x4D0, 0x4D1, 0x40,  0x41,  0x42,  0x43,
    0x60,  0x61,  0x64,  0x70,  0x71,  0x92,  0xE9,  0x3F7, 0x3F8, 0x3F9,
    0x3FA, 0x3FB, 0x3FC, 0x3FD, 0x3FE, 0x3FF, 0x600, 0x601, 0x602, 0x603,
    0x604, 0x605, 0x608, 0x60B, 0xCF8, 0xCF9, 0xCFC, 0xCFE, 0xCFF, 0xFFFF,
};

static void run_time(struct machine *m, struct script *s, uint64_t ns)
{
    uint64_t end = s->now_ns + ns;
    unsigned fires = 0;

    while (s->armed_ns <= end) {
        if (s->armed_ns > s->now_ns)
            s->now_ns = s->armed_ns;
        s->armed_ns = CLOCK_NEVER;
        clock_run(&m->clock, s->now_ns);
        fires++;
    }
    // PIT 37,300 and RTC 8,192 a second at most, UART and PM timer a few.
    assert(fires <= ns / 20000 + 8);
    s->now_ns = end;
}

static void port_access(struct machine *m, struct script *s, bool write)
{
    uint16_t port = ports[take(s, 1) % (sizeof(ports) / sizeof(ports[0]))];
    unsigned size = 1U << take(s, 1) % 3;
    unsigned room = s->room;

    if (!write)
        bus_port_read(&m->bus, port, size);
    else if (bus_port_write(&m->bus, port, size, (uint32_t)take(s, size)) == BUS_BLOCKED)
        assert(room == 0);
}

static void ioapic_access(struct machine *m, struct script *s)
{
    uint64_t addr = IOAPIC_BASE + take(s, 1);

    // The index register and the window, mostly.
    if ((addr & 0x80) != 0)
        addr = IOAPIC_BASE + (addr & 0x10);
    unsigned size = 1U << take(s, 1) % 4;
    bus_mmio_write(&m->bus, addr, size, take(s, size));
    bus_mmio_read(&m->bus, addr, size);
}

static void step(struct machine *m, struct script *s)
{
    uint8_t op = (uint8_t)take(s, 1);

    switch (op % 10) {
    case 0 ... 2:
        port_access(m, s, true);
        break;
    case 3:
    case 4:
        port_access(m, s, false);
        break;
    case 5:
        run_time(m, s, take(s, 3) * 97);
        break;
    case 6: // the VMM was away
        s->now_ns += take(s, 4);
        run_time(m, s, 0);
        break;
    case 7:
        s->room = (unsigned)take(s, 1) % 8;
        s->input += (unsigned)take(s, 1) % 32;
        uart16550_rx_poll(&m->com1);
        break;
    case 8:
        if (op >= 200)
            acpi_pm_power_button(&m->pm);
        else if (m->pic.level)
            i8259_ack(&m->pic);
        else
            ioapic_eoi(&m->ioapic, (uint8_t)take(s, 1));
        break;
    default:
        ioapic_access(m, s);
        break;
    }
    assert(s->intr == i8259_intr(&m->pic));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct machine machine;
    struct script script = {
        .data = data,
        .left = size,
        .now_ns = 5 * NS_PER_SEC,
        .armed_ns = CLOCK_NEVER,
        .room = 4,
    };
    struct machine_host host = {
        .clock = &clock_ops,
        .msi = &msi_ops,
        .intr = {.ops = &irq_ops, .ctx = &script},
        .console = {.ops = &stream_ops, .ctx = &script},
        .ctx = &script,
        .wall_seconds = 1700000000,
    };

    if (!machine_init(&machine, &host, 64 << 20, 0))
        abort();
    while (script.left != 0)
        step(&machine, &script);
    return 0;
}
