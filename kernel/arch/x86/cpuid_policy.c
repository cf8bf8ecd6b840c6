// SPDX-License-Identifier: BSD-2-Clause
// Makes a guest's CPUID from the host's. See cpuid_policy.h for who owns the result. Every bit that
// is not listed here is hidden, so a newer CPU cannot show what nobody has thought about.
#include "kernel/arch/x86/cpuid_policy.h"
#include "kernel/arch/x86/regs.h"

#define B(n) (1u << (n))
// The bits from..to of a register.
#define BITS(from, to) ((B((to) - (from)) * 2 - 1) << (from))

// Leaf 1. Not there: MONITOR, DTES64, DS-CPL, VMX, SMX, EIST, TM2, SDBG, xTPR, PDCM, DCA; DS, ACPI,
// HTT, TM, PBE, PSN.
#define L1C_KEEP (B(0) | B(1) | B(9) | B(13) | B(19) | B(20) | B(22) | B(23) | B(25) | B(30))
#define L1C_FMA     B(12)
#define L1C_PCID    B(17)
#define L1C_X2APIC  B(21)
#define L1C_TSC_DEADLINE B(24)
#define L1C_XSAVE   B(26)
#define L1C_OSXSAVE B(27)
#define L1C_AVX     B(28)
#define L1C_F16C    B(29)
#define L1C_HYPERVISOR B(31)
#define L1D_KEEP (BITS(0, 8) | BITS(11, 17) | B(19) | BITS(23, 27))
#define L1D_APIC B(9)

// Leaf 7.0. Not there: SGX, RDT, MPX, PT; LA57, WAITPKG, CET, TME, KL, SGX_LC, PKS, ENQCMD; UINTR,
// SRBDS_CTRL, HYBRID, PCONFIG, LBR, AMX, L1D_FLUSH, CORE_CAPABILITIES.
#define L7B_KEEP (B(0) | B(3) | B(4) | BITS(6, 9) | B(11) | B(13) | BITS(18, 20) | B(23) | B(24) | \
                  B(29))
#define L7B_TSC_ADJUST B(1)
#define L7B_AVX2    B(5)
#define L7B_INVPCID B(10)
#define L7B_AVX512  (B(16) | B(17) | B(21) | BITS(26, 28) | B(30) | B(31))
#define L7C_KEEP    (B(0) | B(2) | B(8) | B(25) | B(27) | B(28))
#define L7C_PKU     B(3)
#define L7C_OSPKE   B(4)
#define L7C_AVX     (B(9) | B(10))
#define L7C_AVX512  (B(1) | B(6) | B(11) | B(12) | B(14))
#define L7C_RDPID   B(22)
#define L7D_KEEP    (B(4) | B(10) | B(14) | B(16))
#define L7D_AVX512  (B(2) | B(3) | B(8) | B(23))
#define L7D_SPEC    (B(26) | B(27) | B(31))
#define L7D_ARCH_CAPS B(29)

#define X1C_KEEP   (B(0) | B(5) | B(8)) // leaf 80000001H
#define X1D_KEEP   (B(11) | B(20) | B(26) | B(29))
#define X1D_RDTSCP B(27)
#define X7D_INVARIANT_TSC B(8)
#define X8B_BTC_NO B(29)
#define L6A_ARAT   B(2)
#define LD1A_KEEP  (BITS(0, 2)) // XSAVEOPT, XSAVEC, XGETBV with ECX = 1; not XSAVES
#define LD1A_XSAVEC B(1)

#define XCR0_X87    1u
#define XCR0_SSE    2u
#define XCR0_AVX    4u
#define XCR0_AVX512 0xe0u
#define XCR0_PKRU   0x200u
#define XCR0_COMPONENTS 10u
#define XSAVE_LEGACY 576u // legacy region and header

struct build {
    struct cpuid_policy *policy;
    const struct cpuid_facts *facts;
};

static struct cpuid_regs host(const struct build *b, uint32_t leaf, uint32_t sub)
{
    uint32_t out[4], max[4];
    b->facts->read(leaf & CPUID_EXTENDED, 0, max);
    if (leaf > max[0])
        return (struct cpuid_regs){ 0 };
    b->facts->read(leaf, sub, out);
    return (struct cpuid_regs){ out[0], out[1], out[2], out[3] };
}

static struct cpuid_slot *slot_of(struct cpuid_policy *p, uint32_t leaf)
{
    if (leaf < CPUID_BASIC_SLOTS)
        return &p->slot[leaf];
    if (leaf - CPUID_HYPERVISOR < CPUID_HYPERVISOR_SLOTS)
        return &p->slot[CPUID_BASIC_SLOTS + leaf - CPUID_HYPERVISOR];
    if (leaf - CPUID_EXTENDED < CPUID_EXTENDED_SLOTS)
        return &p->slot[CPUID_BASIC_SLOTS + CPUID_HYPERVISOR_SLOTS + leaf - CPUID_EXTENDED];
    return NULL;
}

// Subleaves are added in order, from 0, and nothing else between them.
static void add(const struct build *b, uint32_t leaf, uint32_t sub, struct cpuid_regs regs,
                enum cpuid_live live)
{
    struct cpuid_policy *p = b->policy;
    if (sub == 0)
        slot_of(p, leaf)->first = (uint8_t)p->count;
    p->entry[p->count++] = (struct cpuid_entry){ regs, leaf, sub, live, 0 };
}

static void set_subs(const struct build *b, uint32_t leaf, uint32_t subs)
{
    slot_of(b->policy, leaf)->subs = (uint8_t)subs;
}

// The state components that the host has, the kernel switches and that make sense together.
static uint64_t xcr0_allowed(const struct build *b)
{
    uint64_t x = host(b, 0xd, 0).eax & b->facts->xcr0;

    if (!(host(b, 1, 0).ecx & L1C_XSAVE) || (x & (XCR0_X87 | XCR0_SSE)) != (XCR0_X87 | XCR0_SSE))
        return 0;
    if (!(x & XCR0_AVX) || (x & XCR0_AVX512) != XCR0_AVX512)
        x &= ~(uint64_t)XCR0_AVX512;
    return x & (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512 | XCR0_PKRU);
}

static void add_features(const struct build *b)
{
    uint64_t xcr0 = b->policy->xcr0;
    uint32_t can = b->facts->features;
    struct cpuid_regs r1 = host(b, 1, 0), r7 = host(b, 7, 0);
    // Either both or none: an operating system that sees one may count on the other.
    bool pcid = r1.ecx & L1C_PCID && r7.ebx & L7B_INVPCID && can & CPUID_CAN_INVPCID;

    uint32_t keep = L1C_KEEP | (xcr0 ? L1C_XSAVE : 0) | (pcid ? L1C_PCID : 0) |
                    (xcr0 & XCR0_AVX ? L1C_AVX | L1C_FMA | L1C_F16C : 0);
    r1.ecx = (r1.ecx & keep) | L1C_X2APIC | L1C_TSC_DEADLINE | L1C_HYPERVISOR;
    r1.edx &= L1D_KEEP;
    r1.ebx = (r1.ebx & 0xffff) | 1u << 16; // brand, CLFLUSH size; one logical processor
    add(b, 1, 0, r1, CPUID_LIVE_1);

    keep = L7B_KEEP | (pcid ? L7B_INVPCID : 0) | (xcr0 & XCR0_AVX ? L7B_AVX2 : 0) |
           (xcr0 & XCR0_AVX512 ? L7B_AVX512 : 0);
    r7.ebx = (r7.ebx & keep) | L7B_TSC_ADJUST;
    keep = L7C_KEEP | (xcr0 & XCR0_PKRU ? L7C_PKU : 0) | (xcr0 & XCR0_AVX ? L7C_AVX : 0) |
           (xcr0 & XCR0_AVX512 ? L7C_AVX512 : 0) | (can & CPUID_CAN_RDTSCP ? L7C_RDPID : 0);
    r7.ecx &= keep;
    keep = L7D_KEEP | (xcr0 & XCR0_AVX512 ? L7D_AVX512 : 0) |
           (can & CPUID_CAN_SPEC_CTRL ? L7D_SPEC : 0) |
           (can & CPUID_CAN_ARCH_CAPS ? L7D_ARCH_CAPS : 0);
    r7.edx &= keep;
    r7.eax = 0; // no further subleaf
    add(b, 7, 0, r7, CPUID_LIVE_7);
    set_subs(b, 7, 1);
}

// "Deterministic Cache Parameters" and "Extended Topology": one core with one thread.
static void add_topology(const struct build *b)
{
    uint32_t sub = 0;
    for (; sub < 6; sub++) {
        struct cpuid_regs r = host(b, 4, sub);
        if (!(r.eax & 0x1f))
            break;
        r.eax &= 0x3fff; // shared with nobody
        add(b, 4, sub, r, CPUID_LIVE_NONE);
    }
    set_subs(b, 4, sub);
    add(b, 0xb, 0, (struct cpuid_regs){ 0, 1, 0x100, 0 }, CPUID_LIVE_B); // threads
    add(b, 0xb, 1, (struct cpuid_regs){ 0, 1, 0x201, 0 }, CPUID_LIVE_B); // cores
    set_subs(b, 0xb, 2);
}

// Bytes of an XSAVE area for these components.
static uint32_t xsave_size(const struct cpuid_policy *p, uint64_t xcr0, bool compacted)
{
    uint32_t end = XSAVE_LEGACY;

    if (p->slot[0xd].subs < XCR0_COMPONENTS)
        return 0;
    for (uint32_t i = 2; i < XCR0_COMPONENTS; i++) {
        const struct cpuid_regs *r = &p->entry[p->slot[0xd].first + i].regs;
        if (!(xcr0 & p->xcr0 & B(i)))
            continue;
        if (compacted)
            end = (r->ecx & 2 ? (uint32_t)align_up(end, 64) : end) + r->eax;
        else if (r->ebx + r->eax > end)
            end = r->ebx + r->eax;
    }
    return end;
}

static void add_xsave(const struct build *b)
{
    struct cpuid_policy *p = b->policy;
    struct cpuid_regs none = { 0 };

    if (!p->xcr0)
        return;
    struct cpuid_regs r = { (uint32_t)p->xcr0, 0, 0, (uint32_t)(p->xcr0 >> 32) };
    add(b, 0xd, 0, r, CPUID_LIVE_XSAVE);
    r = (struct cpuid_regs){ host(b, 0xd, 1).eax & LD1A_KEEP, 0, 0, 0 };
    add(b, 0xd, 1, r, r.eax & LD1A_XSAVEC ? CPUID_LIVE_XSAVEC : CPUID_LIVE_NONE);
    for (uint32_t i = 2; i < XCR0_COMPONENTS; i++) {
        r = host(b, 0xd, i);
        r.ecx &= 2; // alignment; none is a supervisor state
        r.edx = 0;
        add(b, 0xd, i, p->xcr0 & B(i) ? r : none, CPUID_LIVE_NONE);
    }
    set_subs(b, 0xd, XCR0_COMPONENTS);
    p->entry[p->slot[0xd].first].regs.ecx = xsave_size(p, p->xcr0, false);
}

// "Time Stamp Counter and Nominal Core Crystal Clock", "Processor Frequency". The crystal runs at
// the TSC's own frequency (halved only where that does not fit 32 bits): crystal times ratio is
// then the TSC exactly, also for those who compute in kHz, and so is the APIC timer's arithmetic.
static void add_clock(const struct build *b)
{
    struct cpuid_policy *p = b->policy;
    uint64_t mhz = (p->tsc_hz + 500000) / 1000000;

    p->timer_ratio = (uint32_t)(p->tsc_hz >> 32) + 1;
    add(b, 0x15, 0, (struct cpuid_regs){ 1, p->timer_ratio,
        (uint32_t)((p->tsc_hz + p->timer_ratio / 2) / p->timer_ratio), 0 }, CPUID_LIVE_NONE);
    add(b, 0x16, 0, (struct cpuid_regs){ (uint16_t)mhz, (uint16_t)mhz, 100, 0 },
        CPUID_LIVE_NONE);
}

// A CPU that runs at a fraction of the frequency it names is interpreted, and nothing speculates in
// it. Systems that judge CPUs by their model cannot know: for them, "no branch type confusion".
static uint32_t speculation_bits(const struct build *b)
{
    uint64_t named_hz = (uint16_t)host(b, 0x16, 0).eax * UINT64_C(1000000);
    return named_hz / 4 > b->policy->tsc_hz ? X8B_BTC_NO : 0;
}

static void add_extended(const struct build *b)
{
    struct cpuid_regs r = host(b, 0x80000001, 0);
    bool rdtscp = b->facts->features & CPUID_CAN_RDTSCP;

    add(b, 0x80000000, 0, (struct cpuid_regs){ 0x80000008, 0, 0, 0 }, CPUID_LIVE_NONE);
    r.ebx = 0;
    r.ecx &= X1C_KEEP;
    r.edx &= X1D_KEEP | (rdtscp ? X1D_RDTSCP : 0);
    add(b, 0x80000001, 0, r, CPUID_LIVE_NONE);
    for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; leaf++) // the brand's name
        add(b, leaf, 0, host(b, leaf, 0), CPUID_LIVE_NONE);
    r = (struct cpuid_regs){ 0, 0, host(b, 0x80000006, 0).ecx, 0 };
    add(b, 0x80000006, 0, r, CPUID_LIVE_NONE);
    r = (struct cpuid_regs){ 0, 0, 0, X7D_INVARIANT_TSC };
    add(b, 0x80000007, 0, r, CPUID_LIVE_NONE);
    uint32_t physical = host(b, 0x80000008, 0).eax & 0xff;
    r = (struct cpuid_regs){ (physical ? physical : 36) | 48u << 8, speculation_bits(b), 0, 0 };
    add(b, 0x80000008, 0, r, CPUID_LIVE_NONE);
}

void cpuid_policy_init(struct cpuid_policy *p, const struct cpuid_facts *facts)
{
    struct build b = { p, facts };
    struct cpuid_regs none = { 0 }, r = host(&b, 0, 0);

    *p = (struct cpuid_policy){ .tsc_hz = facts->tsc_hz };
    p->xcr0 = xcr0_allowed(&b);
    p->count = 1; // entry 0, for all leaves that are not there
    add(&b, 0, 0, (struct cpuid_regs){ CPUID_BASIC_MAX, r.ebx, r.ecx, r.edx }, CPUID_LIVE_NONE);
    add_features(&b);
    add(&b, 2, 0, host(&b, 2, 0), CPUID_LIVE_NONE);
    add_topology(&b);
    add(&b, 6, 0, (struct cpuid_regs){ L6A_ARAT, 0, 0, 0 }, CPUID_LIVE_NONE);
    add_xsave(&b);
    add_clock(&b);
    // "BulkheadHV  "
    add(&b, CPUID_HYPERVISOR, 0,
        (struct cpuid_regs){ CPUID_HYPERVISOR + 1, 0x6b6c7542, 0x64616568, 0x20205648 },
        CPUID_LIVE_NONE);
    add(&b, CPUID_HYPERVISOR + 1, 0, none, CPUID_LIVE_NONE);
    add_extended(&b);
    // A leaf above the highest answers as the highest does.
    for (uint32_t leaf = CPUID_BASIC_MAX + 1; leaf < CPUID_BASIC_SLOTS; leaf++)
        p->slot[leaf] = p->slot[CPUID_BASIC_MAX];
}

static struct cpuid_entry *find(struct cpuid_policy *p, uint32_t leaf, uint32_t sub)
{
    struct cpuid_slot *slot = slot_of(p, leaf);
    if (!slot || !slot->first || (slot->subs && sub >= slot->subs))
        return NULL;
    struct cpuid_entry *e = &p->entry[slot->first + (slot->subs ? sub : 0)];
    return e->leaf == leaf ? e : NULL;
}

bool cpuid_policy_narrow(struct cpuid_policy *p, uint32_t leaf, uint32_t sub,
                         const uint32_t and_mask[4])
{
    struct cpuid_entry *e = find(p, leaf, sub);
    if (!e)
        return false;
    e->regs.eax &= and_mask[0];
    e->regs.ebx &= and_mask[1];
    e->regs.ecx &= and_mask[2];
    e->regs.edx &= and_mask[3];
    if (leaf == 0xd && sub == 0)
        p->xcr0 &= e->regs.eax | (uint64_t)e->regs.edx << 32;
    return true;
}

struct cpuid_regs cpuid_policy_get(const struct cpuid_policy *p, uint32_t leaf, uint32_t sub)
{
    const struct cpuid_entry *e = find((struct cpuid_policy *)p, leaf, sub); // only reads
    return e ? e->regs : (struct cpuid_regs){ 0 };
}

uint64_t cpuid_policy_cr4(const struct cpuid_policy *p)
{
    struct cpuid_regs r1 = cpuid_policy_get(p, 1, 0), r7 = cpuid_policy_get(p, 7, 0);
    uint64_t cr4 = CR4_PCE;

    cr4 |= r1.edx & B(1) ? CR4_VME | CR4_PVI : 0;
    cr4 |= r1.edx & B(2) ? CR4_DE : 0;
    cr4 |= r1.edx & B(3) ? CR4_PSE : 0;
    cr4 |= r1.edx & B(4) ? CR4_TSD : 0;
    cr4 |= r1.edx & B(6) ? CR4_PAE : 0;
    cr4 |= r1.edx & B(7) ? CR4_MCE : 0;
    cr4 |= r1.edx & B(13) ? CR4_PGE : 0;
    cr4 |= r1.edx & B(24) ? CR4_OSFXSR : 0;
    cr4 |= r1.edx & B(25) ? CR4_OSXMMEXCPT : 0;
    cr4 |= r1.ecx & L1C_PCID ? CR4_PCIDE : 0;
    cr4 |= r1.ecx & L1C_XSAVE ? CR4_OSXSAVE : 0;
    cr4 |= r7.ebx & B(0) ? CR4_FSGSBASE : 0;
    cr4 |= r7.ebx & B(7) ? CR4_SMEP : 0;
    cr4 |= r7.ebx & B(20) ? CR4_SMAP : 0;
    cr4 |= r7.ecx & B(2) ? CR4_UMIP : 0;
    cr4 |= r7.ecx & L7C_PKU ? CR4_PKE : 0;
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
    return (uint8_t)cpuid_policy_get(p, 0x80000008, 0).eax;
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

void cpuid_other(const struct cpuid_policy *p, const struct cpuid_vcpu *c, uint64_t gpr[4])
{
    uint32_t leaf = (uint32_t)gpr[0], sub = (uint32_t)gpr[1];
    struct cpuid_regs r = { 0 };

    if (leaf == 0xb) // beyond the last level: the subleaf's number and the id, no level
        r = (struct cpuid_regs){ 0, 0, sub & 0xff, c->live[CPUID_LIVE_B].edx };
    else if (leaf >= CPUID_BASIC_SLOTS && leaf >> 28 != CPUID_HYPERVISOR >> 28)
        r = cpuid_policy_get(p, CPUID_BASIC_MAX, 0); // above the highest: as the highest basic
    gpr[0] = r.eax;
    gpr[1] = r.ecx;
    gpr[2] = r.edx;
    gpr[3] = r.ebx;
}
