// SPDX-License-Identifier: BSD-2-Clause
// The MSRs of a guest that the CPU or the kernel must hold. The state is its vCPU's, on its core;
// see msr_policy.h. What a guest writes is checked as the CPU would, so that no value from here
// makes a VM entry or a WRMSR of ours fail.
#include "kernel/arch/x86/msr_policy.h"
#include "kernel/arch/x86/regs.h"

#define IA32_TIME_STAMP_COUNTER    0x10u
#define IA32_TSC_ADJUST            0x3bu
#define IA32_X2APIC_LAST           0x8ffu

#define PAT_RESET 0x0007040600070406ull
#define PAT_TYPES 0xf3u // UC, WC, WT, WP, WB, UC-

const uint32_t msr_passed[MSR_PASSED_COUNT] = {
    MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP,
    MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE,
};

static bool canonical(uint64_t x) { return (uint64_t)((int64_t)(x << 16) >> 16) == x; }

// "Memory Types That Can Be Encoded With PAT", in each of eight bytes.
static bool pat_valid(uint64_t pat)
{
    for (; pat; pat >>= 8)
        if ((pat & 0xf8) || !(PAT_TYPES >> (pat & 7) & 1))
            return false;
    return true;
}

// Both ways to set the TSC move IA32_TSC_ADJUST by as much ("IA32_TSC_ADJUST MSR").
static enum msr_result tsc_move(struct msr_state *s, uint64_t delta)
{
    s->tsc_adjust += delta;
    s->vlapic->tsc_offset += delta;
    s->vlapic->actions |= VLAPIC_ACT_TIMER;
    return MSR_LOAD;
}

enum msr_result msr_read(struct msr_state *s, uint32_t index, uint64_t now, uint64_t *value)
{
    switch (index) {
    case MSR_APIC_BASE:
    case MSR_TSC_DEADLINE:
    case MSR_X2APIC ... IA32_X2APIC_LAST:
        return vlapic_rdmsr(s->vlapic, index, now, value) ? MSR_DONE : MSR_GP;
    case IA32_TIME_STAMP_COUNTER:
        *value = now + s->vlapic->tsc_offset;
        return MSR_DONE;
    case IA32_TSC_ADJUST:
        *value = s->tsc_adjust;
        return MSR_DONE;
    case MSR_PAT:
        *value = s->pat;
        return MSR_DONE;
    case MSR_TSC_AUX:
        *value = s->tsc_aux;
        return s->cpuid->tsc_aux ? MSR_DONE : MSR_GP;
    case MSR_EFER:
        return MSR_EFER_REG;
    case MSR_STAR ... MSR_FMASK:
        *value = s->syscall[index - MSR_STAR];
        return MSR_DONE;
    default:
        return MSR_VMM;
    }
}

enum msr_result msr_write(struct msr_state *s, uint32_t index, uint64_t value, uint64_t now)
{
    switch (index) {
    case MSR_APIC_BASE:
    case MSR_TSC_DEADLINE:
    case MSR_X2APIC ... IA32_X2APIC_LAST:
        return vlapic_wrmsr(s->vlapic, index, value, now) ? MSR_DONE : MSR_GP;
    case IA32_TIME_STAMP_COUNTER:
        return tsc_move(s, value - (now + s->vlapic->tsc_offset));
    case IA32_TSC_ADJUST:
        return tsc_move(s, value - s->tsc_adjust);
    case MSR_PAT:
        if (!pat_valid(value))
            return MSR_GP;
        s->pat = value;
        return MSR_LOAD;
    case MSR_TSC_AUX:
        if (value >> 32 || !s->cpuid->tsc_aux)
            return MSR_GP;
        s->tsc_aux = value;
        return MSR_LOAD;
    case MSR_EFER:
        return value & ~s->cpuid->efer ? MSR_GP : MSR_EFER_REG;
    case MSR_STAR ... MSR_FMASK:
        if (index == MSR_FMASK ? value >> 32 : index != MSR_STAR && !canonical(value))
            return MSR_GP;
        s->syscall[index - MSR_STAR] = value;
        return MSR_LOAD;
    default:
        return MSR_VMM;
    }
}

void msr_init(struct msr_state *s, struct vlapic *vlapic, const struct cpuid_table *cpuid)
{
    *s = (struct msr_state){ .vlapic = vlapic, .cpuid = cpuid, .pat = PAT_RESET };
}
