// SPDX-License-Identifier: BSD-2-Clause
//
// All MSRs. One that docs/virtual-pc.md does not name raises #GP, read and written; the others are
// read before anything of this guest's own is written to them, then written, then put back.

#include <stdio.h>

#include "guests/lib/apic.h"
#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/test-isolation/groups.h"
#include "guests/test-isolation/probe.h"

#define MSR_TSC_ADJUST  0x3B
#define MSR_X2APIC      0x800
#define MSR_X2APIC_LAST 0x8FF

static const struct {
    uint32_t first, last;
} named[] = {
    {0x10, 0x10},     {0x17, 0x17},     {0x1B, 0x1B},   {0x2A, 0x2A},
    {0x34, 0x34},     {0x3A, 0x3B},     {0x8B, 0x8B},   {0xCD, 0xCE},
    {0xFE, 0xFE},     {0x140, 0x140},   {0x174, 0x176}, {0x179, 0x17A},
    {0x198, 0x198},   {0x19C, 0x19C},   {0x1A0, 0x1A0}, {0x1A2, 0x1A2},
    {0x1D9, 0x1D9},   {0x1DB, 0x1DE},   {0x200, 0x20F},   {0x250, 0x250}, {0x258, 0x259},
    {0x268, 0x26F},   {0x277, 0x277},   {0x2FF, 0x2FF}, {MSR_TSC_DEADLINE, MSR_TSC_DEADLINE},
    {0xC0000080, 0xC0000084},           {0xC0000100, 0xC0000103},
}, amds[] = {
    {0xC0010000, 0xC0010007}, {0xC0010010, 0xC0010010}, {0xC0010015, 0xC0010015},
    {0xC001001F, 0xC001001F}, {0xC0010055, 0xC0010055}, {0xC0010058, 0xC0010058},
    {0xC0010114, 0xC0010114}, {0xC0011020, 0xC0011022}, {0xC0011029, 0xC001102A},
};

// The architectural ranges; then a sample of the rest, and AMD's.
static const struct {
    uint32_t first, last, step;
} ranges[] = {
    {0, 0x1FFF, 1},
    {0x40000000, 0x400000FF, 1},
    {0xC0000000, 0xC0001FFF, 1},
    {0xC0010000, 0xC0011FFF, 0x11},
    {0x4B564D00, 0x4B564DFF, 1},
    {0x2000, 0xBFFFFFFF, 0x3FFFF7},
    {0xC0002000, 0xFFFFFFF0, 0x3FFFF7},
    {0xFFFFFFF0, 0xFFFFFFFF, 1},
};

struct msr_tallies {
    struct tally refused, restored;
    uint64_t answered;
};

static bool is_named(uint32_t index)
{
    for (unsigned int i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
        if (index >= named[i].first && index <= named[i].last)
            return true;
    }
    for (unsigned int i = 0; cpu_is_amd() && i < sizeof(amds) / sizeof(amds[0]); i++) {
        if (index >= amds[i].first && index <= amds[i].last)
            return true;
    }
    return false;
}

// What counts time goes on, and TSC and TSC_ADJUST move each other.
static bool keeps(uint32_t index)
{
    return index != MSR_TSC && index != MSR_TSC_ADJUST && index != MSR_TSC_DEADLINE;
}

// One register that may answer: reads it, writes much to it, and puts it back.
static void try_named(struct msr_tallies *t, uint32_t index)
{
    uint64_t old, now;
    bool readable = rdmsr_safe(index, &old) == TRAP_NONE;
    const uint64_t values[] = {old, 0, ~0ul, 0x5A5A5A5A5A5A5A5Aul, old ^ 1, 1ul << 63,
                               0xFFFFFFFFul, 0x00005A5A5A5A5A5Aul};
    look(old);
    t->answered += readable;
    for (unsigned int i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        int vector = wrmsr_safe(index, values[i]);
        tally_add(&t->refused, vector == TRAP_NONE || vector == VEC_GP, "%x: vector %d",
                  (unsigned int)index, vector);
        rdmsr_safe(index, &now);
        look(now);
    }
    if (!readable)
        return;
    wrmsr_safe(index, old);
    rdmsr_safe(index, &now);
    tally_add(&t->restored, now == old || !keeps(index), "%x is %llx, not %llx",
              (unsigned int)index, (unsigned long long)now, (unsigned long long)old);
}

static void try_other(struct msr_tallies *t, uint32_t index)
{
    uint64_t value;
    int vector = rdmsr_safe(index, &value);
    look(value);
    tally_add(&t->refused, vector == VEC_GP, "RDMSR %x: vector %d, %llx", (unsigned int)index,
              vector, (unsigned long long)value);
    for (unsigned int i = 0; i < 2; i++) {
        vector = wrmsr_safe(index, i == 0 ? 0 : ~0ul);
        tally_add(&t->refused, vector == VEC_GP, "WRMSR %x: vector %d", (unsigned int)index,
                  vector);
    }
}

static void sweep(struct msr_tallies *t)
{
    for (unsigned int i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        for (uint64_t at = ranges[i].first; at <= ranges[i].last; at += ranges[i].step) {
            uint32_t index = (uint32_t)at;
            if (is_named(index))
                try_named(t, index);
            else
                try_other(t, index);
        }
    }
}

// The local APIC's registers answer in x2APIC mode only.
static void sweep_x2apic(struct msr_tallies *t)
{
    apic_enable(APIC_MODE_X2APIC);
    for (uint32_t index = MSR_X2APIC; index <= MSR_X2APIC_LAST; index++) {
        uint64_t old, now;
        int vector = rdmsr_safe(index, &old);
        look(old);
        tally_add(&t->refused, vector == TRAP_NONE || vector == VEC_GP, "RDMSR %x: vector %d",
                  (unsigned int)index, vector);
        const uint64_t values[] = {old, 0, ~0ul, 0x5A5A5A5A5A5A5A5Aul, old ^ 1, 1ul << 63};
        for (unsigned int i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
            vector = wrmsr_safe(index, values[i]);
            tally_add(&t->refused, vector == TRAP_NONE || vector == VEC_GP, "WRMSR %x: vector %d",
                      (unsigned int)index, vector);
            rdmsr_safe(index, &now);
            look(now);
        }
        wrmsr_safe(index, old);
    }
    apic_enable(APIC_MODE_XAPIC);
}

void test_msrs(void)
{
    static struct msr_tallies all, x2apic;
    uint64_t adjust;
    cpu_irq_disable();
    rdmsr_safe(MSR_TSC_ADJUST, &adjust);
    sweep(&all);
    wrmsr_safe(MSR_TSC_ADJUST, adjust);
    printf("msrs: %llu answer\n", (unsigned long long)all.answered);
    tally_check(&all.refused, "msrs.refused");
    tally_check(&all.restored, "msrs.own");
    sweep_x2apic(&x2apic);
    tally_check(&x2apic.refused, "msrs.x2apic");
    look_check("msrs.foreign");
}
