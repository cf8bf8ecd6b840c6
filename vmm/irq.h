// SPDX-License-Identifier: BSD-2-Clause
//
// Interrupt lines of the board, and the router that fans an ISA IRQ out to both interrupt
// controllers, as the traces on a PC's board do.
//
// A line is a level: true is asserted, whatever the polarity of the pin. Setting it to the level it
// already has is free of effects. Owned by the VMM's only thread; no lock.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define LAPIC_BASE 0xFEE00000u // of the vCPU's local APIC

struct i8259;
struct ioapic;

struct irq_ops {
    void (*set)(void *ctx, unsigned n, bool level);
    // May be NULL: the wire is set low, then high.
    bool (*pulse)(void *ctx, unsigned n);
};

// One wire: what a device holds. `n` names the wire to whoever is at its other end.
// A zeroed irq_line is a pin that is not connected.
struct irq_line {
    const struct irq_ops *ops;
    void *ctx;
    unsigned n;
};

static inline void irq_set(const struct irq_line *line, bool level)
{
    if (line->ops != NULL)
        line->ops->set(line->ctx, line->n, level);
}

// Makes the line rise once more. False: what it asked for before still waits for the processor, so
// this edge was nothing new.
static inline bool irq_pulse(const struct irq_line *line)
{
    if (line->ops != NULL && line->ops->pulse != NULL)
        return line->ops->pulse(line->ctx, line->n);
    irq_set(line, false);
    irq_set(line, true);
    return true;
}

// What became of an edge at one controller.
enum irq_edge {
    IRQ_EDGE_MASKED,
    IRQ_EDGE_WAITED, // it met an earlier one that still waits
    IRQ_EDGE_NEW,
};

// Global system interrupts: 0-15 are the ISA IRQs, 16-23 reach the IOAPIC only.
enum {
    ISA_IRQ_PIT = 0,
    ISA_IRQ_KEYBOARD = 1,
    ISA_IRQ_COM1 = 4,
    ISA_IRQ_RTC = 8,
    ISA_IRQ_SCI = 9,
    GSI_PIT = 2, // IRQ 0 is wired to IOAPIC pin 2 (MADT interrupt source override)
};

struct irq_router {
    struct i8259 *pic;
    struct ioapic *ioapic;
};

// The wire of ISA IRQ `irq` (0, 1, 3 to 15: pin 2 of the PIC is the cascade): goes to that pin of
// the PIC and to the IOAPIC pin of the same number, except IRQ 0, which goes to IOAPIC pin 2.
struct irq_line irq_router_isa(struct irq_router *router, unsigned irq);

// The wire of a GSI from 16 to 23, which no PIC sees.
struct irq_line irq_router_gsi(struct irq_router *router, unsigned gsi);
