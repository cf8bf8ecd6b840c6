// SPDX-License-Identifier: BSD-2-Clause
//
// The traces from the devices to the PIC and the IOAPIC.
// Owned by the VMM's only thread; no lock.
//
// A line's number is its trace's, and above that the source's at it.
#include "vmm/board/irq_router.h"

#include <assert.h>

enum { SOURCE_SHIFT = 8, TRACE_MASK = 0xFF };

static bool trace_is_isa(unsigned trace)
{
    return trace < ISA_IRQS && trace != GSI_PIT;
}

static unsigned trace_pin(unsigned trace)
{
    return trace == ISA_IRQ_PIT ? GSI_PIT : trace;
}

// Two traces end at IOAPIC pin 2.
static bool pin_is_high(const struct irq_router *router, unsigned pin)
{
    return router->high[pin] != 0 || (pin == GSI_PIT && router->high[ISA_IRQ_PIT] != 0);
}

static enum irq_edge trace_drive(struct irq_router *router, unsigned trace)
{
    unsigned pin = trace_pin(trace);

    if (trace_is_isa(trace))
        i8259_set_irq(router->pic, trace, router->high[trace] != 0);
    return ioapic_set_irq(router->ioapic, pin, pin_is_high(router, pin));
}

static enum irq_edge irq_router_drive(struct irq_router *router, unsigned n, bool level)
{
    unsigned trace = n & TRACE_MASK;
    uint32_t source = 1u << (n >> SOURCE_SHIFT), before = router->high[trace];

    router->high[trace] = level ? before | source : before & ~source;
    if ((before != 0) == (router->high[trace] != 0))
        return IRQ_EDGE_MASKED;
    return trace_drive(router, trace);
}

static void irq_router_set(void *ctx, unsigned n, bool level)
{
    irq_router_drive(ctx, n, level);
}

// One who waits is enough for nobody: a guest that uses one controller may have left the other one
// unmasked, with a request that will wait for ever. And where another source holds the trace high,
// there is no edge.
static bool irq_router_pulse(void *ctx, unsigned n)
{
    struct irq_router *router = ctx;
    unsigned trace = n & TRACE_MASK;
    enum irq_edge pic = trace_is_isa(trace) ? i8259_edge(router->pic, trace) : IRQ_EDGE_MASKED;

    irq_router_drive(router, n, false);
    bool held = router->high[trace] != 0;
    enum irq_edge ioapic = irq_router_drive(router, n, true);
    return !held &&
           (pic == IRQ_EDGE_NEW || ioapic == IRQ_EDGE_NEW || pic + ioapic == IRQ_EDGE_MASKED);
}

static const struct irq_ops router_ops = {.set = irq_router_set, .pulse = irq_router_pulse};

static struct irq_line new_source(struct irq_router *router, unsigned trace)
{
    unsigned source = router->sources[trace]++;

    assert(source < 32);
    trace |= source << SOURCE_SHIFT;
    return (struct irq_line){.ops = &router_ops, .ctx = router, .n = trace};
}

struct irq_line irq_router_isa(struct irq_router *router, unsigned irq)
{
    assert(trace_is_isa(irq));
    return new_source(router, irq);
}

struct irq_line irq_router_gsi(struct irq_router *router, unsigned gsi)
{
    assert(gsi < IOAPIC_PINS && !trace_is_isa(gsi));
    return new_source(router, gsi);
}

static void irq_gate_set(void *ctx, unsigned n, bool level)
{
    struct irq_gate *gate = ctx;

    (void)n;
    gate->level = level;
    if (!gate->cut)
        irq_set(&gate->out, level);
}

// Nobody waits for a pulse that comes to a cut.
static bool irq_gate_pulse(void *ctx, unsigned n)
{
    struct irq_gate *gate = ctx;

    (void)n;
    gate->level = true;
    return gate->cut || irq_pulse(&gate->out);
}

static const struct irq_ops gate_ops = {.set = irq_gate_set, .pulse = irq_gate_pulse};

struct irq_line irq_gate_init(struct irq_gate *gate, struct irq_line out)
{
    *gate = (struct irq_gate){.out = out};
    return (struct irq_line){.ops = &gate_ops, .ctx = gate};
}

void irq_gate_cut(struct irq_gate *gate, bool cut)
{
    gate->cut = cut;
    irq_set(&gate->out, gate->level && !cut);
}
