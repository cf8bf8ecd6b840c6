// SPDX-License-Identifier: BSD-2-Clause
//
// The router that joins all that drive an interrupt line, and fans an ISA IRQ out to both interrupt
// controllers, as the traces on a PC's board do. Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/irq.h"
#include "vmm/dev/i8259.h"
#include "vmm/dev/ioapic.h"

#define LAPIC_BASE 0xFEE00000u // of the vCPU's local APIC

// Global system interrupts: 0-15 are the ISA IRQs, 16-23 reach the IOAPIC only.
enum {
    ISA_IRQ_PIT = 0,
    ISA_IRQ_KEYBOARD = 1,
    ISA_IRQ_COM1 = 4,
    ISA_IRQ_RTC = 8,
    ISA_IRQ_SCI = 9,
    ISA_IRQS = 16,
    GSI_PIT = 2, // IRQ 0 is wired to IOAPIC pin 2 (MADT interrupt source override)
};

// Traces are numbered as the ISA IRQs and GSIs. Number 2 is a trace to IOAPIC pin 2 alone.
struct irq_router {
    struct i8259 *pic;
    struct ioapic *ioapic;
    uint32_t high[IOAPIC_PINS];   // of each trace: which of its sources drive it high
    uint8_t sources[IOAPIC_PINS]; // of each trace: how many there are, 32 at most
};

// A wire with a switch in it: while it is cut, its far end is low.
struct irq_gate {
    struct irq_line out;
    bool level; // of the near end
    bool cut;
};

// A new source at ISA IRQ `irq` (0, 1, 3 to 15: pin 2 of the PIC is the cascade). The trace is high
// while any of its sources is. It goes to that pin of the PIC and to the IOAPIC pin of the same
// number, except IRQ 0, which goes to IOAPIC pin 2.
struct irq_line irq_router_isa(struct irq_router *router, unsigned irq);

// A new source at a GSI that no PIC sees: 16 to 23, or 2 by itself.
struct irq_line irq_router_gsi(struct irq_router *router, unsigned gsi);

// The near end of `gate`, whose far end is `out`.
struct irq_line irq_gate_init(struct irq_gate *gate, struct irq_line out);
void irq_gate_cut(struct irq_gate *gate, bool cut);
