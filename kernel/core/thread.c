// SPDX-License-Identifier: BSD-2-Clause
// Threads: their calls and their end. Lists and counts under kernel_lock; states belong to the
// thread's core (sched.c).
//
// Time is given out by PRIO_SYSTEM threads only: they choose cores, priorities and budgets. A
// thread that any other one makes runs on its maker's core, at its priority, from its budget.
#include "kernel/core/syscall.h"

struct thread *thread_make(struct process *p, uint32_t core, uint8_t priority,
                           enum status *status)
{
    struct thread *t = object_to(object_alloc(OBJ_THREAD, p, status), thread);
    if (!t)
        return NULL;
    t->process = p;
    t->core = (uint8_t)core;
    t->priority = priority;
    list_init(&t->queue);
    timer_init(&t->wait_timer, TIMER_WAIT, t->core);
    list_push_back(&p->threads, &t->in_process);
    p->threads_alive++;
    return t;
}

static enum status decode_create(struct process **p, const uint64_t a[5])
{
    const struct thread *t = this_cpu()->current;
    enum status status;
    *p = HANDLE(t->process, a[0], OBJ_PROCESS, process, RIGHT_USE, &status);
    if (!*p)
        return status;
    if (a[1] >= cpu_count || a[2] >= USER_END || a[3] > USER_END)
        return ERR_RANGE;
    if (t->priority != PRIO_SYSTEM && a[1] != t->core)
        return ERR_RIGHTS;
    return (*p)->status.end == PROCESS_ALIVE ? OK : ERR_STATE;
}

SYSCALL(thread_create)
{
    const struct thread *maker = this_cpu()->current;
    const uint64_t a[5] = { a0, a1, a2, a3, a4 };
    struct process *p;
    bool inherit = maker->priority != PRIO_SYSTEM;
    spin_lock(&kernel_lock);
    enum status status = decode_create(&p, a);
    if (status != OK)
        return unlock_result(status);
    int slot = handle_reserve(maker->process);
    if (slot < 0)
        return unlock_result(slot);
    struct thread *t =
        thread_make(p, (uint32_t)a1, inherit ? maker->priority : PRIO_BEST_EFFORT, &status);
    if (!t) {
        handle_clear(maker->process, (uint32_t)slot);
        return unlock_result(status);
    }
    if (inherit)
        t->budget = maker->budget;
    arch_thread_init(t, a2, a3, a4);
    handle_fill(maker->process, (uint32_t)slot, &t->object, RIGHT_ALL);
    return unlock_result(slot);
}

SYSCALL(thread_start)
{
    enum status status;
    spin_lock(&kernel_lock);
    struct thread *t = HANDLE(caller_process(), a0, OBJ_THREAD, thread, RIGHT_CONTROL, &status);
    if (!t)
        return unlock_result(status);
    if (t->started)
        return unlock_result(ERR_STATE);
    __atomic_store_n(&t->started, 1, __ATOMIC_SEQ_CST);
    spin_unlock(&kernel_lock);
    thread_wake(t);
    return result(OK);
}

SYSCALL(thread_kill)
{
    enum status status;
    struct thread *t = HANDLE(caller_process(), a0, OBJ_THREAD, thread, RIGHT_CONTROL, &status);
    if (!t)
        return result(status);
    thread_kill(t);
    return result(OK);
}

struct sched_args {
    struct thread *t;
    struct budget *budget;
};

static enum status decode_sched(struct sched_args *s, uint64_t h, uint64_t priority,
                                uint64_t budget)
{
    const struct thread *caller = this_cpu()->current;
    enum status status;
    s->budget = NULL;
    s->t = HANDLE(caller->process, h, OBJ_THREAD, thread, RIGHT_CONTROL, &status);
    if (!s->t)
        return status;
    if (caller->priority != PRIO_SYSTEM)
        return ERR_RIGHTS;
    if (priority < PRIO_BEST_EFFORT || priority >= PRIO_COUNT)
        return ERR_RANGE;
    if ((priority == PRIO_BUDGET) != (budget != 0))
        return ERR_RANGE;
    if (s->t->started)
        return ERR_STATE;
    if (!budget)
        return OK;
    s->budget = HANDLE(caller->process, budget, OBJ_BUDGET, budget, RIGHT_USE, &status);
    if (!s->budget)
        return status;
    return s->budget->core == s->t->core ? OK : ERR_RANGE;
}

SYSCALL(thread_sched)
{
    struct sched_args s;
    spin_lock(&kernel_lock);
    enum status status = decode_sched(&s, a0, a1, a2);
    if (status == OK) {
        s.t->priority = (uint8_t)a1;
        s.t->budget = s.budget ? ref_to(&s.budget->object) : (struct ref){ NULL, 0 };
    }
    return unlock_result(status);
}

SYSCALL(thread_yield)
{
    sched_yield_current();
    return result(OK);
}

// The process's end is what came first; the others of its threads follow.
void thread_exit_current(enum process_end end, const struct process_status *why)
{
    struct thread *t = this_cpu()->current;
    struct process *p = t->process;
    spin_lock(&kernel_lock);
    bool last = end != PROCESS_EXITED || p->threads_alive == 1;
    if (last && p->status.end == PROCESS_ALIVE) {
        p->status.end = end;
        p->status.status = why->status;
        p->status.rip = why->rip;
        p->status.address = why->address;
        p->status.error = why->error;
    }
    if (end != PROCESS_EXITED)
        list_for_each(l, &p->threads)
            if (l != &t->in_process)
                thread_kill(list_entry(l, struct thread, in_process));
    spin_unlock(&kernel_lock);
    __atomic_store_n(&t->killed, 1, __ATOMIC_SEQ_CST);
    sched_run();
}

SYSCALL(thread_exit)
{
    const struct process_status why = { .status = (int32_t)a0 };
    thread_exit_current(PROCESS_EXITED, &why);
}

