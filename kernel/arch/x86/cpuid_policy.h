// SPDX-License-Identifier: BSD-2-Clause
// A guest's CPUID, answered from the table that its VMM has given.
//
// Both structs belong to their vCPU. The table is written only when that is made (kernel_lock); the
// other is touched on its core.
#pragma once
#include "kernel/abi/cpuid.h"
#include "kernel/lib/types.h"

struct cpuid_vcpu { struct cpuid_regs live[CPUID_LIVE_COUNT]; };

// Takes from a VMM's table the registers and bits of them that no guest may set; host_xcr0: state
// components that the kernel switches; host_tsc_aux: the CPU has IA32_TSC_AUX. False: the table
// leads out of itself, and must not be used.
bool cpuid_accept(struct cpuid_table *t, uint64_t host_xcr0, bool host_tsc_aux) MUST_CHECK;
// XSETBV: is this value one that XCR0 may have ("XSAVE-Supported Features and State Components")?
bool cpuid_xcr0_valid(const struct cpuid_table *t, uint64_t xcr0);

// To be called at creation and whenever guest CR4 or IA32_APIC_BASE changed.
void cpuid_vcpu_update(struct cpuid_vcpu *c, uint32_t apic_id, uint64_t cr4, uint64_t apic_base);
// Likewise XCR0: the sizes of an XSAVE area with it, standard and compacted.
static inline void cpuid_vcpu_xsave(struct cpuid_vcpu *c, uint32_t standard, uint32_t compacted)
{
    c->live[CPUID_LIVE_XSAVE].ebx = standard;
    c->live[CPUID_LIVE_XSAVEC].ebx = compacted;
}

// The instruction for subleaves that have no entry.
void cpuid_no_subleaf(const struct cpuid_vcpu *c, uint64_t gpr[4]);

// The instruction: gpr in the CPU's numbering (RAX, RCX, RDX, RBX), as in struct vcpu_page. False:
// nothing is done, it is one for cpuid_no_subleaf().
static inline bool cpuid_emulate(const struct cpuid_table *t, const struct cpuid_vcpu *c,
                                 uint64_t gpr[4])
{
    const struct cpuid_entry *e = cpuid_entry_for(t, (uint32_t)gpr[0], (uint32_t)gpr[1]);
    if (unlikely(!e))
        return false;
    const struct cpuid_regs *live = (const void *)((const char *)c + e->live);
    gpr[0] = e->regs.eax | live->eax;
    gpr[1] = e->regs.ecx | live->ecx;
    gpr[2] = e->regs.edx | live->edx;
    gpr[3] = e->regs.ebx | live->ebx;
    return true;
}
