// SPDX-License-Identifier: BSD-2-Clause
// RDMSR and WRMSR of a guest ("Model-Specific Registers"): those that the CPU or the kernel must
// hold, and what may be written to them; those of msr_passed[] never come here. All others are the
// VMM's.
//
// struct msr_state belongs to its vCPU and is touched on its core only; no lock. Registers that the
// CPU itself must hold stay with the caller: the result says which, after all checks.
#pragma once
#include "kernel/arch/x86/cpuid_policy.h"
#include "kernel/arch/x86/vlapic.h"
#include "kernel/lib/types.h"

enum msr_result {
    // Read: *value is it. Write: it is in the state. Of the local APIC: look at vlapic->actions.
    MSR_DONE,
    MSR_GP,       // #GP(0); nothing changed
    MSR_VMM,      // not one of the kernel's; nothing changed
    MSR_LOAD,     // write, done: what the CPU has of the state (vlapic->tsc_offset, too) is stale
    // EFER: kept by the caller. Write: no reserved bit is set; the caller still refuses (#GP) a
    // change of LME while CR0.PG is set, and keeps LMA as it is.
    MSR_EFER_REG,
};

struct msr_state {
    struct vlapic *vlapic;
    const struct cpuid_table *cpuid;
    uint64_t pat;
    uint64_t tsc_aux;
    uint64_t tsc_adjust;
    uint64_t syscall[4]; // from MSR_STAR on: STAR, LSTAR, CSTAR, FMASK
};

// MSRs that the guest reads and writes without an exit, so that they come to nobody here; the CPU
// or the caller switches them.
#define MSR_PASSED_COUNT 6
extern const uint32_t msr_passed[MSR_PASSED_COUNT];

// The state after a PC's reset and BIOS. Both pointers must outlive the state.
void msr_init(struct msr_state *s, struct vlapic *vlapic, const struct cpuid_table *cpuid);
// `now`: the host's TSC. *value is set where the results above say so.
enum msr_result msr_read(struct msr_state *s, uint32_t index, uint64_t now,
                         uint64_t *value) MUST_CHECK;
enum msr_result msr_write(struct msr_state *s, uint32_t index, uint64_t value,
                          uint64_t now) MUST_CHECK;
