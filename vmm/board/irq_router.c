// SPDX-License-Identifier: BSD-2-Clause
//
// The traces from the ISA interrupt lines to the PIC and the IOAPIC.
// Owned by the VMM's only thread; no lock.
#include "vmm/board/irq_router.h"

static unsigned isa_pin(unsigned irq)
{
    return irq == ISA_IRQ_PIT ? GSI_PIT : irq;
}

static void irq_router_set_isa(void *ctx, unsigned irq, bool level)
{
    struct irq_router *router = ctx;

    i8259_set_irq(router->pic, irq, level);
    ioapic_set_irq(router->ioapic, isa_pin(irq), level);
}

// One who waits is enough for nobody: a guest that uses one controller may have left the other one
// unmasked, with a request that will wait for ever.
static bool irq_router_pulse_isa(void *ctx, unsigned irq)
{
    struct irq_router *router = ctx;
    enum irq_edge pic = i8259_edge(router->pic, irq), ioapic;

    irq_router_set_isa(ctx, irq, false);
    i8259_set_irq(router->pic, irq, true);
    ioapic = ioapic_set_irq(router->ioapic, isa_pin(irq), true);
    return pic == IRQ_EDGE_NEW || ioapic == IRQ_EDGE_NEW || pic + ioapic == IRQ_EDGE_MASKED;
}

static void irq_router_set_gsi(void *ctx, unsigned gsi, bool level)
{
    struct irq_router *router = ctx;

    ioapic_set_irq(router->ioapic, gsi, level);
}

static const struct irq_ops isa_ops = {.set = irq_router_set_isa, .pulse = irq_router_pulse_isa};
static const struct irq_ops gsi_ops = {.set = irq_router_set_gsi};

struct irq_line irq_router_isa(struct irq_router *router, unsigned irq)
{
    return (struct irq_line){.ops = &isa_ops, .ctx = router, .n = irq};
}

struct irq_line irq_router_gsi(struct irq_router *router, unsigned gsi)
{
    return (struct irq_line){.ops = &gsi_ops, .ctx = router, .n = gsi};
}
