// SPDX-License-Identifier: BSD-2-Clause
// What a protection domain must not learn of the one that ran before it on this core, and what that
// one must not have taught the CPU's predictors for it.
//
// A domain is a process with the guests that it owns: between a VMM and its own guest nothing is
// hidden, for the VMM has all of the guest's memory. The invariant: before anything of a domain
// runs on a core, barrier_enter() was called for it, so cpu->arch.domain names the one that ran
// last. It is the only place with such instructions, and is called where a thread is switched to
// (arch_switch_to()); the short way from guest to guest is not taken where there is anything to do.
// What the kernel itself does in between it does for the one or the other. Each core on its own.
// (Intel, "Speculative Execution Side Channel Mitigations".)
#include "kernel/arch/x86/x86.h"

// By id and generation: an address may be a newer process's by now.
void barrier_enter(struct cpu *cpu, const struct process *p)
{
    static const uint16_t data_selector = SEL_KERNEL_DATA;
    uint64_t domain = (uint64_t)p->object.generation << 32 | p->object.id;
    if (cpu->arch.domain == domain)
        return;
    cpu->arch.domain = domain;
    rsb_fill();
    if (mitigations.ibpb)
        wrmsr(MSR_PRED_CMD, 1);
    if (mitigations.l1d_flush)
        wrmsr(MSR_FLUSH_CMD, 1);
    if (mitigations.verw) // last: it clears the buffers, whatever filled them
        __asm__ volatile("verw %0" : : "m"(data_selector) : "cc");
}
