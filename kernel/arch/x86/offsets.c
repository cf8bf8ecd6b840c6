// SPDX-License-Identifier: BSD-2-Clause
// Offsets for the assembly files: compiled to assembly text, from which the build takes the lines
// that begin with "#define". Never linked.
#include "kernel/core/arch.h"

#define OFFSET(name, type, member)                                                                 \
    __asm__ volatile("\n#define " #name " %c0" : : "i"(offsetof(type, member)))
#define VALUE(name, value) __asm__ volatile("\n#define " #name " %c0" : : "i"(value))

void offsets(void);
void offsets(void)
{
    OFFSET(CPU_STACK_TOP, struct cpu, arch.stack_top);
    OFFSET(CPU_SCRATCH, struct cpu, arch.scratch);
    OFFSET(CPU_CURRENT, struct cpu, current); // its registers come first
    OFFSET(CPU_VCPU, struct cpu, arch.vcpu);
    OFFSET(CPU_WORK, struct cpu, work);
    OFFSET(REGS_RAX, struct regs, rax);
    OFFSET(REGS_RBX, struct regs, rbx);
    OFFSET(REGS_RDX, struct regs, rdx);
    OFFSET(REGS_RDI, struct regs, rdi);
    OFFSET(REGS_RBP, struct regs, rbp);
    OFFSET(REGS_R12, struct regs, r12);
    OFFSET(REGS_R13, struct regs, r13);
    OFFSET(REGS_R14, struct regs, r14);
    OFFSET(REGS_R15, struct regs, r15);
    OFFSET(REGS_VECTOR, struct regs, vector);
    OFFSET(REGS_RIP, struct regs, rip);
    OFFSET(REGS_CS, struct regs, cs);
    OFFSET(REGS_RFLAGS, struct regs, rflags);
    OFFSET(REGS_RSP, struct regs, rsp);
    OFFSET(VCPU_GPR, struct vcpu, arch.gpr);
    OFFSET(VCPU_FRESH, struct vcpu, arch.fresh);
    VALUE(REGS_SIZE, sizeof(struct regs));
    VALUE(SYSCALLS_COUNT, SYSCALL_COUNT);
}
