// SPDX-License-Identifier: BSD-2-Clause
// The short way of a yield from guest to guest, in line where the exit is handled. It does what
// pick() of sched.c does for the commonest case, on the queues of this core.
#pragma once
#include "kernel/core/arch.h"

// The first thread of the next context of the same level, when it is inside its guest and may run
// now, and nothing else waits on this core (cpu->work is 0, so the context that runs is the first
// of its level); else NULL. It is remembered for as long as nothing changes: who yields stays
// inside his guest, so he can be yielded to.
static inline struct thread *sched_find_peer(struct cpu *cpu)
{
    struct sc *s = cpu->sc, *next = list_entry(s->link.next, struct sc, link);
    if (next == s || list_empty(&next->ready))
        return NULL; // or it waits for its turn with timers only
    struct thread *t = list_entry(next->ready.next, struct thread, queue);
    if (t->mode != THREAD_GUEST || t->asked || s->ready.next != s->ready.prev)
        return NULL; // or s has more threads, which take turns too
    if (s->level != LEVEL_BEST_EFFORT || !arch_alike(&cpu->current->vcpu->arch, &t->vcpu->arch))
        return NULL; // or what is left of shares is to be charged and looked at
    cpu->current->peer = t;
    cpu->current->peer_turns = cpu->turns;
    cpu->quantum_left = (int64_t)cpu->quantum;
    return t;
}

// It, rotated and made `current`: the caller switches to it. NULL: go through sched_run(); nothing
// is charged.
static inline __attribute__((always_inline)) struct thread *
sched_yield_to_guest(struct cpu *cpu, uint64_t now)
{
    struct thread *t = cpu->current->peer;
    struct sc *s = cpu->sc, *next;
    if (unlikely(cpu->current->peer_turns != cpu->turns) && !(t = sched_find_peer(cpu)))
        return NULL;
    next = t->sc;
    if (unlikely(next->timers && next->timers->deadline < cpu->deadline))
        return NULL;
    cpu->switch_tsc = now;
    s->ran += (int64_t)now;
    next->ran -= (int64_t)now;
    cpu->queue[LEVEL_BEST_EFFORT] = next; // and s, which was the first, is behind the last
    cpu->sc = next;
    cpu->current = t;
    return t;
}
