// SPDX-License-Identifier: BSD-2-Clause
// The vendor seam: all that the rest of the kernel knows of how this CPU runs a guest. One table,
// chosen once at boot by the boot core. What the CPU reports is turned into architectural terms
// behind it.
//
// What the exits of a guest call often is called without a look at that table, by the functions
// below it: these are VMX's, and where another table was chosen, that one's by a JMP that
// choose_hvm() has put at the beginning of VMX's.
#pragma once
#include "kernel/core/arch.h"

// Result, name, arguments. A vendor's function has the vendor's name in front.
//   check         boot core: prints each missing feature with its reason; true: none is
//   enable_core   each core: NULL, or what failed or differs from the boot core
//   vcpu_init     all else of it is made
//   vcpu_leave, vcpu_free   the vendor's part of arch_vcpu_leave(), arch_vcpu_free()
//   read_sregs, write_sregs   nothing of its context is in the core (context.c)
//   flush         this core forgets its translations of a VM's tables
//   context_save, context_load   with SPECIAL_VENDOR (context.c): what of a vCPU stays in the core
//                 while ring 3 runs, besides; from there, so that nothing is left of it, and there
#define HVM_OPS(X)                                                                                 \
    X(bool, check, (void))                                                                         \
    X(const char *, enable_core, (struct cpu *cpu))                                                \
    X(enum status, vcpu_init, (struct vcpu *v))                                                    \
    X(void, vcpu_leave, (struct vcpu *v))                                                          \
    X(void, vcpu_free, (struct vcpu *v))                                                           \
    X(void, read_sregs, (struct vcpu *v, struct vcpu_sregs *s))                                    \
    X(void, write_sregs, (struct vcpu *v, struct vcpu_sregs *s))                                   \
    X(void, flush, (struct space *s))                                                              \
    X(void, context_save, (struct vcpu *v))                                                        \
    X(void, context_load, (struct cpu *cpu, struct vcpu *v))
//   resume        does the work that waits for the vCPU and enters its guest
//   run_on        vcpu_run() with SYSCALL_RUN_ON, jumped to by syscall_entry: assembly
//   answer        see arch_vcpu_answer()
//   set_timer     cpu->armed has changed, and cpu->arch.vcpu is loaded: its guest must not run on
//                 far beyond
#define HVM_OPS_OFTEN(X)                                                                           \
    X(NORETURN void, resume, (struct vcpu *v))                                                     \
    X(void, run_on, (void))                                                                        \
    X(int64_t, answer, (struct vcpu *v, uint64_t run))                                             \
    X(void, set_timer, (struct cpu *cpu, uint64_t now))

struct hvm_ops {
    const char *name;
    // Its way into a guest is with WRGSBASE, where the CPU has that: then ring 3 has it too.
    bool fsgsbase;
    bool nested; // a VM's page tables have the format of a process's
    // Of each of arch_vcpu.exits: one more than its enum exit_class; 0: EXIT_OTHER.
    const uint8_t *exit_class;
#define X(type, op, arguments) type (*op) arguments;
    HVM_OPS(X)
    HVM_OPS_OFTEN(X)
#undef X
};
// Not to be taken apart by the compiler: its first instruction may be another's.
#if __has_attribute(noipa)
#define PATCHED __attribute__((noipa))
#else
#define PATCHED __attribute__((noinline))
#endif
#define X(type, op, arguments) type vmx_##op arguments; type svm_##op arguments;
HVM_OPS(X)
#undef X
#define X(type, op, arguments) PATCHED type vmx_##op arguments; type svm_##op arguments;
HVM_OPS_OFTEN(X)
#undef X
extern const struct hvm_ops *hvm;
extern const struct hvm_ops vmx_ops, svm_ops;

NORETURN static inline void hvm_resume(struct vcpu *v) { vmx_ops.resume(v); }
static inline int64_t hvm_answer(struct vcpu *v, uint64_t run) { return vmx_ops.answer(v, run); }
static inline void hvm_set_timer(struct cpu *cpu, uint64_t now) { vmx_ops.set_timer(cpu, now); }
