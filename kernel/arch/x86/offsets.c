// SPDX-License-Identifier: BSD-2-Clause
// Offsets for the assembly files: compiled to assembly text, from which the build takes the lines
// that begin with ".set" (symbols, not macros, so that a .irp can put their names together).
// Never linked.
#include "kernel/core/arch.h"

#define VALUE(name, value) __asm__ volatile("\n.set " #name ", %c0" : : "i"(value))
#define OFFSET(name, type, member) VALUE(name, offsetof(type, member))
#define REG(name) OFFSET(REGS_##name, struct regs, name);
void offsets(void)
{
    OFFSET(CPU_STACK_TOP, struct cpu, arch.stack_top);
    OFFSET(CPU_CURRENT, struct cpu, current); // its registers come first
    OFFSET(CPU_VCPU, struct cpu, arch.vcpu);
    OFFSET(CPU_WORK, struct cpu, work);
    REG(rax) REG(rsi) REG(rdi) REG(rbp) REG(vector) REG(rip) REG(cs) REG(rflags) REG(rsp)
    OFFSET(VCPU_GPR, struct vcpu, arch.gpr);
    OFFSET(VCPU_FRESH, struct vcpu, arch.fresh);
    VALUE(REGS_SIZE, sizeof(struct regs));
    VALUE(SYSCALLS_COUNT, SYSCALL_COUNT);
}
