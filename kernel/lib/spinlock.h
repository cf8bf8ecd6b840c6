// SPDX-License-Identifier: BSD-2-Clause
// Ticket spinlock. The kernel runs with interrupts off, so there is no irqsave variant.
#pragma once
#include "kernel/lib/types.h"

struct spinlock { uint32_t next, owner; };

static inline void spin_lock(struct spinlock *l)
{
    uint32_t ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
    while (__atomic_load_n(&l->owner, __ATOMIC_ACQUIRE) != ticket)
        __builtin_ia32_pause();
}

static inline void spin_unlock(struct spinlock *l)
{
    __atomic_store_n(&l->owner, l->owner + 1, __ATOMIC_RELEASE);
}
