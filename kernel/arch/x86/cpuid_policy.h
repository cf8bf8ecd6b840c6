// SPDX-License-Identifier: BSD-2-Clause
// What a guest's CPUID says ("CPUID—CPU Identification"): the host's answers, narrowed to what
// Bulkhead really gives, and the leaves that it makes itself.
//
// struct cpuid_policy is plain data that belongs to its VM; it is made once and may be copied (a
// template made at boot serves all VMs). Written only before the VM's vCPUs run (kernel_lock), read
// without a lock on every core afterwards. struct cpuid_vcpu belongs to its vCPU, on its core.
#pragma once
#include "kernel/lib/types.h"

struct cpuid_facts {
    uint64_t tsc_hz;   // as measured
    uint64_t xcr0;     // state components that the kernel switches for guests
    uint32_t xsave_size[2]; // of an area of these, standard and compacted, as leaf 0DH says
    void (*read)(uint32_t leaf, uint32_t sub, uint32_t out[4]); // the host's: EAX, EBX, ECX, EDX
};

// Bits that depend on a vCPU's state are 0 in the policy and or-ed in at look-up.
enum cpuid_live {
    CPUID_LIVE_NONE,
    CPUID_LIVE_1,     // APIC id, APIC enabled, OSXSAVE
    CPUID_LIVE_7,     // OSPKE
    CPUID_LIVE_B,     // x2APIC id
    CPUID_LIVE_XSAVE, // leaf 0DH.0: size for XCR0
    CPUID_LIVE_XSAVEC, // leaf 0DH.1: compacted
    CPUID_LIVE_COUNT,
};

struct cpuid_regs { uint32_t eax, ebx, ecx, edx; };

struct cpuid_entry {
    struct cpuid_regs regs;
    uint32_t leaf, sub;
    uint32_t live; // where in struct cpuid_vcpu, in bytes
    uint32_t reserved;
};

#define CPUID_BASIC_MAX   0x16u       // the highest basic leaf there is
#define CPUID_HYPERVISOR  0x40000000u // two leaves
#define CPUID_EXTENDED    0x80000000u // nine leaves
// Slots: the basic leaves, the hypervisor's, the extended ones; and two for all that are not there,
// zeroes in the hypervisor's range, else above the highest: they answer as the highest basic one.
#define CPUID_SLOT_HYPERVISOR (CPUID_BASIC_MAX + 1)
#define CPUID_SLOT_EXTENDED   (CPUID_SLOT_HYPERVISOR + 2)
#define CPUID_SLOT_NONE       (CPUID_SLOT_EXTENDED + 9)
#define CPUID_SLOT_ABOVE      (CPUID_SLOT_NONE + 1)
#define CPUID_ENTRIES     48u

struct cpuid_policy {
    uint64_t tsc_hz;
    uint64_t xcr0;        // what a guest may set in XCR0; 0: no XSAVE
    uint32_t timer_ratio; // for vlapic_init()
    uint32_t count;       // of entries; entry 0 is all zeroes
    // Where in `entry` a leaf's begin, in bytes; subs: how many there are, 0 when ECX does not
    // matter.
    struct cpuid_slot { uint16_t at, subs; } slot[CPUID_SLOT_ABOVE + 1];
    struct cpuid_entry entry[CPUID_ENTRIES];
};

struct cpuid_vcpu { struct cpuid_regs live[CPUID_LIVE_COUNT]; };

void cpuid_policy_init(struct cpuid_policy *p, const struct cpuid_facts *facts);
// Takes away the bits that are 0 in and_mask (EAX, EBX, ECX, EDX); live bits stay. False: no such
// leaf.
bool cpuid_policy_narrow(struct cpuid_policy *p, uint32_t leaf, uint32_t sub,
                         const uint32_t and_mask[4]) MUST_CHECK;
// The registers of a leaf, without live bits; zeroes when it is not there.
struct cpuid_regs cpuid_policy_get(const struct cpuid_policy *p, uint32_t leaf, uint32_t sub);

// What follows from it. Bits of CR4 and EFER that the guest may set:
uint64_t cpuid_policy_cr4(const struct cpuid_policy *p);
uint64_t cpuid_policy_efer(const struct cpuid_policy *p);
// XSETBV: is this value one that XCR0 may have ("XSAVE-Supported Features and State Components")?
bool cpuid_policy_xcr0_valid(const struct cpuid_policy *p, uint64_t xcr0);
// Physical-address width in bits.
uint8_t cpuid_policy_maxphyaddr(const struct cpuid_policy *p);

// To be called at creation and whenever guest CR4, IA32_APIC_BASE or XCR0 changed.
void cpuid_vcpu_update(struct cpuid_vcpu *c, const struct cpuid_policy *p, uint32_t apic_id,
                       uint64_t cr4, uint64_t apic_base, uint64_t xcr0);

// The instruction for subleaves that have no entry.
void cpuid_no_subleaf(const struct cpuid_vcpu *c, uint64_t gpr[4]);

static inline uint32_t cpuid_slot(uint32_t leaf)
{
    if (likely(leaf <= CPUID_BASIC_MAX))
        return leaf;
    if (leaf - CPUID_EXTENDED < CPUID_SLOT_NONE - CPUID_SLOT_EXTENDED)
        return leaf - CPUID_EXTENDED + CPUID_SLOT_EXTENDED;
    if (leaf - CPUID_HYPERVISOR < CPUID_SLOT_EXTENDED - CPUID_SLOT_HYPERVISOR)
        return leaf - CPUID_HYPERVISOR + CPUID_SLOT_HYPERVISOR;
    return leaf >> 28 == CPUID_HYPERVISOR >> 28 ? CPUID_SLOT_NONE : CPUID_SLOT_ABOVE;
}

// The entry that answers for these; NULL: there is no such subleaf.
static inline const struct cpuid_entry *cpuid_entry_for(const struct cpuid_policy *p,
                                                        uint32_t leaf, uint32_t sub)
{
    struct cpuid_slot slot = p->slot[cpuid_slot(leaf)];
    const struct cpuid_entry *first = (const void *)((const char *)p->entry + slot.at);
    if (!slot.subs)
        return first;
    return likely(sub < slot.subs) ? &first[sub] : NULL;
}

// The instruction: gpr in the CPU's numbering (RAX, RCX, RDX, RBX), as in struct vcpu_page. False:
// nothing is done, it is one for cpuid_no_subleaf().
static inline bool cpuid_emulate(const struct cpuid_policy *p, const struct cpuid_vcpu *c,
                                 uint64_t gpr[4])
{
    const struct cpuid_entry *e = cpuid_entry_for(p, (uint32_t)gpr[0], (uint32_t)gpr[1]);
    if (unlikely(!e))
        return false;
    const struct cpuid_regs *live = (const void *)((const char *)c + e->live);
    gpr[0] = e->regs.eax | live->eax;
    gpr[1] = e->regs.ecx | live->ecx;
    gpr[2] = e->regs.edx | live->edx;
    gpr[3] = e->regs.ebx | live->ebx;
    return true;
}
