// SPDX-License-Identifier: BSD-2-Clause
// What vlapic.c (interrupts, timer) and vlapic_regs.c (registers, MSRs) share; for those two only.
// The vCPU owns the state; see vlapic.h.
#pragma once
#include "kernel/arch/x86/vlapic.h"

#define SVR_ENABLE     0x100u
#define ICR_SELF       0x40000u // shorthand
#define LVT_REMOTE_IRR 0x4000u
#define LVT_LEVEL      0x8000u
#define LVT_MASKED     0x10000u
#define LVT_PERIODIC   0x20000u
#define LVT_DEADLINE   0x40000u
#define LVT_TIMER_MODE 0x60000u

static inline uint32_t reg_get(const struct vlapic *v, uint32_t offset)
{
    return v->regs[offset / 4];
}

static inline void reg_set(struct vlapic *v, uint32_t offset, uint32_t value)
{
    v->regs[offset / 4] = value;
}

static inline uint32_t vlapic_timer_mode(const struct vlapic *v)
{
    return v->lvt_timer & LVT_TIMER_MODE;
}

// Collects a bit of ESR; the first since the last write of ESR interrupts through LVT error.
void vlapic_error(struct vlapic *v, uint32_t bit);
void vlapic_icr_send(struct vlapic *v, uint32_t icr, uint32_t dest);
uint32_t vlapic_timer_current(const struct vlapic *v, uint64_t now);
void vlapic_timer_stop(struct vlapic *v);
// Effects of writes to registers; each also puts what the register then holds into the page.
void vlapic_timer_written(struct vlapic *v, uint32_t offset, uint32_t value, uint64_t now);
