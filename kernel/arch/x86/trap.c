// SPDX-License-Identifier: BSD-2-Clause
// Traps and interrupts in C. From ring 3 they end in resuming a thread; from the kernel they come
// only in the places that open a window (the idle loop, the exit path) and return there; any
// exception in the kernel is a bug and a panic.
#include "kernel/arch/x86/x86.h"
#include "kernel/core/grace.h"

void trap_tell_later(void) { apic_icr(this_cpu()->arch.apic_id, VECTOR_IPI); }

static __attribute__((noinline)) void tell(struct cpu *cpu)
{
    struct trouble *t = &cpu->arch.trouble;
    uint32_t nmis = __atomic_exchange_n(&t->nmis, 0, __ATOMIC_RELAXED);
    uint32_t checks = __atomic_exchange_n(&t->checks, 0, __ATOMIC_RELAXED);
    if (nmis)
        log_print("core %u: %u NMI, port 61H %x\n", cpu->id, nmis, t->nmi_port);
    if (checks)
        log_print("core %u: %u machine checks; the last: bank %u status %lx address %lx\n",
                  cpu->id, checks, t->bank, t->status, t->address);
}

// Vectors that are nobody's, leftovers of the firmware, are acknowledged and forgotten.
static __attribute__((noinline)) void other_interrupt(struct cpu *cpu, uint8_t vector)
{
    uint32_t gsi = vector - VECTOR_GSI_BASE;
    if (gsi < VECTOR_GSI_MAX)
        arch_irq_mask(gsi, true);
    if (vector != VECTOR_SPURIOUS && vector >= 32)
        apic_eoi();
    if (vector == VECTOR_IPI) {
        if (unlikely(cpu->arch.trouble.nmis | cpu->arch.trouble.checks))
            tell(cpu);
        cpu_ipi();
    } else if (gsi < VECTOR_GSI_MAX) {
        irq_fired(gsi);
    }
}

static inline void timer_fired(struct cpu *cpu)
{
    apic_eoi();
    cpu->armed = UINT64_MAX;
}

void trap_dispatch(uint8_t vector)
{
    struct cpu *cpu = this_cpu();
    uint64_t now = rdtsc();
    irqs_off(cpu, now);
    if (likely(vector == VECTOR_TIMER)) {
        timer_fired(cpu);
        cpu_deadline_passed(now);
    } else {
        other_interrupt(cpu, vector);
    }
    if (!cpu->work) // else sched_run() comes next
        irqs_on(cpu, rdtsc());
}

NORETURN static void thread_fault(struct regs *regs)
{
    struct process_status why = { .status = (int32_t)regs->vector, .rip = regs->rip,
                                  .error = regs->error };
    if (regs->vector == VECTOR_PF)
        why.address = read_cr2();
    thread_exit_current(PROCESS_FAULT, &why, true);
}

NORETURN void trap_from_user(struct regs *regs)
{
    struct cpu *cpu = this_cpu();
    if ((regs->vector == VECTOR_NM || regs->vector == VECTOR_UD) && fpu_trapped(cpu))
        resume_trap(regs); // to the same instruction
    if (regs->vector < 32)
        thread_fault(regs);
    trap_dispatch((uint8_t)regs->vector);
    if (cpu->work)
        sched_run();
    resume_trap(regs);
}

static void print_regs(const struct regs *r)
{
    arch_stop_others();
    log_raw("\ncore %u vector %lu error %lx rip %lx cs %lx rflags %lx rsp %lx cr2 %lx cr3 %lx\n",
            this_cpu()->id, r->vector, r->error, r->rip, r->cs, r->rflags, r->rsp, read_cr2(),
            read_cr3());
    log_raw("rax %lx rbx %lx rcx %lx rdx %lx rsi %lx rdi %lx rbp %lx\n", r->rax, r->rbx, r->rcx,
            r->rdx, r->rsi, r->rdi, r->rbp);
    log_raw("r8 %lx r9 %lx r10 %lx r11 %lx r12 %lx r13 %lx r14 %lx r15 %lx\n", r->r8, r->r9,
            r->r10, r->r11, r->r12, r->r13, r->r14, r->r15);
}

// The core had halted: there is nothing to go back for, and the scheduler looks at the time itself.
NORETURN void trap_idle(uint8_t vector)
{
    struct cpu *cpu = this_cpu();
    grace_awake(cpu);
    if (likely(vector == VECTOR_TIMER))
        timer_fired(cpu);
    else
        trap_dispatch(vector);
    sched_run();
}

NORETURN void trap_from_kernel(const struct regs *regs)
{
    print_regs(regs);
    panic("exception %lu in the kernel at %lx", regs->vector, regs->rip);
}

// NMI, #DF, #MC, #SX, each on a stack of its own. An NMI comes from a core that panics or powers
// off, or from hardware that reports an error which nobody here can handle. Any lock may be held:
// see struct trouble.
void trap_paranoid_c(struct regs *regs)
{
    struct trouble *t = &this_cpu()->arch.trouble;
    if (regs->vector == VECTOR_SX || (regs->vector == VECTOR_MC && !mce_handled()))
        return; // nobody sends a core an INIT on purpose
    if (regs->vector != VECTOR_NMI) {
        print_regs(regs);
        panic(regs->vector == VECTOR_DF ? "double fault" : "machine check outside of a guest");
    }
    if (power_stops_me())
        halt_for_good();
    t->nmi_port = in8(0x61);
    t->nmis++;
    trap_tell_later();
}

NORETURN void syscall_reschedule(int64_t rax, uint64_t rdx)
{
    arch_thread_set_result(this_cpu()->current, rax, rdx);
    sched_run();
}
