// SPDX-License-Identifier: BSD-2-Clause
// The short way of a yield from guest to guest, in line where the exit is handled. It does what
// pick() of sched.c does for the commonest case, on the queues of this core.
#pragma once
#include "kernel/core/arch.h"

// The first thread of the next context of the same level, when it is inside its guest and may run
// now, and nothing else waits on this core (cpu->work is 0, so the context that runs is the first
// of its level). Charged, rotated and made `current`: the caller switches to it. NULL: go through
// sched_run(); nothing has changed.
static inline __attribute__((always_inline)) struct thread *
sched_yield_to_guest(struct cpu *cpu, uint64_t now)
{
    struct sc *s = cpu->sc, *next = list_entry(s->link.next, struct sc, link);
    uint64_t end = now + cpu->quantum;
    if (next == s)
        return NULL; // nobody else
    struct thread *t = list_entry(next->ready.next, struct thread, queue);
    if (t->mode != THREAD_GUEST || t->asked || s->ready.next != s->ready.prev)
        return NULL; // or s has more threads, which take turns too
    if (unlikely(end < cpu->deadline)) // one that is too early would do no harm
        return NULL;
    if (unlikely(next->timers && next->timers->deadline < cpu->deadline))
        return NULL;
    if (s->level != LEVEL_BEST_EFFORT) {
        if (unlikely(next->left <= 0 || now + (uint64_t)next->left < cpu->deadline))
            return NULL;
        s->left -= (int64_t)(now - cpu->switch_tsc);
    }
    cpu->switch_tsc = now;
    cpu->quantum_end = end;
    s->ran += (int64_t)now;
    next->ran -= (int64_t)now;
    cpu->queue[s->level] = next; // and s, which was the first, is behind the last
    cpu->sc = next;
    cpu->current = t;
    return t;
}
