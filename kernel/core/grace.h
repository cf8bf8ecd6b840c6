// SPDX-License-Identifier: BSD-2-Clause
// Grace periods: when the memory of an object may become something else, though other cores look
// objects up without a lock.
//
// A core that looked a pointer up uses it and forgets it before it leaves the kernel; it takes no
// lock and writes nothing for that. Who wants to free (1) makes the object impossible to find (its
// generation changes), (2) takes a number, a full barrier, and (3) waits until every other core has
// proven that it was outside after (2). A core proves that in one of two ways:
//   - It notes the number, at a place where it holds no pointer from before: on the way in from
//     ring 3, a guest or idling by an interrupt, and when it picks another thread. The note is a
//     release store, behind all uses of what it held; the number comes by an acquire load, so if it
//     is the waiter's number or a later one, whatever the core looks up next sees (1).
//   - It is `outside`, halted. The word is set by a release store and taken back by an exchange,
//     before the core looks at anything. If the waiter, behind the barrier of (2), still reads it
//     set, the exchange is yet to come, and being a full barrier too it has all later look-ups see
//     (1).
// A core that does neither by itself, for it is in ring 3 or a guest without an exit, is asked by
// an interrupt: at most one in GRACE_IPI_US per core, whoever waits and however many. So a wait
// takes no longer than that, and the number serves all who took theirs before the note.
//
// Words of struct cpu, atomic; no locks.
#pragma once
#include "kernel/core/cpu.h"

#define GRACE_IPI_US 100

extern uint64_t grace_number; // atomic: the last that was taken

uint64_t grace_begin(void);       // (2)
bool grace_over(uint64_t number); // (3); asks

static inline void grace_note(struct cpu *cpu)
{
    uint64_t number = __atomic_load_n(&grace_number, __ATOMIC_ACQUIRE);
    __atomic_store_n(&cpu->grace_seen, number, __ATOMIC_RELEASE);
}

// The core halts, with nothing left to do.
static inline void grace_idle(struct cpu *cpu)
{
    __atomic_store_n(&cpu->outside, 1, __ATOMIC_RELEASE);
}

// First thing in an interrupt that ends that.
static inline void grace_awake(struct cpu *cpu)
{
    (void)__atomic_exchange_n(&cpu->outside, 0, __ATOMIC_SEQ_CST);
}
