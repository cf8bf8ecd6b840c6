// SPDX-License-Identifier: BSD-2-Clause
//
// The board's wiring, in one place: which device exists, at which ports and addresses it answers,
// and where its interrupt goes. The MADT, the MP table and dsdt.asl describe the same board.
// Runs on the VMM's only thread, before the first vCPU does.
#include "vmm/board/machine.h"

#include <string.h>

// Where the chip set has it, but that it is function 4 there.
#define WATCHDOG_SLOT 29

static void machine_power(void *ctx, enum power_event event)
{
    struct machine *m = ctx;

    // The first one counts: a reset that follows a power-off in the same access comes too late.
    if (!m->power_pending)
        m->power = event;
    m->power_pending = true;
}

static const struct power_ops machine_power_ops = { .request = machine_power };

// "Message Address Register Format", "Message Data Register Format": all processors, NMI.
void machine_nmi(struct machine *m)
{
    m->ioapic.ops->msi(m->ioapic.ctx, 0xFEEFF000, 4u << 8, false);
}

void machine_reset(struct machine *m) { machine_power(m, POWER_RESET); }

void machine_pause(struct machine *m, bool paused) { i6300esb_hold(&m->watchdog, paused); }

// Memory sizes where a BIOS leaves them: below 640 KB in KB, from 1 MB in KB, from 16 MB and from
// 4 GB in units of 64 KB.
static void machine_nvram(struct mc146818 *rtc, uint64_t low_bytes, uint64_t high_bytes)
{
    uint64_t extended = (low_bytes - (1ull << 20)) >> 10, above, high = high_bytes >> 16;

    extended = extended < 0xFFFF ? extended : 0xFFFF;
    above = low_bytes > (16ull << 20) ? (low_bytes - (16ull << 20)) >> 16 : 0;
    mc146818_set_nvram(rtc, 0x15, 640 & 0xFF);
    mc146818_set_nvram(rtc, 0x16, 640 >> 8);
    for (unsigned i = 0; i < 2; i++) {
        mc146818_set_nvram(rtc, (uint8_t)(0x17 + i), (uint8_t)(extended >> (8 * i)));
        mc146818_set_nvram(rtc, (uint8_t)(0x30 + i), (uint8_t)(extended >> (8 * i)));
        mc146818_set_nvram(rtc, (uint8_t)(0x34 + i), (uint8_t)(above >> (8 * i)));
    }
    for (unsigned i = 0; i < 3; i++)
        mc146818_set_nvram(rtc, (uint8_t)(0x5B + i), (uint8_t)(high >> (8 * i)));
}

// The test board's lines are those of GSIs: the ISA interrupts reach the PICs too, but for the
// second, where the cascade is.
static void machine_init_testdev(struct machine *m, uint8_t *ram, struct power_sink power)
{
    struct irq_line line[TESTDEV_LINES];

    for (unsigned n = 0; n < TESTDEV_LINES; n++)
        line[n] = n < 16 && n != GSI_PIT ? irq_router_isa(&m->router, n)
                                         : irq_router_gsi(&m->router, n);
    testdev_init(&m->testdev, ram, line, power);
}

// Legacy replacement: the PIT's and the RTC's interrupts are the HPET's.
static void machine_replace_timers(void *ctx, unsigned n, bool level)
{
    struct machine *m = ctx;

    (void)n;
    i8254_cut(&m->pit, level);
    irq_gate_cut(&m->pit_gate, level);
    irq_gate_cut(&m->rtc_gate, level);
}

static const struct irq_ops machine_replace_ops = { .set = machine_replace_timers };

static void machine_init_timers(struct machine *m, const struct machine_host *host)
{
    struct irq_router *router = &m->router;
    struct irq_line pit = irq_gate_init(&m->pit_gate, irq_router_isa(router, ISA_IRQ_PIT));
    struct irq_line rtc = irq_gate_init(&m->rtc_gate, irq_router_isa(router, ISA_IRQ_RTC));
    struct hpet_lines hpet = { .replace = { &machine_replace_ops, m, 0 } };

    hpet.isa[0] = irq_router_isa(router, ISA_IRQ_PIT);
    hpet.isa[1] = irq_router_isa(router, ISA_IRQ_RTC);
    for (unsigned n = 0; n < HPET_TIMERS; n++) {
        for (unsigned pin = 0; pin < HPET_PINS; pin++)
            hpet.pin[n][pin] = irq_router_gsi(router, HPET_FIRST_PIN + pin);
    }
    i8254_init(&m->pit, &m->clock, pit);
    mc146818_init(&m->rtc, &m->clock, host->wall_seconds, rtc);
    hpet_init(&m->hpet, &m->clock, &hpet);
    m->pit.ticks.catch_up = m->rtc.ticks.catch_up = host->catch_up;
    for (unsigned n = 0; n < HPET_TIMERS; n++)
        m->hpet.timer[n].ticks.catch_up = host->catch_up;
}

static void machine_init_devices(struct machine *m, const struct machine_host *host)
{
    struct power_sink power = { &machine_power_ops, m };
    struct irq_router *router = &m->router;
    struct clock *clock = &m->clock;

    clock_init(clock, host->clock, host->ctx);
    i8259_init(&m->pic, host->intr);
    ioapic_init(&m->ioapic, host->msi, host->ctx);
    *router = (struct irq_router){ .pic = &m->pic, .ioapic = &m->ioapic };

    machine_init_timers(m, host);
    i8042_init(&m->kbc, irq_router_isa(router, ISA_IRQ_KEYBOARD), power);
    // Not paced: characters leave as fast as the console takes them.
    uart16550_init(&m->com1, clock, host->console, irq_router_isa(router, ISA_IRQ_COM1), false);
    debugcon_init(&m->debugcon, host->console);
    vga_crtc_reset(&m->vga);
    acpi_pm_init(&m->pm, clock, irq_router_isa(router, ISA_IRQ_SCI), power);
    pci_host_init(&m->pci, power);
    i6300esb_init(&m->watchdog, clock, power, host->watchdog_bitten,
                  host->watchdog ? host->watchdog_start_ns : 0);
    pvpanic_init(&m->panic, power);
    machine_init_testdev(m, host->testdev_ram, power);
}

// The address map. The bus refuses ranges that overlap.
static bool machine_wire(struct machine *m, const struct machine_host *host)
{
    struct bus *bus = &m->bus;

    return i8259_register(&m->pic, bus)                         // 0x20 0xA0 0x4D0
           && i8254_register(&m->pit, bus)                      // 0x40-43 0x61
           && i8042_register(&m->kbc, bus)                      // 0x60 0x64 0x92
           && mc146818_register(&m->rtc, bus)                   // 0x70-71
           && scratch_register_port(&m->post, bus, POST_PORT)   // 0x80
           && debugcon_register(&m->debugcon, bus)              // 0xE9
           && vga_crtc_register(&m->vga, bus)                   // 0x3C0-3CF 0x3D4 0x3DA
           && uart16550_register(&m->com1, bus, UART_COM1)      // 0x3F8-3FF
           && pvpanic_register(&m->panic, bus)                  // 0x505
           && acpi_pm_register(&m->pm, bus)                     // 0x600 0x604 0x608
           && pci_host_register(&m->pci, bus)                   // 0xCF8-CFF with 0xCF9
           && ioapic_register(&m->ioapic, bus)                  // 0xFEC00000
           && (!host->hpet || hpet_register(&m->hpet, bus))     // 0xFED00000
           && (!host->watchdog || pci_host_plug(&m->pci, WATCHDOG_SLOT, &m->watchdog.pci, bus))
           && (host->testdev_ram == NULL ||
               testdev_register(&m->testdev, bus)); // 0xE0 0xF4 0x2000 0x8900 0xB0F
}

bool machine_init(struct machine *m, const struct machine_host *host, uint64_t low_bytes,
                  uint64_t high_bytes)
{
    memset(m, 0, sizeof(*m));
    bus_init(&m->bus);
    machine_init_devices(m, host);
    machine_nvram(&m->rtc, low_bytes, high_bytes);
    return machine_wire(m, host);
}
