// SPDX-License-Identifier: BSD-2-Clause
// What a guest's CPUID says ("CPUID—CPU Identification"): a table that its VMM makes and gives to
// the kernel in the vCPU's page, with vcpu_create(). The kernel answers the guest from it. It
// isolates nothing, for what a guest believes to have it can use only as far as the CPU and the
// kernel let it.
#pragma once
#include <stddef.h>
#include <stdint.h>

// Bits that depend on a vCPU's state are 0 in the table and or-ed in at look-up.
enum cpuid_live {
    CPUID_LIVE_NONE,
    CPUID_LIVE_1,      // APIC id, APIC enabled, OSXSAVE
    CPUID_LIVE_7,      // OSPKE
    CPUID_LIVE_B,      // x2APIC id
    CPUID_LIVE_XSAVE,  // leaf 0DH.0: size for XCR0
    CPUID_LIVE_XSAVEC, // leaf 0DH.1: compacted
    CPUID_LIVE_COUNT,
};

struct cpuid_regs { uint32_t eax, ebx, ecx, edx; };

struct cpuid_entry {
    struct cpuid_regs regs;
    uint32_t leaf, sub;
    uint32_t live; // enum cpuid_live, times the size of struct cpuid_regs
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

struct cpuid_table {
    // What follows from it: bits that the guest may set in these, of those that the kernel lets any
    // guest set; the width of its physical addresses; whether it has IA32_TSC_AUX.
    uint64_t cr4, efer, xcr0;
    uint32_t address_bits, tsc_aux;
    // Where in `entry` a leaf's begin, in bytes; subs: how many there are, 0 when ECX does not
    // matter.
    struct cpuid_slot { uint16_t at, subs; } slot[CPUID_SLOT_ABOVE + 1];
    struct cpuid_entry entry[CPUID_ENTRIES]; // the first is all zeroes, for what is not there
};

static inline uint32_t cpuid_slot(uint32_t leaf)
{
    if (__builtin_expect(leaf <= CPUID_BASIC_MAX, 1))
        return leaf;
    if (leaf - CPUID_EXTENDED < CPUID_SLOT_NONE - CPUID_SLOT_EXTENDED)
        return leaf - CPUID_EXTENDED + CPUID_SLOT_EXTENDED;
    if (leaf - CPUID_HYPERVISOR < CPUID_SLOT_EXTENDED - CPUID_SLOT_HYPERVISOR)
        return leaf - CPUID_HYPERVISOR + CPUID_SLOT_HYPERVISOR;
    return leaf >> 28 == CPUID_HYPERVISOR >> 28 ? CPUID_SLOT_NONE : CPUID_SLOT_ABOVE;
}

// The entry that answers for these; NULL: there is no such subleaf.
static inline const struct cpuid_entry *cpuid_entry_for(const struct cpuid_table *t,
                                                        uint32_t leaf, uint32_t sub)
{
    struct cpuid_slot slot = t->slot[cpuid_slot(leaf)];
    const struct cpuid_entry *first = (const void *)((const char *)t->entry + slot.at);
    if (!slot.subs)
        return first;
    return __builtin_expect(sub < slot.subs, 1) ? &first[sub] : NULL;
}

// The local APIC's timer, and with it the crystal of leaf 15H, has this many TSC ticks to one of
// its own: one, or two where the frequency does not fit into 32 bits.
static inline uint32_t cpuid_timer_ratio(uint64_t tsc_hz) { return (uint32_t)(tsc_hz >> 32) + 1; }
