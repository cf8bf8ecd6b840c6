// SPDX-License-Identifier: BSD-2-Clause
//
// The traces from the ISA interrupt lines to the PIC and the IOAPIC.
// Owned by the VMM's only thread; no lock.
#include "vmm/irq.h"

#include "vmm/dev/i8259.h"
#include "vmm/dev/ioapic.h"

static void irq_router_set_isa(void *ctx, unsigned irq, bool level)
{
    struct irq_router *router = ctx;

    i8259_set_irq(router->pic, irq, level);
    ioapic_set_irq(router->ioapic, irq == ISA_IRQ_PIT ? GSI_PIT : irq, level);
}

static void irq_router_set_gsi(void *ctx, unsigned gsi, bool level)
{
    struct irq_router *router = ctx;

    ioapic_set_irq(router->ioapic, gsi, level);
}

static const struct irq_ops isa_ops = {.set = irq_router_set_isa};
static const struct irq_ops gsi_ops = {.set = irq_router_set_gsi};

struct irq_line irq_router_isa(struct irq_router *router, unsigned irq)
{
    return (struct irq_line){.ops = &isa_ops, .ctx = router, .n = irq};
}

struct irq_line irq_router_gsi(struct irq_router *router, unsigned gsi)
{
    return (struct irq_line){.ops = &gsi_ops, .ctx = router, .n = gsi};
}
