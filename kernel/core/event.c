// SPDX-License-Identifier: BSD-2-Clause
// Events: 64 bits that threads signal and one thread waits for. Any core, under the event's lock.
//
// Whoever takes the waiter out of the event, under its lock, also sets the waiter's result and
// wakes it: a signal, the deadline, a kill and the event's end cannot meet. A thread that waits has
// t->waiting set; its core makes it runnable only once that is NULL.
#include "kernel/core/syscall.h"

// e->lock held.
static struct thread *take_waiter(struct event *e, int64_t status, uint64_t bits)
{
    struct thread *t = e->waiter;
    e->waiter = NULL;
    arch_thread_set_result(t, status, bits);
    __atomic_store_n(&t->waiting, NULL, __ATOMIC_RELEASE);
    return t;
}

void event_signal(struct event *e, uint64_t bits)
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
    if (woken)
        thread_wake(woken);
    if (v)
        vcpu_raise(v, VCPU_WORK_EVENT);
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

void event_timeout(struct thread *t)
{
    event_leave(t, ERR_TIMEOUT);
    thread_wake(t);
}

void event_end(struct event *e)
{
    struct thread *woken = NULL;
    spin_lock(&e->lock);
    if (e->waiter)
        woken = take_waiter(e, ERR_DEAD, 0);
    spin_unlock(&e->lock);
    if (woken)
        thread_wake(woken);
}

SYSCALL(event_create)
{
    struct process *self = caller_process();
    enum status status;
    spin_lock(&kernel_lock);
    struct object *o = object_alloc(OBJ_EVENT, self, &status);
    return unlock_result(o ? handle_give(self, o, RIGHT_ALL) : status);
}

SYSCALL(event_signal)
{
    enum status status;
    struct event *e = HANDLE(caller_process(), a0, OBJ_EVENT, event, RIGHT_USE, &status);
    if (!e)
        return result(status);
    event_signal(e, a1);
    return result(OK);
}

// With e->lock held: OK when bits are there, ERR_STATE when the thread must block, or the error.
static enum status decode_wait(const struct event *e, uint64_t mask, uint64_t deadline)
{
    if (e->bits & mask)
        return OK;
    if (e->waiter)
        return ERR_BUSY;
    return deadline && deadline <= arch_now() ? ERR_TIMEOUT : ERR_STATE;
}

SYSCALL(event_wait)
{
    struct thread *t = this_cpu()->current;
    enum status status;
    struct event *e = HANDLE(t->process, a0, OBJ_EVENT, event, RIGHT_WAIT, &status);
    if (!e)
        return result(status);
    if (!a1)
        return result(ERR_RANGE);
    spin_lock(&e->lock);
    status = decode_wait(e, a1, a2);
    if (status != ERR_STATE) {
        uint64_t taken = status == OK ? e->bits & a1 : 0;
        e->bits &= ~taken;
        spin_unlock(&e->lock);
        return (struct syscall_result){ status, taken };
    }
    e->waiter = t;
    e->mask = a1;
    t->waiting = e;
    thread_block(t);
    spin_unlock(&e->lock);
    if (a2)
        timer_arm(&t->wait_timer, a2);
    sched_run();
}
