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

enum timer_kind { TIMER_EVENT, TIMER_WAIT, TIMER_VLAPIC };

// A context's are in its heap, which its core alone touches. It looks there when the context runs;
// for one that sleeps, its `alarm` is in the core's heap.
struct timer {
    struct timer *up, *left, *right;
    struct sc *sc;     // in whose heap it is; NULL: in none
    uint64_t deadline; // TSC; 0: not armed
    uint8_t rank, kind;
};

#define SC_LEND_US 20u
#define SC_REFILLS 16u // a power of two, and more than sc.c can need

struct sc_refill { uint64_t when, amount; };

struct sc {
    struct object object;
    uint8_t core;
    uint8_t rate;          // the level of its share; LEVEL_BEST_EFFORT: it has none
    uint8_t level;         // at which it runs now
    uint8_t soft;          // without time it goes on as best effort
    uint8_t awake;         // it has ready threads, or timers that are due; else nobody looks at it
    uint8_t queued;        // it is awake, and has time
    struct list link;      // then: the ring of which cpu->queue[level] is the first
    struct list ready;     // struct thread.queue; while the context runs, `current` is the first
    int64_t left;          // of the first refill, with `lent`
    int64_t lent;          // of the one behind it: see sc_lend()
    uint64_t quantum_left; // after it was preempted; 0: a whole one
    int64_t ran;           // TSC ticks; while it runs, minus the TSC when it went on
    uint64_t period, amount;
    uint8_t grain;         // refills within 1 << grain ticks become one
    uint8_t first, refills;
    struct sc_refill refill[SC_REFILLS]; // a ring, sorted; the last at most a period later
    struct timer *timers;  // its threads'; the one with the next deadline
    struct timer alarm;    // in cpu->alarms: awake, when its refill comes; asleep, its next timer
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

static inline bool timers_due(const struct sc *s, uint64_t now)
{
    return s->timers && s->timers->deadline <= now;
}

// sc.c, on its core
void sc_queue(struct cpu *cpu, struct sc *s, bool front);   // at its level
void sc_unqueue(struct cpu *cpu, struct sc *s);
void sc_wake(struct cpu *cpu, struct sc *s, uint64_t now);  // it slept: let it run when it can
void sc_sleep(struct cpu *cpu, struct sc *s);               // nothing is ready
void sc_spent(struct cpu *cpu, struct sc *s, uint64_t now); // sc_is_spent(): the next refill
// It is spent, but its thread holds a lock: SC_LEND_US more, once, which sc_spent() takes back.
// True: it has them.
bool sc_lend(struct sc *s);
void sc_refilled(struct cpu *cpu, struct sc *s, uint64_t now); // awake, its alarm
bool sc_stop(struct cpu *cpu, struct sc *s); // its threads are gone; false: it is being left yet
// kernel_lock held:
bool sc_end(struct sc *s); // is destroyed: its threads die, for they have no time; true: they have
void sc_bind(struct sc *s, struct thread *t);
void sc_unbind(struct thread *t);                           // from the one that it is on
// period in microseconds; share 0: best effort. NULL and *status on failure.
struct sc *sc_make(struct process *owner, uint32_t core, uint32_t share, uint64_t period,
                   enum status *status);
