// SPDX-License-Identifier: BSD-2-Clause
// Timers: per core a list sorted by deadline, touched by that core alone. What a timer's end means
// depends on its kind; the hardware is set by sched_refresh_deadline().
#include "kernel/core/syscall.h"

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
    struct event *e;
    switch (t->kind) {
    case TIMER_EVENT:
        o = container_of(t, struct timer_object, timer);
        e = object_to(ref_get(o->event), event);
        if (e)
            event_signal(e, o->bits);
        break;
    case TIMER_WAIT:
        event_timeout(container_of(t, struct thread, wait_timer));
        break;
    case TIMER_BUDGET:
        budget_refill(container_of(t, struct budget, refill), now);
        break;
    case TIMER_VLAPIC:
        vcpu_raise(container_of(t, struct vcpu, apic_timer), VCPU_WORK_TIMER);
        break;
    }
}

void timers_run(struct cpu *cpu, uint64_t now)
{
    while (!list_empty(&cpu->timers)) {
        struct timer *t = timer_of(cpu->timers.next);
        if (t->deadline > now)
            break;
        list_remove(&t->link);
        t->deadline = 0;
        timer_expired(t, now);
    }
}

SYSCALL(timer_create)
{
    struct process *self = caller_process();
    enum status status;
    spin_lock(&kernel_lock);
    struct event *e = HANDLE(self, a0, OBJ_EVENT, event, RIGHT_USE, &status);
    if (!e)
        return unlock_result(status);
    struct timer_object *t = object_to(object_alloc(OBJ_TIMER, self, &status), timer_object);
    if (!t)
        return unlock_result(status);
    timer_init(&t->timer, TIMER_EVENT, (uint8_t)this_cpu()->id);
    t->event = ref_to(&e->object);
    t->bits = a1;
    return unlock_result(handle_give(self, &t->object, RIGHT_ALL));
}

SYSCALL(timer_arm)
{
    enum status status;
    struct timer_object *t =
        HANDLE(caller_process(), a0, OBJ_TIMER, timer_object, RIGHT_USE, &status);
    if (!t)
        return result(status);
    if (t->timer.core != this_cpu()->id)
        return result(ERR_STATE);
    timer_arm(&t->timer, a1);
    return result(OK);
}
