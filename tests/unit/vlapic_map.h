// SPDX-License-Identifier: BSD-2-Clause
// The highest vector in IRR and ISR of a virtual local APIC's page, or -1; bit by bit.
#pragma once
#include "kernel/arch/x86/vlapic.h"

static inline int map_highest(const struct vlapic *v, uint32_t map)
{
    int vector = 255;
    while (vector >= 0 && !(v->regs[(map + (uint32_t)vector / 32 * 16) / 4] >> vector % 32 & 1))
        vector--;
    return vector;
}

static inline int irr_max(const struct vlapic *v) { return map_highest(v, APIC_IRR); }
static inline int isr_max(const struct vlapic *v) { return map_highest(v, APIC_ISR); }

// The vector that it ended if that was level-triggered, else -1.
static inline int eoi(struct vlapic *v)
{
    v->actions &= ~VLAPIC_ACT_EOI;
    vlapic_eoi(v);
    return v->actions & VLAPIC_ACT_EOI ? v->eoi_vector : -1;
}
