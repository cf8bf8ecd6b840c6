// SPDX-License-Identifier: BSD-2-Clause
// What cores ask of each other: requests by inter-processor interrupt, wake-ups.
// Everything here is atomic words of struct cpu; no locks.
#include "kernel/core/arch.h"
#include "kernel/core/grace.h"

void cpu_request(uint32_t core, uint32_t request)
{
    __atomic_fetch_or(&cpus[core]->ipi_requests, request, __ATOMIC_SEQ_CST);
    arch_send_ipi(core);
}

// A core that was asked answers by clearing stop_request. If the object had gone to another core by
// then, it is not stopped, and that one is asked.
bool cpu_stop(struct object *o, uint32_t core)
{
    struct object **request = &cpus[core]->stop_request, *none = NULL;
    if (__atomic_load_n(&o->stop, __ATOMIC_ACQUIRE) == STOP_DONE)
        return true;
    if (core == this_cpu()->id)
        destroy_stop_on_core(o);
    else if (__atomic_compare_exchange_n(request, &none, o, false, __ATOMIC_SEQ_CST,
                                         __ATOMIC_RELAXED))
        cpu_request(core, CPU_IPI_STOP);
    return __atomic_load_n(&o->stop, __ATOMIC_ACQUIRE) == STOP_DONE;
}

// The interrupt came from ring 3, a guest, idling or an interrupt window: this core is inside no
// other kernel function, so it holds no pointer that it found before.
void cpu_ipi(void)
{
    struct cpu *cpu = this_cpu();
    uint64_t start = arch_now(), end;
    cpu->irqs_off = start; // until now they were on
    grace_note(cpu);
    uint32_t requests = __atomic_exchange_n(&cpu->ipi_requests, 0, __ATOMIC_SEQ_CST);
    cpu_drain(cpu);
    if (requests & CPU_IPI_FLUSH) {
        cpu_leave_dead();
        if (cpu->space)
            space_sync(cpu->space, cpu->id);
        if (cpu->guest_space)
            space_sync(cpu->guest_space, cpu->id);
    }
    if (requests & CPU_IPI_STOP) {
        spin_lock(&kernel_lock);
        destroy_stop_on_core(cpu->stop_request);
        spin_unlock(&kernel_lock);
        __atomic_store_n(&cpu->stop_request, NULL, __ATOMIC_RELEASE);
    }
    end = arch_now();
    sched_not_charged(cpu, end - start); // all of it is others' wish
    irqs_still_off(cpu, end);
}

void thread_push_again(struct thread *t)
{
    uint32_t core = __atomic_load_n(&t->core, __ATOMIC_ACQUIRE);
    struct cpu *cpu = cpus[core];
    struct thread *head = __atomic_load_n(&cpu->remote_wake, __ATOMIC_RELAXED);
    do
        t->remote_next = head;
    while (!__atomic_compare_exchange_n(&cpu->remote_wake, &head, t, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED));
    if (cpu == this_cpu())
        cpu->work |= CPU_WORK_RESCHED;
    if (!head) // this core too, for what is pushed while it drains waits for the next time
        arch_send_ipi(core);
}

// From any core: t may be ready now; its own core looks. On its own core this is used for threads
// that must die or leave, which cannot be done under the caller's locks.
void thread_push(struct thread *t)
{
    if (!__atomic_exchange_n(&t->remote_pending, 1, __ATOMIC_SEQ_CST))
        thread_push_again(t); // else it is on a list and will be looked at
}

void thread_wake(struct thread *t)
{
    struct cpu *cpu = this_cpu();
    if (t->core == cpu->id)
        thread_check(cpu, t);
    else
        thread_push(t);
}
