// SPDX-License-Identifier: BSD-2-Clause
// Timers: per context a heap by deadline, touched by its core alone and served when the context
// runs: so nobody else waits for it, or pays. What a timer's end means depends on its kind; the
// hardware is set by sched_refresh_deadline().
//
// The heap is leftist: a node's `rank` is the length of its right-hand way, which is no longer than
// that of its left child. So right-hand ways have at most log2(n + 1) nodes, and whatever is done
// here goes along two of them, or upwards through ranks that grow by one.
#include "kernel/core/syscall.h"

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

void heap_insert(struct timer **heap, struct timer *t)
{
    t->left = t->right = NULL;
    t->rank = 1;
    meld(heap, NULL, *heap, t);
}

void heap_remove(struct timer **heap, struct timer *t)
{
    struct timer **at = heap, *up = t->up;
    if (up)
        at = up->left == t ? &up->left : &up->right;
    meld(at, up, t->left, t->right);
}

// The first. Mostly nothing is on its right.
struct timer *heap_pop(struct timer **heap)
{
    struct timer *t = *heap;
    if (unlikely(t->right))
        meld(heap, NULL, t->left, t->right);
    else if ((*heap = t->left))
        t->left->up = NULL;
    t->deadline = 0;
    return t;
}

void timer_arm(struct timer *t, struct sc *s, uint64_t deadline)
{
    struct cpu *cpu = this_cpu();
    if (t->sc) {
        ASSERT(t->sc->core == cpu->id);
        heap_remove(&t->sc->timers, t); // the hardware may fire for it: that does no harm
    }
    t->sc = deadline ? s : NULL;
    t->deadline = deadline;
    if (!t->sc)
        return;
    ASSERT(s->core == cpu->id);
    heap_insert(&s->timers, t);
    if (s->timers != t)
        return;
    if (s == cpu->sc)
        sched_refresh_deadline(cpu, arch_now());
    else if (!s->awake)
        sc_wake(cpu, s, arch_now()); // it sets its alarm when it sleeps again
}

void timer_leave(struct timer_object *o)
{
    timer_disarm(&o->timer);
    list_remove(&o->in_thread);
    if (o->home)
        o->home->timers_held--;
    o->home = NULL;
}

// It is this core's current thread's from now on: it was nobody's, or is another's of this core.
// kernel_lock held.
static enum status take(struct timer_object *o, struct thread *t)
{
    if (o->home && o->home->core != t->core)
        return ERR_STATE;
    if (t->timers_held == THREAD_TIMERS)
        return ERR_FULL;
    timer_leave(o);
    o->home = t;
    t->timers_held++;
    list_push_back(&t->timers, &o->in_thread);
    return OK;
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
    t->timer.kind = TIMER_EVENT;
    t->notice = (struct notice){ ref_to(&event->object), a1 };
    list_init(&t->in_thread);
    return handle_give(&t->object);
}

SYSCALL_ON(timer_arm, timer_object, RIGHT_USE)
{
    struct thread *t = this_cpu()->current;
    enum status status = OK;
    if (__atomic_load_n(&timer_object->home, __ATOMIC_RELAXED) != t) {
        spin_lock(&kernel_lock);
        status = take(timer_object, t);
        spin_unlock(&kernel_lock);
    }
    if (status == OK)
        timer_arm(&timer_object->timer, t->sc, a1);
    return status;
}
