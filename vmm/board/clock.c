// SPDX-License-Identifier: BSD-2-Clause
//
// The VMM's timer list. A board has half a dozen timers, so a sorted list beats anything clever.
// Owned by the VMM's only thread; no lock.
#include "vmm/board/clock.h"

#include <stddef.h>

void clock_init(struct clock *clock, const struct clock_ops *ops, void *ctx)
{
    clock->ops = ops;
    clock->ctx = ctx;
    clock->head = NULL;
    clock->armed_ns = CLOCK_NEVER;
    clock->running = false;
}

// Tell the kernel only about changes: each one is a system call.
static void clock_rearm(struct clock *clock)
{
    uint64_t deadline = clock->head != NULL ? clock->head->deadline_ns : CLOCK_NEVER;

    if (clock->running || deadline == clock->armed_ns)
        return;
    clock->armed_ns = deadline;
    clock->ops->arm(clock->ctx, deadline);
}

static void vtimer_unlink(struct clock *clock, struct vtimer *timer)
{
    struct vtimer **at = &clock->head;

    if (timer->deadline_ns == CLOCK_NEVER)
        return;
    while (*at != timer)
        at = &(*at)->next;
    *at = timer->next;
    timer->next = NULL;
    timer->deadline_ns = CLOCK_NEVER;
}

void clock_run(struct clock *clock, uint64_t now_ns)
{
    // The kernel's timer is one-shot. Forget it only if it must have fired: an early call (the
    // VMM polls after other events) leaves it armed.
    if (clock->armed_ns <= now_ns)
        clock->armed_ns = CLOCK_NEVER;
    clock->running = true;
    while (clock->head != NULL && clock->head->deadline_ns <= now_ns) {
        struct vtimer *timer = clock->head;
        vtimer_unlink(clock, timer);
        timer->ops->fire(timer->ctx, now_ns);
        // A period shorter than the time that this takes must not keep us here for ever.
        if (timer->deadline_ns <= now_ns)
            break;
    }
    clock->running = false;
    clock_rearm(clock);
}

void vtimer_init(struct vtimer *timer, const struct vtimer_ops *ops, void *ctx)
{
    timer->ops = ops;
    timer->ctx = ctx;
    timer->deadline_ns = CLOCK_NEVER;
    timer->next = NULL;
}

void vtimer_arm(struct clock *clock, struct vtimer *timer, uint64_t deadline_ns)
{
    struct vtimer **at = &clock->head;

    if (timer->deadline_ns == deadline_ns)
        return;
    vtimer_unlink(clock, timer);
    if (deadline_ns != CLOCK_NEVER) {
        while (*at != NULL && (*at)->deadline_ns <= deadline_ns)
            at = &(*at)->next;
        timer->deadline_ns = deadline_ns;
        timer->next = *at;
        *at = timer;
    }
    clock_rearm(clock);
}

void vtimer_cancel(struct clock *clock, struct vtimer *timer)
{
    vtimer_arm(clock, timer, CLOCK_NEVER);
}
