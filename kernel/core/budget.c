// SPDX-License-Identifier: BSD-2-Clause
// Budgets: `amount` ticks of one core in each period, shared by the threads that have it. A
// budget's time is touched by its core alone; the shares that were promised of each core are
// under kernel_lock.
//
// A budget that is used up parks its threads until the next period begins. What it overdrew (the
// kernel finishes what it does) is a debt that the next period pays.
#include "kernel/core/syscall.h"

#define SHARE_ALL     1000u
#define PERIOD_MIN_US 100u
#define PERIOD_MAX_US 1000000u

bool budget_has_time(struct budget *b, uint64_t now)
{
    if (now >= b->period_end) {
        uint64_t periods = (now - b->period_end) / b->period + 1;
        b->period_end += periods * b->period;
        uint64_t debt = b->left < 0 ? (uint64_t)-b->left : 0, paid = periods * b->amount;
        b->left = (int64_t)(paid > debt ? min_u64(paid - debt, b->amount) : 0);
        if (paid < debt)
            b->left = -(int64_t)(debt - paid);
    }
    return b->left > 0;
}

void budget_park(struct budget *b, struct thread *t)
{
    t->state = THREAD_PARKED;
    list_push_back(&b->parked, &t->queue);
    if (!b->refill.deadline)
        timer_arm(&b->refill, b->period_end);
}

static void unpark_all(struct budget *b)
{
    while (!list_empty(&b->parked)) {
        struct thread *t = list_entry(b->parked.next, struct thread, queue);
        list_remove(&t->queue);
        sched_ready(this_cpu(), t);
    }
}

void budget_refill(struct budget *b, uint64_t now)
{
    if (budget_has_time(b, now))
        unpark_all(b);
    else if (!list_empty(&b->parked))
        timer_arm(&b->refill, b->period_end);
}

// Its references are dead already, so the threads go on as best effort.
void budget_stop(struct budget *b)
{
    timer_arm(&b->refill, 0);
    if (this_cpu()->budget == b)
        this_cpu()->budget = NULL;
    unpark_all(b);
}

void budget_release(struct budget *b) { cpus[b->core]->promised -= b->share; }

SYSCALL_LOCKED(budget_create)
{
    enum status status;
    if (this_cpu()->current->priority != PRIO_SYSTEM)
        return ERR_RIGHTS;
    if (a0 >= cpu_count || a1 < 1 || a1 > SHARE_ALL || a2 < PERIOD_MIN_US || a2 > PERIOD_MAX_US)
        return ERR_RANGE;
    if (cpus[a0]->promised + a1 > SHARE_ALL)
        return ERR_BUSY;
    struct budget *b = object_new(budget, caller_process(), &status);
    if (!b)
        return status;
    b->core = (uint8_t)a0;
    b->share = (uint32_t)a1;
    b->period = arch_tsc_hz() / 1000 * a2 / 1000;
    b->amount = b->period * a1 / SHARE_ALL;
    b->period_end = arch_now() + b->period;
    b->left = (int64_t)b->amount;
    timer_init(&b->refill, TIMER_BUDGET, b->core);
    list_init(&b->parked);
    int slot = handle_give(&b->object, RIGHT_ALL);
    if (slot > 0)
        cpus[a0]->promised += b->share;
    return slot;
}
