// SPDX-License-Identifier: BSD-2-Clause
// Offsets for the assembly files: compiled to assembly text, from which the build takes the lines
// that begin with ".set" (symbols, not macros, so that a .irp can put their names together).
// Never linked.
#include "kernel/arch/x86/vmx/vmcs.h"
#include "kernel/arch/x86/svm/vmcb.h"
#include "kernel/arch/x86/x86.h"

#define VALUE(name, value) __asm__ volatile("\n.set " #name ", %c0" : : "i"(value))
#define OFFSET(name, type, member) VALUE(name, offsetof(type, member))
#define REG(name) OFFSET(REGS_##name, struct regs, name);
void offsets(void)
{
    OFFSET(CPU_STACK_TOP, struct cpu, arch.stack_top);
    OFFSET(CPU_CURRENT, struct cpu, current); // its registers come first
    OFFSET(CPU_VCPU, struct cpu, arch.vcpu);
    OFFSET(CPU_WORK, struct cpu, work);
    OFFSET(CPU_OUTSIDE, struct cpu, outside);
    OFFSET(CPU_USER, struct cpu, arch.user);
    OFFSET(CPU_READY, struct cpu, arch.ready);
    OFFSET(THREAD_MODE, struct thread, mode);
    REG(rax) REG(rsi) REG(rdi) REG(rbp) REG(vector) REG(rip) REG(cs) REG(rflags) REG(rsp)
    OFFSET(VCPU_GPR, struct vcpu, arch.gpr);
    OFFSET(VCPU_FRESH, struct vcpu, arch.fresh);
    OFFSET(VCPU_INJECT, struct vcpu, arch.inject);
    OFFSET(VCPU_WORK, struct vcpu, work);
    OFFSET(VCPU_SKIP_FLAGS, struct vcpu, arch.skip_flags);
    OFFSET(VCPU_VMCS, struct vcpu, arch.vmcs);
    OFFSET(VCPU_VMCB, struct vcpu, arch.svm.vmcb);
    OFFSET(VCPU_GS_BASE, struct vcpu, arch.svm.gs_base);
    OFFSET(VCPU_CPU, struct vcpu, arch.svm.cpu);
    OFFSET(VMCB_RAX, struct vmcb, rax);
    OFFSET(VMCB_VCPU, struct vmcb, vcpu);
    VALUE(DIRECT_MAP_HIGH, DIRECT_MAP >> 40);
    VALUE(REGS_SIZE, sizeof(struct regs));
    VALUE(MODE_USER, THREAD_USER);
    VALUE(MODE_GUEST, THREAD_GUEST);
    VALUE(RUN_SKIP, VM_RUN_SKIP);
    VALUE(RUN_NEXT, VM_RUN_NEXT);
    VALUE(SYSCALL_MASK, SYSCALL_SLOTS - 1);
    VALUE(FIELD_INSN_LEN, EXIT_INSN_LEN);
    VALUE(FIELD_RIP, GUEST_RIP);
    VALUE(FIELD_RFLAGS, GUEST_RFLAGS);
    VALUE(FIELD_INTERRUPTIBILITY, GUEST_INTERRUPTIBILITY);
}
