// SPDX-License-Identifier: BSD-2-Clause
// Host interrupts as signals of events. The table is written at boot; a binding is changed under
// kernel_lock and read without, for the reference in it is tested.
#include "kernel/core/syscall.h"

static struct irq *irqs[IRQ_MAX];

struct irq *irq_make(struct process *owner, uint32_t gsi, enum status *status)
{
    struct irq *irq = object_to(object_alloc(OBJ_IRQ, owner, status), irq);
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
    if (!irq || !__atomic_load_n(&irq->bound, __ATOMIC_ACQUIRE))
        return;
    struct event *e = object_to(ref_get(irq->event), event);
    if (e)
        event_signal(e, irq->bits);
}

SYSCALL(irq_bind)
{
    struct process *self = caller_process();
    enum status status;
    spin_lock(&kernel_lock);
    struct irq *irq = HANDLE(self, a0, OBJ_IRQ, irq, RIGHT_USE, &status);
    if (!irq)
        return unlock_result(status);
    struct event *e = HANDLE(self, a1, OBJ_EVENT, event, RIGHT_USE, &status);
    if (!e)
        return unlock_result(status);
    __atomic_store_n(&irq->bound, 0, __ATOMIC_SEQ_CST);
    irq->event = ref_to(&e->object);
    irq->bits = a2;
    irq->core = (uint8_t)this_cpu()->id;
    __atomic_store_n(&irq->bound, 1, __ATOMIC_RELEASE);
    status = arch_irq_route(irq->gsi, irq->core);
    if (status == OK)
        arch_irq_mask(irq->gsi, false);
    else
        irq->bound = 0;
    return unlock_result(status);
}

SYSCALL(irq_ack)
{
    enum status status;
    struct irq *irq = HANDLE(caller_process(), a0, OBJ_IRQ, irq, RIGHT_USE, &status);
    if (!irq)
        return result(status);
    if (!irq->bound)
        return result(ERR_STATE);
    arch_irq_mask(irq->gsi, false);
    return result(OK);
}
