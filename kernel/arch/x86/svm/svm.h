// SPDX-License-Identifier: BSD-2-Clause
// What the files of svm/ share. A vCPU's VMCB is touched by its own core only.
//
// From an exit on until svm_to_host() the core is still half the guest's: GIF is clear, so that
// nothing at all interrupts, and TR is the guest's. What is answered at once stays so; all else
// begins with svm_to_host(). svm_go() is the way back in. FS, GS' hidden part, KERNEL_GS_BASE, the
// MSRs of SYSCALL and SYSENTER stay the guest's while its VMM runs (see context.c): ring 3 has no
// use for them, and calls by an interrupt gate (entry.S). LDTR must be null there, for a descriptor
// table of the guest's choice would lie in the kernel's hands.
#pragma once
#include "kernel/arch/x86/svm/vmcb.h"
#include "kernel/arch/x86/vcpu.h"

struct svm_caps {
    uint32_t features; // CPUID 8000000AH EDX
    uint32_t asids;    // 0 is the host's
    uint32_t clean;    // what an exit leaves clean; 0 without the feature
};
extern struct svm_caps svm;
#define SVM_NPT           (1u << 0)
#define SVM_NRIP          (1u << 3)
#define SVM_CLEAN         (1u << 5)
#define SVM_DECODE        (1u << 7)
extern struct hpa svm_io_map, svm_msr_map;

#define CS_LONG (1u << 9)  // of a VMCB's segment: L, D
#define CS_BIG  (1u << 10)
#define DR6_STEP (1u << 14)
#define EFER_SVME (1ull << 12)
// Of struct arch_vcpu.exits: by the code's lowest byte. Nested page faults share it with reads of
// CR0, which do not exit.
#define SVM_COUNT(code) ((uint8_t)(code))

#define NPF_WRITE (1ull << 1) // EXITINFO1 of a nested page fault
#define NPF_FETCH (1ull << 4)
#define NPF_FINAL (1ull << 32) // else it was in a walk of the guest's tables
enum { TASK_IRET = 36, TASK_JMP = 38, TASK_RF = 48 }; // bits of EXITINFO2 of a task switch

// vcpu.c
void svm_load(struct vcpu *v);           // its VMCB is this core's now
// host.c
void svm_to_host(struct vcpu *v);        // behind an exit: TR, LDTR and GIF are the host's again
NORETURN void svm_go(struct vcpu *v);    // into the guest, for which all else is loaded
void svm_tr_changes(struct vcpu *v);     // the guest is about to load TR or LDTR
// sregs.c
bool svm_guest_sets_cr4(struct vcpu *v, uint64_t value); // false: #GP
bool svm_guest_sets_efer(struct vcpu *v, uint64_t value);
// regs.c: control and debug registers, XSETBV, exceptions, MSRs
enum exit_action svm_exit_cr(struct vcpu *v);
enum exit_action svm_exit_dr(struct vcpu *v);
enum exit_action svm_exit_xsetbv(struct vcpu *v);
enum exit_action svm_exit_exception(struct vcpu *v, uint8_t vector);
enum exit_action svm_exit_msr(struct vcpu *v);
void svm_cpuid(struct vcpu *v);
void svm_vlapic_actions(struct vcpu *v);
int64_t svm_lapic_answer(struct vcpu *v);
// inject.c
void svm_inject(struct vcpu *v, uint32_t type, uint8_t vector);
void svm_skip_flags(struct vcpu *v);
enum exit_action svm_inject_fault(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error);
void svm_inject_pending(struct vcpu *v); // may return to the VMM for an acknowledge cycle
void svm_replay(struct vcpu *v);         // an event that the exit interrupted
void svm_exit_iret(struct vcpu *v);
bool svm_stepped(struct vcpu *v);        // #DB: was it only the end of that IRET?
// answer.c
NORETURN void svm_go_on(struct vcpu *v);
NORETURN void svm_run_ready(struct thread *t, uint32_t run);
NORETURN void svm_kill(struct vcpu *v, enum vm_killed code, uint32_t reason);
void svm_facts(struct vcpu *v);
// exit.c
void svm_exit(struct vcpu *v);
void svm_decoded(struct vcpu *v, uint32_t bytes, uint32_t gpr); // the VMM's answer
void svm_again(struct vcpu *v);          // with it
extern const uint8_t svm_exit_class[];
// entry.S
NORETURN void svm_enter(struct vcpu *v);

static inline void svm_dirty(struct vcpu *v, uint32_t what) { v->arch.svm.vmcb->clean &= ~what; }

// It gets one at its next entry: all else is forgotten.
static inline void svm_new_asid(struct vcpu *v) { v->arch.svm.asid_turn = 0; }

static inline enum exit_action svm_inject_gp(struct vcpu *v)
{
    return svm_inject_fault(v, VECTOR_GP, true, 0);
}

static inline void svm_intercept(struct vcpu *v, uint32_t which, uint32_t to)
{
    struct vmcb *b = v->arch.svm.vmcb;
    uint32_t now = (b->intercept & ~which) | to;
    if (now != b->intercept) {
        b->intercept = now;
        svm_dirty(v, CLEAN_INTERCEPTS);
    }
}

static inline bool in_64bit_code(const struct vmcb *b)
{
    return (b->efer & EFER_LMA) && (b->cs.access & CS_LONG);
}

// The one place that advances RIP.
static inline __attribute__((always_inline)) void svm_skip_to(struct vcpu *v, uint64_t rip)
{
    struct vmcb *b = v->arch.svm.vmcb;
    b->rip = in_64bit_code(b) ? rip : (uint32_t)rip;
    b->interrupt_shadow &= ~SVM_SHADOW;
    if (unlikely(b->rflags & (RFLAGS_TF | RFLAGS_RF)))
        svm_skip_flags(v);
}
