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
    struct thread *t = object_new(thread, p, status);
    if (!t)
        return NULL;
    t->process = p;
    t->core = (uint8_t)core;
    t->priority = priority;
    list_init(&t->queue);
    timer_init(&t->wait_timer, TIMER_WAIT, t->core);
    list_push_front(&p->threads, &t->in_process);
    p->threads_alive++;
    return t;
}

SYSCALL_LOCKED_ON(thread_create, process, RIGHT_USE)
{
    const struct thread *maker = this_cpu()->current;
    bool inherit = maker->priority != PRIO_SYSTEM;
    enum status status;
    if (a1 >= cpu_count || a2 >= USER_END || a3 > USER_END)
        return ERR_RANGE;
    if (inherit && a1 != maker->core)
        return ERR_RIGHTS;
    if (process->status.end != PROCESS_ALIVE)
        return ERR_STATE;
    int slot = handle_find(maker->process);
    if (slot < 0)
        return slot;
    struct thread *t = thread_make(process, (uint32_t)a1,
                                   inherit ? maker->priority : PRIO_BEST_EFFORT, &status);
    if (!t)
        return status;
    if (inherit)
        t->budget = maker->budget;
    arch_thread_init(t, a2, a3, a4);
    handle_fill(maker->process, slot, &t->object, RIGHT_ALL);
    return slot;
}

SYSCALL_LOCKED_ON(thread_start, thread, RIGHT_CONTROL)
{
    if (thread->started)
        return ERR_STATE;
    __atomic_store_n(&thread->started, 1, __ATOMIC_SEQ_CST);
    thread_wake(thread);
    return OK;
}

SYSCALL_LOCKED_ON(thread_kill, thread, RIGHT_CONTROL)
{
    process_kill_one(thread);
    return OK;
}

// A budget of that core by its handle, or a ref to nothing for 0.
static enum status find_budget(uint64_t h, uint32_t core, struct ref *budget)
{
    enum status status = OK;
    struct budget *b = h ? HANDLE(caller_process(), h, budget, RIGHT_USE, &status) : NULL;
    *budget = ref_to(b ? &b->object : NULL);
    return !b ? status : b->core == core ? OK : ERR_RANGE;
}

SYSCALL_LOCKED_ON(thread_sched, thread, RIGHT_CONTROL)
{
    struct ref budget;
    if (this_cpu()->current->priority != PRIO_SYSTEM)
        return ERR_RIGHTS;
    if (a1 < PRIO_BEST_EFFORT || a1 >= PRIO_COUNT || (a1 == PRIO_BUDGET) != (a2 != 0))
        return ERR_RANGE;
    if (thread->started)
        return ERR_STATE;
    enum status status = find_budget(a2, thread->core, &budget);
    if (status != OK)
        return status;
    thread->priority = (uint8_t)a1;
    thread->budget = budget;
    return OK;
}

// With the thread go its process's vCPU and timers, so it must be the only one of its process. It
// leaves when its core next looks.
SYSCALL_LOCKED_ON(thread_move, thread, RIGHT_CONTROL)
{
    struct ref budget = { 0 };
    if (this_cpu()->current->priority != PRIO_SYSTEM)
        return ERR_RIGHTS;
    enum status status = a1 < cpu_count ? find_budget(a2, (uint32_t)a1, &budget) : ERR_RANGE;
    if (status != OK)
        return status;
    if (!thread->started || thread->priority == PRIO_SYSTEM || thread->core == a1 ||
        thread->process->threads_alive != 1)
        return ERR_STATE;
    if (thread->asked)
        return ERR_BUSY;
    thread->move.core = (uint8_t)a1;
    thread->move.priority = a2 ? PRIO_BUDGET : PRIO_BEST_EFFORT;
    thread->move.budget = budget;
    __atomic_fetch_or(&thread->asked, THREAD_MOVE, __ATOMIC_SEQ_CST);
    thread_push(thread);
    return OK;
}

// The process's end is what came first; the others of its threads follow.
void thread_exit_current(enum process_end end, const struct process_status *why)
{
    struct thread *t = this_cpu()->current;
    struct process *p = t->process;
    spin_lock(&kernel_lock);
    bool last = end != PROCESS_EXITED || p->threads_alive == 1;
    if (last && p->status.end == PROCESS_ALIVE) {
        p->status = *why;
        p->status.end = end;
    }
    process_kill_one(t);
    if (end != PROCESS_EXITED)
        process_kill(p);
    spin_unlock(&kernel_lock);
    sched_run();
}

SYSCALL(thread_exit)
{
    const struct process_status why = { .status = (int32_t)a0 };
    thread_exit_current(PROCESS_EXITED, &why);
}

