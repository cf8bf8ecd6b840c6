// SPDX-License-Identifier: BSD-2-Clause
//
// The board's lock, where it is not free. Any thread of the VMM.
#include "vmm/lock.h"

#include "libc/kcall.h"
#include "libc/start.h"

#define SPINS 64 // most exits are over by then

bool lock_take_slow(struct lock *lock, unsigned thread)
{
    const uint32_t bit = 1u << thread;
    uint64_t bits;

    for (unsigned i = 0; i < SPINS; i++) {
        if (__atomic_load_n(&lock->taken, __ATOMIC_RELAXED) == 0 && lock_try(lock))
            return true;
        __builtin_ia32_pause();
    }
    for (;;) {
        __atomic_fetch_or(&lock->sleepers, bit, __ATOMIC_SEQ_CST);
        if (lock_try(lock)) {
            __atomic_fetch_and(&lock->sleepers, ~bit, __ATOMIC_RELAXED);
            return true; // a signal that comes now ends the next sleep too early, no more
        }
        kcall_event_wait(lock->event[thread], VMM_BIT_LOCK | VMM_BIT_ASK, 0, &bits);
        if ((bits & VMM_BIT_ASK) != 0)
            return false; // a signal that comes now ends the next sleep too early, likewise
    }
}

// In turn, so that none waits for ever.
void lock_wake(struct lock *lock)
{
    uint32_t last = __atomic_load_n(&lock->last, __ATOMIC_RELAXED), thread;
    uint32_t all = __atomic_load_n(&lock->sleepers, __ATOMIC_RELAXED);
    uint32_t above = all & ~((2u << last) - 1);

    if (all == 0)
        return;
    thread = (uint32_t)__builtin_ctz(above ? above : all);
    __atomic_store_n(&lock->last, thread, __ATOMIC_RELAXED);
    __atomic_fetch_and(&lock->sleepers, ~(1u << thread), __ATOMIC_RELAXED);
    kcall_event_signal(lock->event[thread], VMM_BIT_LOCK);
}
