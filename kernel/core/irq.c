// SPDX-License-Identifier: BSD-2-Clause
// Host interrupts as signals of events. The table is written at boot; a binding is changed under
// kernel_lock and read without, for the reference in it is tested.
#include "kernel/core/syscall.h"

static struct irq *irqs[IRQ_MAX];

struct irq *irq_make(struct process *owner, uint32_t gsi, enum status *status)
{
    struct irq *irq = object_new(irq, owner, status);
    if (!irq)
        return NULL;
    ASSERT(gsi < IRQ_MAX);
    irq->gsi = gsi;
    irqs[gsi] = irq;
    return irq;
}

void irq_fired(uint32_t gsi)
{
    struct irq *irq = gsi < IRQ_MAX ? irqs[gsi] : NULL;
    uint64_t start = arch_now();
    if (irq && __atomic_load_n(&irq->bound, __ATOMIC_ACQUIRE))
        event_notice(&irq->notice);
    sched_not_charged(this_cpu(), arch_now() - start);
}

SYSCALL_LOCKED_ON(irq_bind, irq, RIGHT_USE)
{
    enum status status;
    struct event *e = handle_event(caller_process(), a1, a2, &status);
    if (!e)
        return status;
    __atomic_store_n(&irq->bound, 0, __ATOMIC_SEQ_CST);
    irq->notice = (struct notice){ ref_to(&e->object), a2 };
    __atomic_store_n(&irq->bound, 1, __ATOMIC_RELEASE);
    status = arch_irq_route(irq->gsi, this_cpu()->id);
    if (status == OK)
        arch_irq_mask(irq->gsi, false);
    else
        irq->bound = 0;
    return status;
}

SYSCALL_ON(irq_ack, irq, RIGHT_USE)
{
    if (!irq->bound)
        return ERR_STATE;
    arch_irq_mask(irq->gsi, false);
    return OK;
}
