// SPDX-License-Identifier: BSD-2-Clause
// What follows from a guest's CPUID. See cpuid_policy.h for who owns it.
#include "kernel/arch/x86/cpuid_policy.h"
#include "kernel/arch/x86/regs.h"

#define B(n) (1u << (n))

#define L1C_PCID    B(17)
#define L1C_XSAVE   B(26)
#define L1C_OSXSAVE B(27)
#define L1D_APIC    B(9)
#define L7C_PKU     B(3)
#define L7C_OSPKE   B(4)

#define XCR0_X87    1u
#define XCR0_SSE    2u
#define XCR0_AVX    4u
#define XCR0_AVX512 0xe0u
#define XCR0_COMPONENTS 10u
#define XSAVE_LEGACY 576u // legacy region and header

bool cpuid_policy_accept(struct cpuid_policy *p, uint64_t host_xcr0)
{
    const struct cpuid_table *t = &p->table;
    const uint32_t size = sizeof(t->entry[0]), live = sizeof(struct cpuid_regs);
    for (uint32_t i = 0; i < ARRAY_SIZE(t->slot); i++)
        if (t->slot[i].at % size || t->slot[i].at / size >= CPUID_ENTRIES ||
            t->slot[i].subs > CPUID_ENTRIES - t->slot[i].at / size)
            return false;
    for (uint32_t i = 0; i < CPUID_ENTRIES; i++)
        if (t->entry[i].live % live || t->entry[i].live / live >= CPUID_LIVE_COUNT)
            return false;
    struct cpuid_regs r = cpuid_policy_get(p, 0xd, 0);
    p->xcr0 = (r.eax | (uint64_t)r.edx << 32) & host_xcr0;
    return true;
}

// Where component r of an XSAVE area ends, when those before it end at `end`.
static uint32_t xsave_end(const struct cpuid_regs *r, uint32_t end, bool compacted)
{
    if (compacted)
        return (r->ecx & 2 ? (uint32_t)align_up(end, 64) : end) + r->eax;
    return r->ebx + r->eax > end ? r->ebx + r->eax : end;
}

// Bytes of an XSAVE area for these components.
static uint32_t xsave_size(const struct cpuid_policy *p, uint64_t xcr0, bool compacted)
{
    uint32_t end = XSAVE_LEGACY;

    if (p->table.slot[0xd].subs < XCR0_COMPONENTS)
        return 0;
    for (uint32_t i = 2; i < XCR0_COMPONENTS; i++) {
        const struct cpuid_regs *r = &cpuid_entry_for(&p->table, 0xd, i)->regs;
        if (xcr0 & p->xcr0 & B(i))
            end = xsave_end(r, end, compacted);
    }
    return end;
}

struct cpuid_regs cpuid_policy_get(const struct cpuid_policy *p, uint32_t leaf, uint32_t sub)
{
    const struct cpuid_entry *e = cpuid_entry_for(&p->table, leaf, sub);
    return e && e->leaf == leaf ? e->regs : (struct cpuid_regs){ 0 };
}

// The feature that brings each bit of CR4: of leaf 1 EDX, ECX, leaf 7 EBX, ECX.
static const struct {
    uint32_t word, bit, cr4;
} cr4_bits[] = {
    { 0, B(1), CR4_VME | CR4_PVI }, { 0, B(2), CR4_DE },       { 0, B(3), CR4_PSE },
    { 0, B(4), CR4_TSD },           { 0, B(6), CR4_PAE },      { 0, B(7), CR4_MCE },
    { 0, B(13), CR4_PGE },          { 0, B(24), CR4_OSFXSR },  { 0, B(25), CR4_OSXMMEXCPT },
    { 1, L1C_PCID, CR4_PCIDE },     { 1, L1C_XSAVE, CR4_OSXSAVE },
    { 2, B(0), CR4_FSGSBASE },      { 2, B(7), CR4_SMEP },     { 2, B(20), CR4_SMAP },
    { 3, B(2), CR4_UMIP },          { 3, L7C_PKU, CR4_PKE },
};

uint64_t cpuid_policy_cr4(const struct cpuid_policy *p)
{
    struct cpuid_regs r1 = cpuid_policy_get(p, 1, 0), r7 = cpuid_policy_get(p, 7, 0);
    const uint32_t words[] = { r1.edx, r1.ecx, r7.ebx, r7.ecx };
    uint64_t cr4 = CR4_PCE;
    for (uint32_t i = 0; i < ARRAY_SIZE(cr4_bits); i++)
        cr4 |= words[cr4_bits[i].word] & cr4_bits[i].bit ? cr4_bits[i].cr4 : 0;
    return cr4;
}

uint64_t cpuid_policy_efer(const struct cpuid_policy *p)
{
    uint32_t edx = cpuid_policy_get(p, 0x80000001, 0).edx;
    return (edx & B(11) ? EFER_SCE : 0) | (edx & B(20) ? EFER_NXE : 0) |
           (edx & B(29) ? EFER_LME | EFER_LMA : 0);
}

bool cpuid_policy_xcr0_valid(const struct cpuid_policy *p, uint64_t xcr0)
{
    if (xcr0 & ~p->xcr0 || !(xcr0 & XCR0_X87))
        return false;
    if (xcr0 & XCR0_AVX && !(xcr0 & XCR0_SSE))
        return false;
    return !(xcr0 & XCR0_AVX512) ||
           ((xcr0 & XCR0_AVX512) == XCR0_AVX512 && xcr0 & XCR0_AVX);
}

uint8_t cpuid_policy_maxphyaddr(const struct cpuid_policy *p)
{
    return (uint8_t)min_u64(cpuid_policy_get(p, 0x80000008, 0).eax & 0xff, 52);
}

void cpuid_vcpu_update(struct cpuid_vcpu *c, const struct cpuid_policy *p, uint32_t apic_id,
                       uint64_t cr4, uint64_t apic_base, uint64_t xcr0)
{
    *c = (struct cpuid_vcpu){ 0 };
    c->live[CPUID_LIVE_1].ebx = apic_id << 24;
    c->live[CPUID_LIVE_1].ecx = cr4 & CR4_OSXSAVE ? L1C_OSXSAVE : 0;
    c->live[CPUID_LIVE_1].edx = apic_base & B(11) ? L1D_APIC : 0;
    c->live[CPUID_LIVE_7].ecx = cr4 & CR4_PKE ? L7C_OSPKE : 0;
    c->live[CPUID_LIVE_B].edx = apic_id;
    c->live[CPUID_LIVE_XSAVE].ebx = xsave_size(p, xcr0, false);
    c->live[CPUID_LIVE_XSAVEC].ebx = xsave_size(p, xcr0, true);
}

void cpuid_no_subleaf(const struct cpuid_vcpu *c, uint64_t gpr[4])
{
    bool topology = (uint32_t)gpr[0] == 0xb; // the subleaf's number and the id, but no level
    gpr[0] = gpr[3] = 0;
    gpr[1] = topology ? gpr[1] & 0xff : 0;
    gpr[2] = topology ? c->live[CPUID_LIVE_B].edx : 0;
}
