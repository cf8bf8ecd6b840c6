// SPDX-License-Identifier: BSD-2-Clause
// What the vendors' ways of running a guest share. A vCPU's state is its core's; see hvm.h.
#pragma once
#include "kernel/arch/x86/x86.h"

#define VCPU_FRAMES 3 // VMCS or VMCB, the virtual APIC's registers, FPU area

// How an exit handler leaves. RESUME: enter again; SKIP: the instruction is done; WORK: look at the
// vCPU's waiting work first; others do not come back at all.
enum exit_action { EXIT_RESUME, EXIT_SKIP, EXIT_WORK };

#define VECTOR_BP 3
#define VECTOR_OF 4
#define VECTOR_GP 13
#define VECTOR_AC 17

// vm.c
void vcpu_init_soft(struct vcpu *v, uint32_t apic_id); // vmcs: VCPU_FRAMES of zeros
// entry.S: as vcpu_return(), and where nothing else is to be done on this core, at once. The vCPU
// stays bound to its thread then.
NORETURN void vcpu_return_fast(struct vcpu *v, int64_t kind, uint64_t word);

// A second exception while the first is delivered ("Conditions for Generating a Double Fault").
enum fault_pair { FAULT_SECOND, FAULT_DOUBLE, FAULT_TRIPLE };

static inline bool fault_contributory(uint8_t vector)
{
    return vector == 0 || (vector >= 10 && vector <= 13);
}

static inline enum fault_pair fault_pair(uint8_t first, uint8_t second)
{
    if (first == VECTOR_DF)
        return FAULT_TRIPLE;
    if (first == VECTOR_PF)
        return fault_contributory(second) || second == VECTOR_PF ? FAULT_DOUBLE : FAULT_SECOND;
    return fault_contributory(first) && fault_contributory(second) ? FAULT_DOUBLE : FAULT_SECOND;
}

// Its FPU state is loaded.
static inline void vcpu_set_xcr0(struct vcpu *v, uint64_t value)
{
    v->arch.xcr0 = value;
    this_cpu()->turns++; // for arch_alike()
    this_cpu()->arch.fpu_xcr0 = value;
    xsetbv(value);
    cpuid_vcpu_xsave(&v->arch.cpuid, cpuid_word(0xd, 0, 1), cpuid_word(0xd, 1, 1)); // for it
}

// Interrupts that others have left for it.
UNUSED static __attribute__((noinline)) void vcpu_take_posted(struct vcpu *v)
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t level = __atomic_exchange_n(&v->pending_level[i], 0, __ATOMIC_ACQ_REL);
        uint64_t bits = __atomic_exchange_n(&v->pending_edge[i], 0, __ATOMIC_ACQ_REL) | level;
        for (; bits; bits &= bits - 1) { // both of one vector: its EOI is waited for
            unsigned bit = (unsigned)__builtin_ctzll(bits);
            vlapic_accept(&v->arch.vlapic, (uint8_t)(i * 64 + bit), level >> bit & 1);
        }
    }
}

// Returns to the VMM if that has to hear of something; then the rest waits.
static inline void vcpu_tell_vmm(struct vcpu *v, uint32_t work)
{
    struct vlapic *a = &v->arch.vlapic;
    if (work & VCPU_WORK_EVENT) {
        v->page->exit.event.bits = vcpu_take_event(v);
        vcpu_return(v, VM_EXIT_EVENT, 0);
    }
    if (a->actions & VLAPIC_ACT_INIT) {
        a->actions &= ~VLAPIC_ACT_INIT;
        vcpu_return(v, VM_EXIT_INIT, 0);
    }
    if (a->actions & VLAPIC_ACT_EOI) {
        a->actions &= ~VLAPIC_ACT_EOI;
        v->page->exit.eoi.vector = a->eoi_vector;
        vcpu_return(v, VM_EXIT_EOI, 0);
    }
}
