// SPDX-License-Identifier: BSD-2-Clause
// Scheduling contexts: the time that one VM has on one core, for all of its threads there.
//
// What is not marked belongs to the context's core and is touched there alone, with interrupts off.
// `share`, `users` and `threads` are under kernel_lock; `ran` is one word that any core may read.
//
// A context with a share is a sporadic server. Its capacity is cut into refills, each with the time
// from which it may be used; they always add up to the capacity. The first is being used; what was
// used of it comes back one period after it became usable, or after its context woke, whichever was
// later. So in no window does the context demand more than a periodic task would. What it overdraws
// is taken from the refills that come next, for as many periods as that takes: docs/scheduling.md.
#pragma once
#include "kernel/core/cpu.h"
#include "kernel/core/object.h"

enum timer_kind { TIMER_EVENT, TIMER_WAIT, TIMER_SC, TIMER_VLAPIC };

struct timer { // in the heap cpu->timers of core `core`; only that core touches it
    struct timer *up, *left, *right;
    uint64_t deadline; // TSC; 0: not armed
    uint8_t rank, kind;
    uint8_t core;      // changes on that core, under kernel_lock, when its thread leaves
};

#define SC_REFILLS 16u // a power of two, and more than sc.c can need

struct sc_refill { uint64_t when, amount; };

struct sc {
    struct object object;
    uint8_t core;
    uint8_t rate;          // the level of its share; LEVEL_BEST_EFFORT: it has none
    uint8_t level;         // at which it runs now
    uint8_t soft;          // without time it goes on as best effort
    struct list link;      // in cpu->queue[level]: it has ready threads, and time
    struct list ready;     // struct thread.queue; while the context runs, `current` is the first
    int64_t left;          // of the first refill
    uint64_t quantum_left; // after it was preempted; 0: a whole one
    int64_t ran;           // TSC ticks; while it runs, minus the TSC when it went on
    uint64_t period, amount;
    uint8_t grain;         // refills within 1 << grain ticks become one
    uint8_t first, refills;
    struct sc_refill refill[SC_REFILLS]; // a ring, sorted; the last at most a period later
    struct timer timer;    // when the first refill comes, while threads wait for it
    uint32_t share;        // in 1/1000 of the core
    uint32_t users;        // live threads that are on it or on the way to it
    struct list threads;   // struct thread.in_sc
};

// What it has run up to now. Any core.
static inline uint64_t sc_run_tsc(const struct sc *s, uint64_t now)
{
    int64_t ran = __atomic_load_n(&s->ran, __ATOMIC_RELAXED);
    return (uint64_t)ran + (ran < 0 ? now : 0);
}

// Must it be looked at before it runs on?
static inline bool sc_is_spent(const struct sc *s)
{
    return s->level != LEVEL_BEST_EFFORT && s->left <= 0;
}

// sc.c, on its core
void sc_queue(struct cpu *cpu, struct sc *s, bool front);   // at its level
void sc_unqueue(struct cpu *cpu, struct sc *s);
void sc_wake(struct cpu *cpu, struct sc *s);                // its first thread became ready
void sc_spent(struct cpu *cpu, struct sc *s, uint64_t now); // sc_is_spent(): the next refill
void sc_refilled(struct sc *s, uint64_t now);               // its timer
// These ticks, in which another ran, were spent for it; NULL: for nobody.
void sc_pays(struct cpu *cpu, struct sc *s, uint64_t ticks);
// kernel_lock held:
bool sc_end(struct sc *s); // is destroyed: its threads die, for they have no time; true: they have
void sc_release(struct sc *s);                              // is freed
void sc_bind(struct sc *s, struct thread *t);
void sc_unbind(struct thread *t);                           // from the one that it is on
// period in microseconds; share 0: best effort. NULL and *status on failure.
struct sc *sc_make(struct process *owner, uint32_t core, uint32_t share, uint64_t period,
                   enum status *status);
