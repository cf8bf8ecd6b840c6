// SPDX-License-Identifier: BSD-2-Clause
// Threads and processes as x86 sees them: registers, address space, ports, idling.
#include "kernel/arch/x86/x86.h"

void arch_thread_init(struct thread *t, uint64_t entry, uint64_t sp, uint64_t arg)
{
    // As after a system call: the FPU starts in its initial state.
    t->arch.regs = (struct regs){
        .vector = REGS_SYSCALL, .rip = entry, .rsp = sp, .rdi = arg,
        .cs = SEL_USER_CODE, .ss = SEL_USER_DATA, .rflags = RFLAGS_FIXED | RFLAGS_IF,
    };
}

void arch_thread_set_result(struct thread *t, int64_t rax, uint64_t second)
{
    t->arch.regs.rax = (uint64_t)rax;
    t->arch.regs.rsi = second;
}

// The I/O bitmap is one per core; it holds the ports of the last process with any that ran here.
static void use_ports(struct cpu *cpu, const struct process *p)
{
    struct tss *tss = cpu->arch.tss;
    uint32_t first = p->port_first, count = p->port_count;
    if (!count) {
        tss->iomap_base = 0xffff;
        return;
    }
    if (cpu->arch.port_first != first || cpu->arch.port_count != count) {
        __builtin_memset(tss->iomap, 0xff, sizeof(tss->iomap));
        for (uint32_t port = first; port < first + count; port++)
            tss->iomap[port / 8] &= (uint8_t)~(1u << (port % 8));
        cpu->arch.port_first = p->port_first;
        cpu->arch.port_count = p->port_count;
    }
    tss->iomap_base = offsetof(struct tss, iomap);
    if (cpu->arch.tr_stale)
        cpu_reload_tr(cpu);
}

void arch_ports_granted(struct process *p)
{
    for (uint32_t i = 0; i < cpu_count; i++)
        if (cpus[i]->space == &p->space)
            cpus[i]->arch.user = NULL; // it is prepared anew
    if (this_cpu()->space == &p->space) // but this call returns as it came
        use_ports(this_cpu(), p);
}

void arch_interrupt_window(void) { irq_window(); }

void arch_switch_to(struct thread *t)
{
    struct cpu *cpu = this_cpu();
    if (cpu->arch.context && cpu->arch.context->object.owner != t->process)
        context_leave(cpu);
    if (mitigations.any)
        barrier_enter(cpu, t->process);
}

// What ring 3 needs of the core. Whatever takes some of it away clears `user`.
static __attribute__((noinline)) void prepare(struct cpu *cpu, struct thread *t)
{
    struct process *p = t->process;
    cpu->arch.tss->rsp0 = (uint64_t)(&t->arch.regs + 1);
    if (cpu->space != &p->space) {
        cr3_use(cpu, &p->space);
        if (fsgsbase && !cpu->arch.context) { // what the last one wrote
            wrmsr(MSR_KERNEL_GS_BASE, 0);
            wrmsr(MSR_FS_BASE, 0);
        }
    }
    use_ports(cpu, p);
    fpu_use_thread(cpu, t);
    cpu->arch.user = p->port_count ? NULL : t; // with ports it depends on TR too
}

void arch_resume_user(struct thread *t)
{
    struct cpu *cpu = this_cpu();
    if (unlikely(cpu->arch.user != t))
        prepare(cpu, t);
    if (t->arch.regs.vector == REGS_SYSCALL)
        resume_syscall(&t->arch.regs);
    resume_trap(&t->arch.regs);
}

void arch_resume_guest(struct vcpu *v) { hvm_resume(v); }

void arch_thread_gone(struct thread *t) { fpu_leave(this_cpu(), t); }
void arch_idle(void) { cpu_idle(this_cpu()->arch.stack_top); }
