// SPDX-License-Identifier: BSD-2-Clause
//
// Interrupt lines of the board.
//
// A line is a level: true is asserted, whatever the polarity of the pin. Setting it to the level it
// already has is free of effects. Owned by the VMM's only thread; no lock.
#pragma once

#include <stdbool.h>
#include <stddef.h>

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
