// SPDX-License-Identifier: BSD-2-Clause
//
// The board's lock: of a VM with more than one vCPU, each thread of the VMM holds it while it
// touches the board, guest memory on the guest's behalf, or the C library.
//
// Who does not get it soon sleeps on an event of his own; who releases it wakes one of those that
// sleep. State: atomic, any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "kernel/abi/syscall.h"

#define LOCK_THREADS (VM_VCPUS + 1u)

struct lock {
    uint32_t taken;
    uint32_t sleepers; // threads, a bit each
    uint32_t last;     // to be woken
    handle_t event[LOCK_THREADS]; // of thread i, its own: is signalled VMM_BIT_LOCK
};

// Where it is not free. False: it has not been taken, for the thread's event had VMM_BIT_ASK.
bool lock_take_slow(struct lock *lock, unsigned thread);
void lock_wake(struct lock *lock);

static inline bool lock_try(struct lock *lock)
{
    uint32_t free = 0;

    return __atomic_compare_exchange_n(&lock->taken, &free, 1, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

// Between the store and the look stands a full barrier, as between the two of a thread that goes to
// sleep: one of them sees the other.
static inline void lock_release(struct lock *lock)
{
    __atomic_exchange_n(&lock->taken, 0, __ATOMIC_SEQ_CST);
    if (__builtin_expect(__atomic_load_n(&lock->sleepers, __ATOMIC_SEQ_CST) != 0, 0))
        lock_wake(lock);
}
