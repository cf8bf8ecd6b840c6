// SPDX-License-Identifier: BSD-2-Clause
// The virtual local APIC as the guest sees it: registers in memory, MSRs, IA32_APIC_BASE, reset.
// The vCPU owns the state; only its core comes here, with interrupts off, so there is no lock.
#include "kernel/arch/x86/regs.h"
#include "kernel/arch/x86/vlapic_internal.h"

#define VERSION  0x00050014u // integrated APIC, six LVT entries
#define SVR_BITS 0x3ffu
// Of an LVT entry, read-only: delivery status, which is always 0, and remote IRR.
#define LVT_IGNORED (0x1000u | LVT_REMOTE_IRR)
#define ICR_BITS   0xcdfffu // with the delivery status
#define ICR_STATUS 0x1000u
#define ESR_ILLEGAL_ADDRESS 0x80u

// "x2APIC Register Address Space": X2APIC_READ and X2APIC_WRITE are what that mode allows, and
// `bits` are those that it may write. All registers but SELF IPI are there in xAPIC mode.
enum { XAPIC = 1, X2APIC_READ = 2, X2APIC_WRITE = 4 };
#define READ (XAPIC | X2APIC_READ)
#define ALL  (READ | X2APIC_WRITE)
static const struct {
    uint32_t access, bits;
} registers[64] = {
    [APIC_ID / 16] = { READ, 0 },
    [APIC_VERSION / 16] = { READ, 0 },
    [APIC_TPR / 16] = { ALL, 0xff },
    [APIC_PPR / 16] = { READ, 0 },
    [APIC_EOI / 16] = { XAPIC | X2APIC_WRITE, 0 },
    [APIC_LDR / 16] = { READ, 0 },
    [APIC_DFR / 16] = { XAPIC, 0 },
    [APIC_SVR / 16] = { ALL, SVR_BITS },
    [APIC_ISR / 16 ... APIC_ESR / 16 - 1] = { READ, 0 }, // ISR, TMR, IRR
    [APIC_ESR / 16] = { ALL, 0 },
    [APIC_ICR / 16] = { ALL, ICR_BITS },
    [APIC_ICR2 / 16] = { XAPIC, 0 },
    [APIC_LVT_TIMER / 16] = { ALL, 0x710ff },
    [APIC_LVT_THERMAL / 16 ... APIC_LVT_PERF / 16] = { ALL, 0x117ff },
    [APIC_LVT_LINT0 / 16 ... APIC_LVT_LINT1 / 16] = { ALL, 0x1f7ff },
    [APIC_LVT_ERROR / 16] = { ALL, 0x110ff },
    [APIC_TIMER_INITIAL / 16] = { ALL, UINT32_MAX },
    [APIC_TIMER_CURRENT / 16] = { READ, 0 },
    [APIC_TIMER_DIVIDE / 16] = { ALL, 0xb },
    [APIC_SELF_IPI / 16] = { X2APIC_WRITE, 0xff },
};

static bool reg_allows(uint32_t offset, uint32_t access)
{
    return offset < 0x400 && offset % 16 == 0 && registers[offset / 16].access & access;
}

bool vlapic_page_has(uint32_t offset)
{
    return reg_allows(offset, X2APIC_READ) && offset != APIC_TIMER_CURRENT;
}

static void lvt_written(struct vlapic *v, uint32_t offset, uint32_t value, uint64_t now)
{
    value &= registers[offset / 16].bits & ~LVT_IGNORED;
    if (!(reg_get(v, APIC_SVR) & SVR_ENABLE))
        value |= LVT_MASKED;
    if (offset == APIC_LVT_LINT0 && (value & (LVT_LEVEL | 0x700)) != LVT_LEVEL)
        v->lint0_vector = 0; // as at the IOAPIC: the way to get rid of it
    if (offset == APIC_LVT_LINT0 && v->lint0_vector)
        value |= LVT_REMOTE_IRR;
    if (offset == APIC_LVT_TIMER)
        vlapic_timer_written(v, offset, value, now);
    else
        reg_set(v, offset, value);
}

static void svr_written(struct vlapic *v, uint32_t value, uint64_t now)
{
    reg_set(v, APIC_SVR, value & SVR_BITS);
    v->actions |= VLAPIC_ACT_MODE;
    if (value & SVR_ENABLE)
        return;
    for (uint32_t lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 16)
        lvt_written(v, lvt, reg_get(v, lvt), now);
}

// A write of an existing register; read-only ones keep their value.
static void reg_written(struct vlapic *v, uint32_t offset, uint32_t value, uint64_t now)
{
    switch (offset) {
    case APIC_ID:
        reg_set(v, APIC_ID, v->id << 24); // not writable here, as on recent CPUs
        break;
    case APIC_TPR:
        reg_set(v, APIC_TPR, value & 0xff);
        vlapic_ppr(v);
        v->actions |= VLAPIC_ACT_IRR;
        break;
    case APIC_EOI:
        vlapic_eoi(v);
        break;
    case APIC_LDR:
    case APIC_ICR2:
        reg_set(v, offset, value & 0xff000000);
        break;
    case APIC_DFR:
        reg_set(v, APIC_DFR, value | 0x0fffffff);
        break;
    case APIC_SVR:
        svr_written(v, value, now);
        break;
    case APIC_ESR:
        reg_set(v, APIC_ESR, v->errors);
        v->errors = 0;
        break;
    case APIC_ICR:
        reg_set(v, APIC_ICR, value & ICR_BITS & ~ICR_STATUS);
        vlapic_icr_send(v, value, reg_get(v, APIC_ICR2) >> 24);
        break;
    case APIC_LVT_TIMER ... APIC_LVT_ERROR:
        lvt_written(v, offset, value, now);
        break;
    case APIC_TIMER_INITIAL:
    case APIC_TIMER_DIVIDE:
        vlapic_timer_written(v, offset, value, now);
        break;
    }
}

static uint32_t reg_read(struct vlapic *v, uint32_t offset, uint64_t now)
{
    if (offset == APIC_PPR)
        return vlapic_ppr(v);
    return offset == APIC_TIMER_CURRENT ? vlapic_timer_current(v, now) : reg_get(v, offset);
}

uint32_t vlapic_read(struct vlapic *v, uint32_t offset, uint64_t now)
{
    if (vlapic_mode(v) != VLAPIC_XAPIC)
        return UINT32_MAX;
    if (reg_allows(offset, XAPIC))
        return reg_read(v, offset, now);
    vlapic_error(v, ESR_ILLEGAL_ADDRESS);
    return 0;
}

void vlapic_write(struct vlapic *v, uint32_t offset, uint32_t value, uint64_t now)
{
    if (vlapic_mode(v) != VLAPIC_XAPIC)
        return;
    if (reg_allows(offset, XAPIC))
        reg_written(v, offset, value, now);
    else
        vlapic_error(v, ESR_ILLEGAL_ADDRESS);
}

void vlapic_written(struct vlapic *v, uint32_t offset, uint64_t now)
{
    if (offset >= 0x400 || offset % 16)
        return;
    if (vlapic_mode(v) == VLAPIC_XAPIC)
        reg_written(v, offset, reg_get(v, offset), now);
    else if (offset == APIC_SELF_IPI)
        vlapic_icr_send(v, ICR_SELF | (reg_get(v, offset) & 0xff), 0);
}

// --- MSRs ---

static bool x2apic_write(struct vlapic *v, uint32_t offset, uint64_t value, uint64_t now)
{
    if (vlapic_mode(v) != VLAPIC_X2APIC || !reg_allows(offset, X2APIC_WRITE))
        return false;
    uint64_t high = offset == APIC_ICR ? ~0ull << 32 : 0; // the destination
    if (value & ~(high | registers[offset / 16].bits))
        return false;
    if (offset == APIC_ICR) {
        reg_set(v, APIC_ICR, (uint32_t)value & ~ICR_STATUS);
        reg_set(v, APIC_ICR + 4, (uint32_t)(value >> 32));
        vlapic_icr_send(v, (uint32_t)value, (uint32_t)(value >> 32));
    } else if (offset == APIC_SELF_IPI) {
        vlapic_icr_send(v, ICR_SELF | (uint32_t)value, 0);
    } else {
        reg_written(v, offset, (uint32_t)value, now);
    }
    return true;
}

// The state after power-up, for whatever mode comes next; no timer runs.
static void power_up(struct vlapic *v)
{
    for (uint32_t i = 0; i < 1024; i++)
        v->regs[i] = 0;
    v->errors = v->lint0_vector = 0;
    v->timer_shift = 1; // divide register 0
    v->lvt_timer = LVT_MASKED;
    vlapic_timer_stop(v);
    reg_set(v, APIC_ID, v->id << 24);
    reg_set(v, APIC_VERSION, VERSION);
    reg_set(v, APIC_DFR, UINT32_MAX);
    reg_set(v, APIC_SVR, 0xff);
    for (uint32_t lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 16)
        reg_set(v, lvt, LVT_MASKED);
    v->actions |= VLAPIC_ACT_IRR | VLAPIC_ACT_TMR | VLAPIC_ACT_MODE;
}

static void x2apic_ids(struct vlapic *v)
{
    reg_set(v, APIC_ID, v->id);
    reg_set(v, APIC_LDR, v->id >> 4 << 16 | 1u << (v->id & 15));
}

void vlapic_init_ipi(struct vlapic *v)
{
    v->actions = 0;
    power_up(v);
    if (vlapic_mode(v) == VLAPIC_X2APIC)
        x2apic_ids(v);
}

// "Local APIC State Transitions": off <-> xAPIC -> x2APIC -> off, and nothing else.
static bool base_write(struct vlapic *v, uint64_t value)
{
    uint32_t both = APIC_BASE_ENABLE | APIC_BASE_X2APIC;
    uint32_t old = (uint32_t)v->apic_base & both, new = (uint32_t)value & both;

    if ((value & ~(uint64_t)(both | APIC_BASE_BSP)) != APIC_BASE_ADDRESS)
        return false;
    if (new == APIC_BASE_X2APIC || (old == 0 && new == both) ||
        (old == both && new == APIC_BASE_ENABLE))
        return false;
    v->apic_base = value;
    if (old == new)
        return true;
    v->actions |= VLAPIC_ACT_MODE;
    if (!new) {
        power_up(v);
    } else if (new == both) { // all else is kept
        x2apic_ids(v);
        reg_set(v, APIC_DFR, UINT32_MAX);
        reg_set(v, APIC_ICR2, 0);
    }
    return true;
}

static void deadline_write(struct vlapic *v, uint64_t value, uint64_t now)
{
    if (vlapic_timer_mode(v) != LVT_DEADLINE)
        return; // ignored, as the manual has it
    vlapic_timer_fired(v, now);
    v->tsc_deadline = value;
    v->actions |= VLAPIC_ACT_TIMER;
    vlapic_timer_fired(v, now);
}

bool vlapic_rdmsr(struct vlapic *v, uint32_t index, uint64_t now, uint64_t *value)
{
    uint32_t offset = (index - MSR_X2APIC) * 16;

    if (index == MSR_APIC_BASE) {
        *value = v->apic_base;
        return true;
    }
    if (index == MSR_TSC_DEADLINE) {
        vlapic_timer_fired(v, now);
        *value = v->tsc_deadline;
        return true;
    }
    if (index - MSR_X2APIC > 0xff || vlapic_mode(v) != VLAPIC_X2APIC ||
        !reg_allows(offset, X2APIC_READ))
        return false;
    *value = reg_read(v, offset, now);
    if (offset == APIC_ICR)
        *value |= (uint64_t)reg_get(v, APIC_ICR + 4) << 32;
    return true;
}

bool vlapic_wrmsr(struct vlapic *v, uint32_t index, uint64_t value, uint64_t now)
{
    if (index == MSR_APIC_BASE)
        return base_write(v, value);
    if (index == MSR_TSC_DEADLINE) {
        deadline_write(v, value, now);
        return true;
    }
    return index - MSR_X2APIC <= 0xff && x2apic_write(v, (index - MSR_X2APIC) * 16, value, now);
}

void vlapic_reset(struct vlapic *v)
{
    v->apic_base = APIC_BASE_ADDRESS | (v->apic_base & APIC_BASE_BSP) | APIC_BASE_ENABLE;
    power_up(v);
    reg_set(v, APIC_SVR, 0x10f);
    reg_set(v, APIC_LVT_LINT0, 0x700);
    reg_set(v, APIC_LVT_LINT1, 0x400);
}

void vlapic_init(struct vlapic *v, uint32_t *regs, uint32_t id, bool bsp, uint32_t ratio,
                 uint64_t tsc_offset)
{
    *v = (struct vlapic){
        .regs = regs,
        .id = id,
        .ratio = ratio,
        .tsc_offset = tsc_offset,
        .apic_base = bsp ? APIC_BASE_BSP : 0,
    };
    vlapic_reset(v);
}
