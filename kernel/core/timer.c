// SPDX-License-Identifier: BSD-2-Clause
// Timers: per core a list sorted by deadline, touched by that core alone. What a timer's end means
// depends on its kind; the hardware is set by sched_refresh_deadline().
#include "kernel/core/syscall.h"

#define TURN_MAX 16

void timer_init(struct timer *t, enum timer_kind kind, uint8_t core)
{
    list_init(&t->link);
    t->deadline = 0;
    t->kind = (uint8_t)kind;
    t->core = core;
}

static struct timer *timer_of(struct list *l) { return list_entry(l, struct timer, link); }

void timer_arm(struct timer *t, uint64_t deadline)
{
    struct cpu *cpu = this_cpu();
    ASSERT(t->core == cpu->id);
    if (t->deadline)
        list_remove(&t->link);
    t->deadline = deadline;
    if (!deadline)
        return; // the hardware may fire for it: that does no harm
    struct list *at = cpu->timers.next;
    while (at != &cpu->timers && timer_of(at)->deadline <= deadline)
        at = at->next;
    list_insert_before(at, &t->link);
    if (cpu->timers.next == &t->link)
        sched_refresh_deadline(cpu, arch_now());
}

static void timer_expired(struct timer *t, uint64_t now)
{
    struct timer_object *o;
    struct thread *waiter;
    switch (t->kind) {
    case TIMER_EVENT:
        o = container_of(t, struct timer_object, timer);
        event_signal_ref(o->event, o->bits);
        break;
    case TIMER_WAIT:
        waiter = container_of(t, struct thread, wait_timer);
        event_leave(waiter, ERR_TIMEOUT);
        thread_wake(waiter);
        break;
    case TIMER_SC:
        sc_refilled(container_of(t, struct sc, timer), now);
        break;
    case TIMER_VLAPIC:
        vcpu_raise(container_of(t, struct vcpu, apic_timer), VCPU_WORK_TIMER);
        break;
    }
}

// What is left fires at once, in an interrupt of its own.
void timers_run(struct cpu *cpu, uint64_t now)
{
    for (unsigned i = 0; i < TURN_MAX && !list_empty(&cpu->timers); i++) {
        struct timer *t = timer_of(cpu->timers.next);
        if (t->deadline > now)
            break;
        list_remove(&t->link);
        t->deadline = 0;
        timer_expired(t, now);
    }
}

SYSCALL_LOCKED(timer_create)
{
    enum status status;
    struct event *event = handle_event(caller_process(), a0, a1, &status);
    if (!event)
        return status;
    struct timer_object *t = object_new(timer_object, caller_process(), &status);
    if (!t)
        return status;
    timer_init(&t->timer, TIMER_EVENT, (uint8_t)this_cpu()->id);
    t->event = ref_to(&event->object);
    t->bits = a1;
    list_push_back(&this_cpu()->current->timers, &t->in_thread);
    return handle_give(&t->object, RIGHT_ALL);
}

SYSCALL_ON(timer_arm, timer_object, RIGHT_USE)
{
    struct timer *t = &timer_object->timer;
    if (t->core != this_cpu()->id)
        return ERR_STATE;
    timer_arm(t, a1);
    return OK;
}
