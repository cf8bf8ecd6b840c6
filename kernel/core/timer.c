// SPDX-License-Identifier: BSD-2-Clause
// Timers: per core a heap by deadline, touched by that core alone. What a timer's end means depends
// on its kind, and who pays for it on whose it is; the hardware is set by sched_refresh_deadline().
//
// The heap is leftist: a node's `rank` is the length of its right-hand way, which is no longer than
// that of its left child. So right-hand ways have at most log2(n + 1) nodes, and whatever is done
// here goes along two of them, or upwards through ranks that grow by one.
#include "kernel/core/syscall.h"

#define TURN_MAX 16

void timer_init(struct timer *t, enum timer_kind kind, uint8_t core)
{
    *t = (struct timer){ .kind = (uint8_t)kind, .core = core };
}

static unsigned rank(const struct timer *t) { return t ? t->rank : 0; }

static void swap(struct timer **a, struct timer **b)
{
    struct timer *t = *a;
    *a = *b;
    *b = t;
}

// The heaps a and b become one, at *at below `up`. Those on the way get rank 0, which none can
// keep; behind them it goes on upwards until one does.
static void meld(struct timer **at, struct timer *up, struct timer *a, struct timer *b)
{
    while (a && b) {
        if (b->deadline < a->deadline)
            swap(&a, &b);
        *at = a;
        a->up = up;
        a->rank = 0;
        up = a;
        at = &a->right;
        a = a->right;
    }
    *at = a ? a : b;
    if (*at)
        (*at)->up = up;
    for (; up; up = up->up) {
        if (rank(up->left) < rank(up->right))
            swap(&up->left, &up->right);
        if (up->rank == rank(up->right) + 1)
            break;
        up->rank = (uint8_t)(rank(up->right) + 1);
    }
}

void timer_remove(struct timer *t)
{
    struct timer **at = &this_cpu()->timers, *up = t->up;
    if (up)
        at = up->left == t ? &up->left : &up->right;
    else if (*at != t)
        return; // it is in none
    meld(at, up, t->left, t->right);
    t->up = t->left = t->right = NULL;
}

void timer_arm(struct timer *t, uint64_t deadline)
{
    struct cpu *cpu = this_cpu();
    ASSERT(t->core == cpu->id);
    timer_remove(t);
    t->deadline = deadline;
    if (!deadline)
        return; // the hardware may fire for it: that does no harm
    t->rank = 1;
    meld(&cpu->timers, NULL, cpu->timers, t);
    if (cpu->timers == t)
        sched_refresh_deadline(cpu, arch_now());
}

// -> whose it is; NULL: a thread's that has ended.
static struct sc *timer_expired(struct timer *t, uint64_t now)
{
    const struct thread *home = NULL;
    struct timer_object *o;
    struct thread *waiter;
    struct vcpu *v;
    switch (t->kind) {
    case TIMER_EVENT:
        o = container_of(t, struct timer_object, timer);
        home = o->home;
        event_signal_ref(o->event, o->bits);
        break;
    case TIMER_WAIT:
        home = waiter = container_of(t, struct thread, wait_timer);
        event_leave(waiter, ERR_TIMEOUT);
        thread_wake(waiter);
        break;
    case TIMER_SC:
        sc_refilled(container_of(t, struct sc, timer), now);
        return container_of(t, struct sc, timer);
    case TIMER_VLAPIC:
        v = container_of(t, struct vcpu, apic_timer);
        home = v->home;
        vcpu_raise(v, VCPU_WORK_TIMER);
        break;
    }
    return home ? home->sc : NULL;
}

// Each is its owner's expense, whoever runs. What is left fires at once, in an interrupt of its
// own.
void timers_run(struct cpu *cpu, uint64_t now)
{
    struct timer *t = cpu->timers;
    uint64_t begun = now;
    for (unsigned i = 0; i < TURN_MAX && t && t->deadline <= now; i++, t = cpu->timers) {
        if (!begun)
            begun = arch_now();
        meld(&cpu->timers, NULL, t->left, t->right);
        t->left = t->right = NULL;
        t->deadline = 0;
        struct sc *owner = timer_expired(t, now);
        if (owner != cpu->sc && cpu->sc)
            sc_pays(cpu, owner, arch_now() - begun);
        begun = 0;
    }
}

void timer_go_with(struct timer_object *o, struct thread *t)
{
    if (o->home)
        list_remove(&o->in_thread);
    o->home = t;
    if (t)
        list_push_back(&t->timers, &o->in_thread);
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
    int slot = handle_give(&t->object, RIGHT_ALL);
    if (slot > 0) // else it is gone again
        timer_go_with(t, this_cpu()->current);
    return slot;
}

SYSCALL_ON(timer_arm, timer_object, RIGHT_USE)
{
    struct timer *t = &timer_object->timer;
    if (t->core != this_cpu()->id)
        return ERR_STATE;
    if (timer_object->home != this_cpu()->current) {
        spin_lock(&kernel_lock);
        timer_go_with(timer_object, this_cpu()->current);
        spin_unlock(&kernel_lock);
    }
    timer_arm(t, a1);
    return OK;
}
