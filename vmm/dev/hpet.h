// SPDX-License-Identifier: BSD-2-Clause
//
// High precision event timer: a counter of 64 bits at 100 MHz and three comparators, each of 64
// bits, one-shot or periodic.
//
// Follows the IA-PC HPET specification 1.0a, section "Register Model". The count is computed from
// the host clock when it is looked at. A comparator that is set to a count in the past waits until
// the counter comes round, as the chip's does. Interrupts go to IOAPIC pins 20 to 23, edge or level
// triggered, or with legacy replacement those of the timers 0 and 1 to IRQ 0 and IRQ 8, from which
// the PIT and the RTC are cut off meanwhile. No FSB delivery.
//
// Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/bus.h"
#include "vmm/board/clock.h"
#include "vmm/board/irq.h"
#include "vmm/dev/ticks.h"

enum {
    HPET_TIMERS = 3,
    HPET_LEGACY_TIMERS = 2,
    HPET_FIRST_PIN = 20, // of the IOAPIC
    HPET_PINS = 4,
    HPET_TICK_NS = 10,
    HPET_MIN_TICK = 128, // shortest period that the ACPI table promises
};

#define HPET_BASE 0xFED00000ULL
#define HPET_SIZE 0x400ULL
// General Capabilities and ID, 31:0: vendor, legacy replacement, 64 bits, last timer, revision 1.
#define HPET_ID (0x80860000u | 1u << 15 | 1u << 13 | (HPET_TIMERS - 1) << 8 | 1u)

// Where a board has connected it.
struct hpet_lines {
    struct irq_line pin[HPET_TIMERS][HPET_PINS];
    struct irq_line isa[HPET_LEGACY_TIMERS];
    struct irq_line replace; // high while PIT and RTC are cut off
};

struct hpet_timer {
    uint32_t config;             // the bits that software sets
    bool set_value;              // the next write sets a periodic comparator, too
    uint64_t compare;
    uint64_t period;             // in ticks, as last written in periodic mode
    uint64_t due_ns;             // when the counter meets the comparator, or CLOCK_NEVER
    uint64_t fired_ns;           // when it last did, and was seen to
    struct ticks ticks;          // in periodic mode
    const struct irq_line *high; // the line that it drives high now, or NULL
};

struct hpet {
    uint32_t config; // general configuration
    uint32_t status; // interrupts of level-triggered timers
    uint64_t count;  // the main counter: at `base_ns` if it runs
    uint64_t base_ns;
    struct hpet_timer timer[HPET_TIMERS];
    struct hpet_lines lines;
    struct clock *clock;
    struct vtimer alarm; // for the first of all timers that has somebody to tell
};

void hpet_init(struct hpet *hpet, struct clock *clock, const struct hpet_lines *lines);

// Halted at 0, no interrupts, comparators at their end.
void hpet_reset(struct hpet *hpet);

// Claims 1 KB at HPET_BASE.
bool hpet_register(struct hpet *hpet, struct bus *bus);
