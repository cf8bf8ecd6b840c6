// SPDX-License-Identifier: BSD-2-Clause
// The short way of a yield from guest to guest, in line where the exit is handled. It does what
// pick() of sched.c does for the commonest case, on the queues of this core.
#pragma once
#include "kernel/core/arch.h"

// The next of the same priority, when it is inside its guest and may run now, and nothing else
// waits on this core (cpu->work is 0, so `current` is in no queue). Charged, rotated and made
// `current`: the caller switches to it. NULL: go through sched_run().
static inline __attribute__((always_inline)) struct thread *
sched_yield_to_guest(struct cpu *cpu, uint64_t now)
{
    struct thread *t = cpu->current;
    struct list *queue = t->run_queue, *first = queue->next;
    struct thread *next = list_entry(first, struct thread, queue);
    if (first == queue || next->mode != THREAD_GUEST || next->asked)
        return NULL;
    struct budget *b = cpu->budget, *nb = thread_budget(next);
    // A budget that is gone or used up is for pick(): nothing is charged before that is clear.
    if (unlikely(t->priority == PRIO_BUDGET && !(b && nb)))
        return NULL;
    if (nb && unlikely(nb->left <= 0 || now >= nb->period_end ||
                       now + (uint64_t)nb->left < cpu->deadline))
        return NULL;
    if (unlikely(now + cpu->quantum < cpu->deadline)) // one that is too early would do no harm
        return NULL;
    if (b)
        b->left -= (int64_t)(now - cpu->switch_tsc);
    cpu->switch_tsc = now;
    t->ran += (int64_t)now;
    next->quantum_end = now + cpu->quantum;
    queue->next = first->next; // the first comes out, and the current one in at the end
    first->next->prev = queue;
    list_init(first);
    list_push_back(queue, &t->queue);
    next->ran -= (int64_t)now;
    cpu->current = next;
    cpu->budget = nb;
    return next;
}
