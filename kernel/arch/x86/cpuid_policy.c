// SPDX-License-Identifier: BSD-2-Clause
// What follows from a guest's CPUID. See cpuid_policy.h for who owns it.
#include "kernel/arch/x86/cpuid_policy.h"
#include "kernel/arch/x86/regs.h"

#define L1C_OSXSAVE (1u << 27)
#define L1D_APIC    (1u << 9)
#define L7C_OSPKE   (1u << 4)

#define XCR0_X87    1u
#define XCR0_SSE    2u
#define XCR0_AVX    4u
#define XCR0_AVX512 0xe0u

// Of CR4 and EFER, what a guest may set if its CPU has it. Who claims what this CPU has not will
// see its VM entry fail.
#define CR4_ALLOWED  (CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE |         \
                      CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE |  \
                      CR4_PCIDE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP | CR4_PKE)
#define EFER_ALLOWED (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)

bool cpuid_accept(struct cpuid_table *t, uint64_t host_xcr0, bool host_tsc_aux)
{
    const uint32_t size = sizeof(t->entry[0]), live = sizeof(struct cpuid_regs);
    for (uint32_t i = 0; i < ARRAY_SIZE(t->slot); i++)
        if (t->slot[i].at % size || t->slot[i].at / size >= CPUID_ENTRIES ||
            t->slot[i].subs > CPUID_ENTRIES - t->slot[i].at / size)
            return false;
    for (uint32_t i = 0; i < CPUID_ENTRIES; i++)
        if (t->entry[i].live % live || t->entry[i].live / live >= CPUID_LIVE_COUNT)
            return false;
    t->cr4 &= CR4_ALLOWED;
    t->efer &= EFER_ALLOWED;
    t->xcr0 &= host_xcr0;
    t->tsc_aux = t->tsc_aux && host_tsc_aux;
    return t->address_bits <= 52;
}

bool cpuid_xcr0_valid(const struct cpuid_table *t, uint64_t xcr0)
{
    if (xcr0 & ~t->xcr0 || !(xcr0 & XCR0_X87))
        return false;
    if (xcr0 & XCR0_AVX && !(xcr0 & XCR0_SSE))
        return false;
    return !(xcr0 & XCR0_AVX512) ||
           ((xcr0 & XCR0_AVX512) == XCR0_AVX512 && xcr0 & XCR0_AVX);
}

void cpuid_vcpu_update(struct cpuid_vcpu *c, uint32_t apic_id, uint64_t cr4, uint64_t apic_base)
{
    c->live[CPUID_LIVE_1].ebx = apic_id << 24;
    c->live[CPUID_LIVE_1].ecx = cr4 & CR4_OSXSAVE ? L1C_OSXSAVE : 0;
    c->live[CPUID_LIVE_1].edx = apic_base & (1u << 11) ? L1D_APIC : 0;
    c->live[CPUID_LIVE_7].ecx = cr4 & CR4_PKE ? L7C_OSPKE : 0;
    c->live[CPUID_LIVE_B].edx = apic_id;
}

void cpuid_no_subleaf(const struct cpuid_vcpu *c, uint64_t gpr[4])
{
    bool topology = (uint32_t)gpr[0] == 0xb; // the subleaf's number and the id, but no level
    gpr[0] = gpr[3] = 0;
    gpr[1] = topology ? gpr[1] & 0xff : 0;
    gpr[2] = topology ? c->live[CPUID_LIVE_B].edx : 0;
}
