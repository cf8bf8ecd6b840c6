// SPDX-License-Identifier: BSD-2-Clause
// The virtual local APIC: priorities, IPIs and the timer. The vCPU owns the state; only its core
// comes here, with interrupts off, so there is no lock.
#include "kernel/arch/x86/vlapic_internal.h"

// "Error Handling"
#define ESR_SEND_ACCEPT     0x04u
#define ESR_SEND_ILLEGAL    0x20u
#define ESR_RECEIVE_ILLEGAL 0x40u

#define ICR_ASSERT  0x4000u
#define DIVIDE_BITS 0xbu

// A periodic timer faster than this is slowed to it (late periods coalesce anyway): the host pays
// for these interrupts even while another VM has the core.
#define PERIOD_MIN 20000u

// Vector bitmaps: 32 vectors per register.
static uint32_t *vector_word(const struct vlapic *v, uint32_t map, uint8_t vector)
{
    return &v->regs[map / 4 + (vector / 32) * 4];
}

// 0: none.
static inline uint32_t map_max(const struct vlapic *v, uint32_t map)
{
    const uint32_t *first = &v->regs[map / 4], *r = first;
    if (!(r[0] | r[4] | r[8] | r[12] | r[16] | r[20] | r[24] | r[28]))
        return 0; // mostly
    for (r += 28; !*r; r -= 4)
        ;
    return (uint32_t)(r - first) * 8 + 31 - (uint32_t)__builtin_clz(*r);
}

static uint32_t ppr_of(const struct vlapic *v, uint32_t isr)
{
    uint32_t tpr = reg_get(v, APIC_TPR) & 0xff;
    return isr >> 4 > tpr >> 4 ? isr & 0xf0 : tpr;
}

static uint32_t ppr_set(struct vlapic *v, uint32_t isr)
{
    uint32_t ppr = ppr_of(v, isr);
    reg_set(v, APIC_PPR, ppr);
    return ppr;
}

uint8_t vlapic_ppr(struct vlapic *v) { return (uint8_t)ppr_set(v, map_max(v, APIC_ISR)); }

int vlapic_highest(struct vlapic *v)
{
    uint32_t irr = map_max(v, APIC_IRR), isr = map_max(v, APIC_ISR);
    v->status = (uint16_t)(isr << 8 | irr);
    bool taken = irr >> 4 > ppr_set(v, isr) >> 4 && (v->apic_base & APIC_BASE_ENABLE);
    return taken ? (int)irr : -1;
}

uint8_t vlapic_tpr_threshold(const struct vlapic *v)
{
    uint32_t class = map_max(v, APIC_IRR) >> 4;
    return class > (reg_get(v, APIC_TPR) & 0xff) >> 4 ? 0 : (uint8_t)class;
}

void vlapic_inject(struct vlapic *v, uint8_t vector)
{
    *vector_word(v, APIC_IRR, vector) &= ~(1u << vector % 32);
    *vector_word(v, APIC_ISR, vector) |= 1u << vector % 32;
    vlapic_ppr(v);
}

void vlapic_eoi(struct vlapic *v)
{
    uint32_t vector = map_max(v, APIC_ISR);
    reg_set(v, APIC_EOI, 0);
    if (!vector)
        return;
    *vector_word(v, APIC_ISR, (uint8_t)vector) &= ~(1u << vector % 32);
    vlapic_ppr(v);
    if (map_max(v, APIC_IRR))
        v->actions |= VLAPIC_ACT_IRR;
    if (!(*vector_word(v, APIC_TMR, (uint8_t)vector) >> vector % 32 & 1))
        return;
    v->eoi_vector = (uint8_t)vector;
    v->actions |= VLAPIC_ACT_EOI;
    vlapic_level_ended(v, v->eoi_vector);
}

void vlapic_level_ended(struct vlapic *v, uint8_t vector)
{
    if (vector != v->lint0_vector)
        return;
    v->lint0_vector = 0;
    reg_set(v, APIC_LVT_LINT0, reg_get(v, APIC_LVT_LINT0) & ~LVT_REMOTE_IRR);
}

void vlapic_eoi_exit_bitmap(const struct vlapic *v, uint64_t bitmap[4])
{
    for (uint32_t i = 0; i < 4; i++)
        bitmap[i] = (uint64_t)reg_get(v, APIC_TMR + i * 32 + 16) << 32 |
                    reg_get(v, APIC_TMR + i * 32);
}

static void irr_set(struct vlapic *v, uint8_t vector, bool level)
{
    uint32_t bit = 1u << vector % 32;
    uint32_t *tmr = vector_word(v, APIC_TMR, vector);
    if (!(*tmr & bit) == level) {
        *tmr ^= bit;
        v->actions |= VLAPIC_ACT_TMR;
    }
    *vector_word(v, APIC_IRR, vector) |= bit;
    v->actions |= VLAPIC_ACT_IRR;
    if (vector > v->accepted)
        v->accepted = vector;
}

// NOLINTBEGIN(misc-no-recursion): only the first error since the last write of ESR interrupts, so
// this cannot recurse twice.
bool vlapic_accept(struct vlapic *v, uint8_t vector, bool level)
{
    if (!vlapic_listens(v))
        return false;
    if (vector < 16) {
        vlapic_error(v, ESR_RECEIVE_ILLEGAL);
        return false;
    }
    irr_set(v, vector, level);
    return true;
}

// An interrupt of the APIC's own from an entry of the local vector table.
static void lvt_deliver(struct vlapic *v, uint32_t lvt)
{
    if (!(lvt & LVT_MASKED))
        (void)vlapic_accept(v, (uint8_t)lvt, false);
}

// ("Valid Interrupt Vectors", "Local Vector Table": only Fixed can be level-triggered.)
void vlapic_lint0(struct vlapic *v, bool high, bool rose)
{
    uint32_t lvt = reg_get(v, APIC_LVT_LINT0), delivery = vlapic_lint0_delivery(v);
    if (delivery == VLAPIC_FIXED && (lvt & LVT_LEVEL)) {
        if (!high || v->lint0_vector)
            return;
        (void)vlapic_accept(v, (uint8_t)lvt, true);
        if (vlapic_listens(v) && (uint8_t)lvt >= 16) {
            v->lint0_vector = (uint8_t)lvt;
            reg_set(v, APIC_LVT_LINT0, lvt | LVT_REMOTE_IRR);
        }
    } else if (delivery == VLAPIC_FIXED && rose) {
        (void)vlapic_accept(v, (uint8_t)lvt, false);
    } else if (rose && (delivery == VLAPIC_NMI || delivery == VLAPIC_INIT)) {
        v->actions |= delivery == VLAPIC_NMI ? VLAPIC_ACT_NMI : VLAPIC_ACT_INIT;
    }
}

void vlapic_error(struct vlapic *v, uint32_t bit)
{
    bool first = !v->errors;
    v->errors |= bit;
    if (first)
        lvt_deliver(v, reg_get(v, APIC_LVT_ERROR));
}
// NOLINTEND(misc-no-recursion)

// --- Destinations and IPIs ---

bool vlapic_match_dest(const struct vlapic *v, uint32_t dest, bool logical, bool msi)
{
    enum vlapic_mode mode = vlapic_mode(v);
    uint32_t ldr = reg_get(v, APIC_LDR);

    if (mode == VLAPIC_DISABLED)
        return false;
    if (mode == VLAPIC_X2APIC) {
        if (dest == UINT32_MAX || (msi && dest == 0xff))
            return true;
        return logical ? dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff) : dest == v->id;
    }
    if (dest == 0xff)
        return true;
    if (!logical)
        return dest == v->id;
    ldr >>= 24;
    switch (reg_get(v, APIC_DFR) >> 28) {
    case 0xf: // flat
        return dest & ldr;
    case 0x0: // cluster
        return dest >> 4 == ldr >> 4 && (dest & ldr & 0xf);
    default:
        return false;
    }
}

// PPR in the page is not up to date where the CPU lets the guest move TPR without an exit.
bool vlapic_bids_lower(const struct vlapic *a, const struct vlapic *b)
{
    uint32_t on = reg_get(a, APIC_SVR) & SVR_ENABLE, other = reg_get(b, APIC_SVR) & SVR_ENABLE;
    return on &&
           (!other || ppr_of(a, map_max(a, APIC_ISR)) < ppr_of(b, map_max(b, APIC_ISR)));
}

// What others may get of it is left to the caller.
void vlapic_icr_send(struct vlapic *v, uint32_t icr, uint32_t dest)
{
    uint32_t delivery = icr >> 8 & 7;
    uint32_t shorthand = icr >> 18 & 3; // destination, self, all, all but self
    bool self = shorthand ? shorthand != 3 : vlapic_match_dest(v, dest, icr >> 11 & 1, false);
    bool fixed = delivery == VLAPIC_FIXED || delivery == VLAPIC_LOWEST;

    if (fixed && (icr & 0xff) < 16) {
        vlapic_error(v, ESR_SEND_ILLEGAL);
        return;
    }
    if (delivery == VLAPIC_INIT && !(icr & ICR_ASSERT))
        return; // de-assert: only synchronised arbitration ids, long ago
    if (shorthand != 1) {
        v->ipi.icr = icr;
        v->ipi.dest = dest;
        v->actions |= VLAPIC_ACT_IPI;
    }
    if (!self || (delivery == VLAPIC_LOWEST && shorthand != 1))
        return;
    if (fixed)
        (void)vlapic_accept(v, (uint8_t)icr, false); // software-disabled: it is lost, as on a CPU
    else if (delivery == VLAPIC_NMI)
        v->actions |= VLAPIC_ACT_NMI;
    else if (delivery == VLAPIC_INIT && !shorthand)
        v->actions |= VLAPIC_ACT_INIT;
    else if (delivery == VLAPIC_INIT || delivery == VLAPIC_SIPI)
        vlapic_error(v, ESR_SEND_ACCEPT); // not valid to oneself
}

// --- Timer ---

// TSC ticks per count.
static uint64_t timer_unit(const struct vlapic *v)
{
    return (uint64_t)v->ratio << v->timer_shift;
}

uint64_t vlapic_timer_deadline(const struct vlapic *v)
{
    if (v->lvt_timer & LVT_MASKED)
        return 0;
    if (vlapic_timer_mode(v) != LVT_DEADLINE)
        return v->timer_next ? max_u64(v->timer_next, v->timer_pause) : 0;
    if (!v->tsc_deadline)
        return 0;

    uint64_t host = v->tsc_deadline - v->tsc_offset;
    if ((int64_t)v->tsc_offset >= 0) // the guest is ahead: its deadline may be before the host's 0
        return v->tsc_deadline > v->tsc_offset ? host : 1;
    return host >= v->tsc_deadline ? host : UINT64_MAX;
}

void vlapic_timer_fired(struct vlapic *v, uint64_t now)
{
    if (vlapic_timer_mode(v) == LVT_DEADLINE) {
        if (!v->tsc_deadline || v->tsc_deadline > now + v->tsc_offset)
            return;
        v->tsc_deadline = 0;
    } else {
        if (!v->timer_next || max_u64(v->timer_next, v->timer_pause) > now)
            return;
        uint64_t period = vlapic_timer_mode(v) == LVT_PERIODIC ? v->timer_period : 0;
        uint64_t ahead = period < PERIOD_MIN ? now + PERIOD_MIN : now;
        if (v->catch_up && period >= PERIOD_MIN && !(v->lvt_timer & LVT_MASKED)) {
            uint64_t late = now - v->timer_next;
            v->actions |= VLAPIC_ACT_TIMER;
            v->timer_pause = now + max_u64(period / 16, PERIOD_MIN / 8);
            if (late > v->catch_up)
                v->timer_next += (late - v->catch_up) / period * period;
            if (vlapic_requested(v, (uint8_t)v->lvt_timer))
                return;
            v->timer_next += period;
        } else if (period) {
            v->timer_next += ((ahead - v->timer_next) / period + 1) * period;
            v->actions |= VLAPIC_ACT_TIMER;
        } else {
            v->timer_next = 0;
        }
    }
    lvt_deliver(v, v->lvt_timer);
}

uint32_t vlapic_timer_current(const struct vlapic *v, uint64_t now)
{
    uint64_t period = vlapic_timer_mode(v) == LVT_PERIODIC ? v->timer_period : 0;
    uint64_t left = v->timer_next - now;
    bool late = v->timer_next <= now; // a periodic one has begun again since
    if (!v->timer_next || (late && !period))
        return 0;
    if (period)
        left = late ? period - (now - v->timer_next) % period : (left - 1) % period + 1;
    return (uint32_t)((left + timer_unit(v) - 1) / timer_unit(v));
}

void vlapic_timer_stop(struct vlapic *v)
{
    v->tsc_deadline = v->timer_next = v->timer_period = 0;
    reg_set(v, APIC_TIMER_INITIAL, 0);
    v->actions |= VLAPIC_ACT_TIMER;
}

// What was due before the write is settled first, by the entry it was due under. With another
// divider the count goes on from where it is, at the new speed.
void vlapic_timer_written(struct vlapic *v, uint32_t offset, uint32_t value, uint64_t now)
{
    vlapic_timer_fired(v, now);
    v->timer_pause = 0;
    v->actions |= VLAPIC_ACT_TIMER;
    bool deadline = vlapic_timer_mode(v) == LVT_DEADLINE;
    uint32_t count = value;
    if (offset == APIC_LVT_TIMER) {
        v->lvt_timer = value;
        if (deadline != (vlapic_timer_mode(v) == LVT_DEADLINE))
            vlapic_timer_stop(v);
    } else if (offset == APIC_TIMER_DIVIDE) {
        count = vlapic_timer_current(v, now);
        value &= DIVIDE_BITS;
        v->timer_shift = ((value & 3) + (value >> 1 & 4) + 1) & 7;
    } else if (deadline) { // the initial count is not writable then
        value = count = 0;
    }
    reg_set(v, offset, value);
    if (offset == APIC_LVT_TIMER)
        return;
    v->timer_period = reg_get(v, APIC_TIMER_INITIAL) * timer_unit(v);
    v->timer_next = count ? now + count * timer_unit(v) : 0;
}
