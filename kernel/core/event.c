// SPDX-License-Identifier: BSD-2-Clause
// Events: 64 bits that threads signal and one thread waits for. Any core, under the event's lock.
//
// Whoever takes the waiter out of the event, under its lock, also sets the waiter's result and
// wakes it: a signal, the deadline, a kill and the event's end cannot meet. A thread that waits has
// t->waiting set; its core makes it runnable only once that is NULL.
#include "kernel/core/syscall.h"

#define WAKE_US    100ull
#define WAKE_BURST 32u

// e->lock held.
static struct thread *take_waiter(struct event *e, int64_t status, uint64_t bits)
{
    struct thread *t = e->waiter;
    e->waiter = NULL;
    arch_thread_set_result(t, status, bits);
    __atomic_store_n(&t->waiting, NULL, __ATOMIC_RELEASE);
    return t;
}

bool event_signal(struct event *e, uint64_t bits)
{
    struct thread *woken = NULL;
    struct vcpu *v = NULL;
    spin_lock(&e->lock);
    e->bits |= bits;
    uint64_t taken = e->bits & e->mask;
    if (e->waiter && taken) {
        e->bits &= ~taken;
        woken = take_waiter(e, OK, taken);
    }
    if (e->bits)
        v = object_to(ref_get(e->vcpu), vcpu);
    spin_unlock(&e->lock);
    bool of_system = woken && thread_is_of_system(woken);
    if (woken)
        thread_wake(woken);
    if (v)
        vcpu_raise(v, VCPU_WORK_EVENT);
    return of_system;
}

void event_notice(const struct notice *n)
{
    struct event *e = object_to(ref_get(n->event), event);
    if (e)
        event_signal(e, n->bits);
}

void event_leave(struct thread *t, enum status status)
{
    struct event *e = __atomic_load_n(&t->waiting, __ATOMIC_ACQUIRE);
    if (!e)
        return;
    spin_lock(&e->lock);
    if (e->waiter == t)
        take_waiter(e, status, 0);
    spin_unlock(&e->lock);
}

void event_end(struct event *e)
{
    spin_lock(&e->lock);
    struct thread *woken = e->waiter ? take_waiter(e, ERR_DEAD, 0) : NULL;
    spin_unlock(&e->lock);
    if (woken)
        thread_wake(woken);
}

SYSCALL_LOCKED(event_create)
{
    enum status status;
    struct object *o = object_alloc(OBJ_EVENT, caller_process(), &status);
    return o ? handle_give(o) : (int)status;
}

// The entry is read once, for it may change at any time. Which bits a narrowed handle may signal
// stands beside it, so both are read under the lock.
static struct event *find_to_signal(const struct process *p, uint64_t h, uint64_t bits,
                                    enum status *status)
{
    uint8_t have = 0;
    struct object *o = handle_any(p, h, &have);
    if (likely(!(have & HANDLE_NARROW)))
        return object_to(handle_check(o, have, OBJ_EVENT, RIGHT_USE, status), event);
    spin_lock(&kernel_lock);
    struct event *e = handle_event(p, h, bits, status);
    spin_unlock(&kernel_lock);
    return e;
}

// A thread of the system is woken at the expense of whoever wakes it: once in WAKE_US, and
// WAKE_BURST times before that is looked at. Who is faster rests, so no flood of signals takes more
// of the system's time than that; it is counted per process.
SYSCALL(event_signal)
{
    struct thread *t = this_cpu()->current;
    enum status status;
    struct event *e = find_to_signal(t->process, a0, a1, &status);
    if (!e)
        return result(status);
    if (likely(!event_signal(e, a1)) || thread_is_of_system(t))
        return result(OK);
    uint64_t now = arch_now(), free = us_to_tsc(WAKE_US * WAKE_BURST);
    uint64_t paid = max_u64(__atomic_load_n(&t->process->wakes_paid, __ATOMIC_RELAXED), now);
    paid += us_to_tsc(WAKE_US); // of two threads at once one may go free
    __atomic_store_n(&t->process->wakes_paid, paid, __ATOMIC_RELAXED);
    if (paid - now <= free)
        return result(OK);
    t->op_state.w[0] = paid - free;
    op_begin(t, OP_REST);
}

enum op_progress rest_piece(struct thread *t)
{
    return arch_now() < t->op_state.w[0] ? OP_WAIT : OP_DONE;
}

SYSCALL(event_wait)
{
    struct thread *t = this_cpu()->current;
    enum status status;
    struct event *e = HANDLE(t->process, a0, event, RIGHT_WAIT, &status);
    if (!e)
        return result(status);
    if (!a1)
        return result(ERR_RANGE);
    spin_lock(&e->lock);
    uint64_t taken = e->bits & a1;
    if (taken || e->waiter || (a2 && a2 <= arch_now())) {
        status = taken ? OK : e->waiter ? ERR_BUSY : ERR_TIMEOUT;
        e->bits &= ~taken;
        spin_unlock(&e->lock);
        return (struct syscall_result){ status, taken };
    }
    e->waiter = t;
    e->mask = a1;
    t->waiting = e;
    t->state = THREAD_BLOCKED;
    spin_unlock(&e->lock);
    if (a2)
        timer_arm(&t->wait_timer, t->sc, a2);
    sched_run();
}
