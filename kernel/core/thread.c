// SPDX-License-Identifier: BSD-2-Clause
// Threads: their calls and their end. Lists and counts under kernel_lock; states belong to the
// thread's core (sched.c).
//
// A thread is made on a scheduling context: one that its maker has a handle of, or else the maker's
// own. So nobody gets time, or a core, that he was not given.
#include "kernel/core/syscall.h"

struct thread *thread_make(struct process *p, struct sc *sc, enum status *status)
{
    struct thread *t = object_new(thread, p, status);
    if (!t)
        return NULL;
    t->process = p;
    t->core = sc->core;
    t->state = THREAD_BLOCKED; // until thread_wake(): it waits for nothing
    list_init(&t->queue);
    list_init(&t->timers);
    list_init(&t->vcpus);
    t->wait_timer.kind = TIMER_WAIT;
    list_push_front(&p->threads, &t->in_process);
    p->threads_alive++;
    sc_bind(sc, t);
    return t;
}

SYSCALL_LOCKED_ON(thread_create, process, RIGHT_USE)
{
    struct process *self = caller_process();
    enum status status = OK;
    struct sc *sc =
        a1 ? HANDLE(self, a1, sc, RIGHT_USE, &status) : this_cpu()->current->sc;
    if (!sc)
        return status;
    if (a2 >= USER_CALLS_END || a3 > USER_CALLS_END)
        return ERR_RANGE;
    if (process->status.end != PROCESS_ALIVE)
        return ERR_STATE;
    if (handle_find(self) < 0)
        return ERR_FULL;
    struct thread *t = thread_make(process, sc, &status);
    if (!t)
        return status;
    arch_thread_init(t, a2, a3, a4);
    thread_wake(t);
    return handle_give(&t->object);
}

// The process's end is what came first; the others of its threads follow.
void thread_exit_current(enum process_end end, const struct process_status *why, bool all)
{
    struct thread *t = this_cpu()->current;
    struct process *p = t->process;
    spin_lock(&kernel_lock);
    bool last = all || p->threads_alive == 1;
    if (last && p->status.end == PROCESS_ALIVE) {
        p->status = *why;
        p->status.end = end;
    }
    process_kill_one(t);
    if (all)
        process_kill(p);
    spin_unlock(&kernel_lock);
    sched_run();
}

SYSCALL(thread_exit)
{
    const struct process_status why = { .status = (int32_t)a0 };
    thread_exit_current(PROCESS_EXITED, &why, a1 & 1);
}

