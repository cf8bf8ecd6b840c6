// SPDX-License-Identifier: BSD-2-Clause
//
// The virtual local APIC against a script of everything that reaches it: MMIO, MSRs, values that
// the CPU has stored already, interrupts, EOIs, time. Checked between any two: no vector below 16
// is pending or in service, the one to take beats the priority in force, a refused MSR write has
// changed nothing, and the timer does not lie in the past once it was served.
#include <string.h>

#include "kernel/arch/x86/vlapic.h"
#include "tests/fuzz/script.h"
#include "tests/unit/vlapic_map.h"

#define MSR_BASE     0x1bu
#define MSR_DEADLINE 0x6e0u
#define MSR_X2APIC   0x800u

struct run {
    struct vlapic v;
    uint64_t now;
    uint32_t page[1024] __attribute__((aligned(4096)));
};

// A register: mostly one of the page's, at times any offset at all.
static uint32_t any_offset(struct script *s)
{
    uint8_t at = (uint8_t)script_take(s, 1);

    return at < 0xf0 ? (uint32_t)(at & 0x3f) << 4 : (uint32_t)script_take(s, 2);
}

// A register whose writes the CPU itself stores in the page.
static uint32_t stored_offset(struct script *s)
{
    static const uint16_t offsets[] = {
        APIC_ID, APIC_TPR, APIC_EOI, APIC_LDR, APIC_DFR, APIC_SVR, APIC_ESR, APIC_ICR, APIC_ICR2,
        APIC_LVT_TIMER, APIC_LVT_THERMAL, APIC_LVT_PERF, APIC_LVT_LINT0, APIC_LVT_LINT1,
        APIC_LVT_ERROR, APIC_TIMER_INITIAL, APIC_TIMER_DIVIDE,
    };

    return offsets[script_take(s, 1) % (sizeof(offsets) / sizeof(offsets[0]))];
}

static void write_msr(struct run *r, uint32_t index, uint64_t value)
{
    static struct run before;

    memcpy(&before, r, sizeof(before));
    if (!vlapic_wrmsr(&r->v, index, value, r->now))
        require(memcmp(&before, r, sizeof(before)) == 0);
}

static void any_msr(struct run *r, struct script *s, bool write)
{
    uint8_t which = (uint8_t)script_take(s, 1);
    uint32_t index = which < 0xc0 ? MSR_X2APIC + (which & 0x3f) : MSR_DEADLINE;
    uint64_t value;

    if (!write) {
        (void)!vlapic_rdmsr(&r->v, index, r->now, &value);
        return;
    }
    value = script_take(s, 1) & 1 ? script_take(s, 8) : script_take(s, 3);
    if (index == MSR_DEADLINE)
        value += r->now + r->v.tsc_offset;
    write_msr(r, index, value);
}

static void any_mode(struct run *r, struct script *s)
{
    static const uint64_t modes[] = { 0, APIC_BASE_ENABLE, APIC_BASE_ENABLE | APIC_BASE_X2APIC,
                                      APIC_BASE_X2APIC };
    uint8_t what = (uint8_t)script_take(s, 1);

    write_msr(r, MSR_BASE, what < 0xf0 ? APIC_BASE_ADDRESS | modes[what & 3] | APIC_BASE_BSP
                                       : script_take(s, 8));
}

static void time_passes(struct run *r, uint64_t ticks)
{
    uint64_t end = r->now + ticks, deadline;
    unsigned fires = 0;

    while ((deadline = vlapic_timer_deadline(&r->v)) != 0 && deadline <= end && fires < 16) {
        if (deadline > r->now)
            r->now = deadline;
        vlapic_timer_fired(&r->v, r->now);
        deadline = vlapic_timer_deadline(&r->v);
        require(deadline == 0 || deadline > r->now);
        fires++;
    }
    r->now = end;
    vlapic_timer_fired(&r->v, r->now); // late: one interrupt for all the periods
    deadline = vlapic_timer_deadline(&r->v);
    require(deadline == 0 || deadline > r->now);
}

static void check(struct run *r)
{
    int highest = vlapic_highest(&r->v), irr = irr_max(&r->v), isr = isr_max(&r->v);
    uint8_t tpr = (uint8_t)r->page[APIC_TPR / 4], ppr = vlapic_ppr(&r->v);
    int top = isr > tpr ? isr : tpr;

    require(irr == -1 || (irr >= 16 && irr <= 255));
    require(isr == -1 || (isr >= 16 && isr <= 255));
    require(ppr >> 4 == top >> 4);
    require(highest == -1 || (highest == irr && highest >> 4 > ppr >> 4));
    require(vlapic_tpr_threshold(&r->v) <= tpr >> 4);
    require(r->v.lint0_vector == 0 || r->v.lint0_vector >= 16);
    require(vlapic_mode(&r->v) == VLAPIC_DISABLED ||
            !(r->page[APIC_LVT_LINT0 / 4] & 0x4000) == !r->v.lint0_vector);
    require(r->v.ratio >= 1 && r->v.id < 255);
    require((r->v.apic_base & 0xfffff000) == APIC_BASE_ADDRESS);
}

static void take_interrupt(struct run *r)
{
    int vector = vlapic_highest(&r->v);

    if (vector < 0)
        return;
    vlapic_inject(&r->v, (uint8_t)vector);
    require(isr_max(&r->v) == vector);
    require(irr_max(&r->v) != vector && vlapic_highest(&r->v) == -1);
}

static void end_of_interrupt(struct run *r)
{
    int isr = isr_max(&r->v), level = eoi(&r->v);

    require(level == -1 || level == isr);
    require(isr == -1 || isr_max(&r->v) < isr);
}

static void step(struct run *r, struct script *s)
{
    uint8_t op = (uint8_t)script_take(s, 1);
    uint32_t offset;
    uint64_t bitmap[4];

    switch (op % 12) {
    case 0:
        offset = any_offset(s);
        vlapic_write(&r->v, offset, (uint32_t)script_take(s, 4), r->now);
        break;
    case 1:
        (void)vlapic_read(&r->v, any_offset(s), r->now);
        break;
    case 2: // the CPU's APIC virtualisation has stored it
        offset = stored_offset(s);
        if (vlapic_mode(&r->v) == VLAPIC_XAPIC) {
            r->page[offset / 4] = (uint32_t)script_take(s, 4);
            vlapic_written(&r->v, offset, r->now);
        }
        break;
    case 3:
    case 4:
        any_msr(r, s, op % 12 == 3);
        break;
    case 5:
        any_mode(r, s);
        break;
    case 6:
        (void)vlapic_accept(&r->v, (uint8_t)script_take(s, 1), (op & 0x80) != 0);
        break;
    case 7:
        take_interrupt(r);
        break;
    case 8:
        end_of_interrupt(r);
        break;
    case 9:
        time_passes(r, script_take(s, 4));
        break;
    case 10:
        vlapic_lint0(&r->v, (op & 0x80) != 0, (op & 0x40) != 0);
        break;
    default:
        if ((op & 0xe0) == 0)
            vlapic_reset(&r->v);
        else if ((op & 0x20) != 0)
            r->v.tsc_offset = script_take(s, 8);
        vlapic_eoi_exit_bitmap(&r->v, bitmap);
        (void)vlapic_match_dest(&r->v, (uint32_t)script_take(s, 4), (op & 1) != 0, (op & 2) != 0);
        break;
    }
    check(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run run;
    struct script script = { data, size };

    memset(&run, 0, sizeof(run));
    run.now = 1ull << 40;
    vlapic_init(&run.v, run.page, script_take(&script, 1) & 0x7f, true,
                1 + (uint32_t)script_take(&script, 1), script_take(&script, 2) << 32);
    while (script.left != 0)
        step(&run, &script);
    return 0;
}
