// SPDX-License-Identifier: BSD-2-Clause
// The scheduler of one core; each core runs it on its own queues and needs no lock.
//
// A thread is RUNNABLE (ready in its scheduling context), BLOCKED until thread_ready() says
// otherwise, MOVING between two contexts, NEW or DEAD. A context with ready threads and with time
// is in the queue of its level, else in none; it waits for its refill with all its threads, as one.
// The context that runs stays first in its level, and `current` first in its context, until pick()
// looks again. Whatever may change the choice sets CPU_WORK_RESCHED, and the way out of the kernel
// comes here. No step depends on how many threads or contexts there are.
#include "kernel/core/arch.h"
#include "kernel/core/grace.h"

#define DRAIN_MAX 16 // threads looked at in one go, as long as no lock is needed for one

void sched_init_cpu(struct cpu *cpu)
{
    for (unsigned i = 0; i < LEVEL_COUNT; i++)
        list_init(&cpu->queue[i]);
    cpu->timers = NULL;
    cpu->queue_bits = 0;
    cpu->current = NULL;
    cpu->deadline = UINT64_MAX;
    cpu->armed = UINT64_MAX;
    cpu->run_limit = UINT64_MAX;
    cpu->quantum = arch_tsc_hz() / 1000000 * QUANTUM_US;
    cpu->switch_tsc = arch_now();
}

// Charges the context that runs with what has passed.
static inline void charge(struct cpu *cpu, uint64_t now)
{
    uint64_t ticks = now - cpu->switch_tsc;
    cpu->switch_tsc = now;
    if (unlikely(!cpu->sc))
        cpu->idle_tsc += ticks;
    else if (cpu->sc->level != LEVEL_BEST_EFFORT)
        cpu->sc->left -= (int64_t)ticks;
}

void sched_not_charged(struct cpu *cpu, uint64_t ticks)
{
    if (!cpu->sc)
        return;
    cpu->switch_tsc += ticks;
    cpu->quantum_end += ticks;
    cpu->sc->ran -= (int64_t)ticks;
}

// Is it alone in its list? (Then both its links are the list's head.)
static inline bool alone(const struct list *l) { return l->next == l->prev; }

// The hardware timer is written only when it would come too late: one that comes too early finds
// nothing to do and is set again then. With RESCHED set pick() comes next, and does it.
static inline void set_deadline(struct cpu *cpu, uint64_t now)
{
    const struct sc *s = cpu->sc;
    uint64_t limit = UINT64_MAX;
    if (cpu->work & CPU_WORK_RESCHED)
        return;
    if (s && cpu->current) {
        if (s->level != LEVEL_BEST_EFFORT)
            limit = cpu->switch_tsc + (uint64_t)s->left;
        if (cpu->quantum_end < limit && !(alone(&s->link) && alone(&cpu->current->queue)))
            limit = cpu->quantum_end;
    }
    cpu->run_limit = limit;
    if (cpu->timers)
        limit = min_u64(limit, cpu->timers->deadline);
    cpu->deadline = limit;
    if (unlikely(limit < cpu->armed || cpu->armed <= now)) {
        cpu->armed = limit;
        arch_set_deadline(limit, now);
    }
}

void sched_refresh_deadline(struct cpu *cpu, uint64_t now) { set_deadline(cpu, now); }

void sched_ready(struct cpu *cpu, struct thread *t)
{
    struct sc *s = t->sc;
    bool slept = list_empty(&s->ready);
    t->state = THREAD_RUNNABLE;
    if (!list_empty(&t->queue))
        return; // `current`, which was about to wait
    list_push_back(&s->ready, &t->queue);
    if (s != cpu->sc) {
        if (slept)
            sc_wake(cpu, s);
    } else if (cpu->current) {
        set_deadline(cpu, arch_now()); // now its quantum counts
    } else {
        cpu->work |= CPU_WORK_RESCHED;
    }
}

// Does what t waits for hold? Others may say so in vain.
static bool thread_ready(const struct thread *t)
{
    if (t->state == THREAD_NEW)
        return __atomic_load_n(&t->started, __ATOMIC_ACQUIRE);
    if (t->state != THREAD_BLOCKED)
        return false;
    if (t->mode == THREAD_GUEST)
        return __atomic_load_n(&t->vcpu->work, __ATOMIC_ACQUIRE) != 0;
    if (t->mode == THREAD_OP)
        return t->wait_timer.deadline == 0;
    return __atomic_load_n(&t->waiting, __ATOMIC_ACQUIRE) == NULL;
}

void thread_check(struct cpu *cpu, struct thread *t)
{
    if (!thread_ready(t))
        return;
    if (t->wait_timer.deadline)
        timer_arm(&t->wait_timer, 0);
    if (t->mode == THREAD_GUEST)
        vcpu_woken(t->vcpu);
    sched_ready(cpu, t);
}

// t is not ready any more. The context that runs is pick()'s.
static void unready(struct cpu *cpu, struct thread *t)
{
    list_remove(&t->queue);
    if (list_empty(&t->sc->ready) && !list_empty(&t->sc->link) && t->sc != cpu->sc)
        sc_unqueue(cpu, t->sc);
}

// What t made stays on this core without it. kernel_lock held.
static void leave_behind(struct thread *t)
{
    while (!list_empty(&t->timers))
        timer_go_with(list_entry(t->timers.next, struct timer_object, in_thread), NULL);
    while (!list_empty(&t->vcpus))
        vcpu_go_with(list_entry(t->vcpus.next, struct vcpu, in_thread), NULL);
}

// t ends, on its core. Behind the last store another core may free it.
static void thread_end(struct cpu *cpu, struct thread *t)
{
    struct event *e = NULL;
    uint64_t bits = 0;
    unready(cpu, t);
    timer_arm(&t->wait_timer, 0);
    event_leave(t, ERR_DEAD);
    arch_thread_gone(t);
    if (t->vcpu)
        vcpu_detach(t->vcpu);
    if (cpu->current == t)
        cpu->current = NULL;
    spin_lock(&kernel_lock);
    if (t->op != OP_NONE)
        op_abandon(t);
    leave_behind(t);
    if (t->asked & THREAD_MOVE)
        t->move.sc->users--;
    sc_unbind(t);
    if (--t->process->threads_alive == 0) {
        e = process_ended(t->process);
        bits = t->process->end_bits;
    } else if (t->process->status.end != PROCESS_ALIVE) {
        process_kill(t->process);
    }
    spin_unlock(&kernel_lock);
    if (e)
        event_signal(e, bits);
    __atomic_store_n(&t->state, THREAD_DEAD, __ATOMIC_RELEASE);
}

// One timer changes hands: the old core lets go of it, with its deadline, and the new one arms it.
static void timer_move(struct timer *t, uint8_t core)
{
    if (t->core == core) {
        timer_arm(t, t->deadline);
    } else {
        timer_remove(t);
        __atomic_store_n(&t->core, core, __ATOMIC_RELEASE);
    }
}

// The timers and the vCPUs that go with t: called by the old core and then by the new one. They are
// t's core's at any time, and only that core gives them away, under kernel_lock: a destroyer asks
// the core that they are on, and asks again if they have gone. kernel_lock held.
static void hand_over(struct thread *t, uint8_t core)
{
    timer_move(&t->wait_timer, core);
    list_for_each(l, &t->timers)
        timer_move(&list_entry(l, struct timer_object, in_thread)->timer, core);
    list_for_each(l, &t->vcpus) {
        struct vcpu *v = list_entry(l, struct vcpu, in_thread);
        timer_move(&v->apic_timer, core);
        if (v->core == core)
            continue;
        if (v->object.stop != STOP_DONE) // else it has left, for good
            arch_vcpu_leave(v);
        __atomic_store_n(&v->core, core, __ATOMIC_RELEASE);
    }
}

// t goes to the context that sc_move() named, and to its core. False: it is on this core, for that
// is the one, or for kernel work on its behalf is under way; it is asked again at the end of that.
static bool thread_leave(struct cpu *cpu, struct thread *t)
{
    struct sc *to = t->move.sc;
    bool stays = to->core == cpu->id;
    uint64_t now = arch_now();
    if (t->mode == THREAD_OP)
        return false;
    unready(cpu, t);
    spin_lock(&kernel_lock);
    if (!stays)
        hand_over(t, to->core);
    list_for_each(l, &t->vcpus)
        list_entry(l, struct vcpu, in_thread)->run_before +=
            sc_run_tsc(t->sc, now) - sc_run_tsc(to, now);
    sc_unbind(t);
    to->users--; // what sc_move() counted for it
    sc_bind(to, t);
    spin_unlock(&kernel_lock);
    if (stays) {
        __atomic_fetch_and(&t->asked, (uint8_t)~THREAD_MOVE, __ATOMIC_SEQ_CST);
        if (t->state == THREAD_RUNNABLE)
            sched_ready(cpu, t);
        else
            thread_check(cpu, t); // it began to wait just before, and was woken with the request
        return false;
    }
    arch_thread_gone(t);
    if (cpu->current == t)
        cpu->current = NULL;
    t->move.state = t->state;
    t->state = THREAD_MOVING;
    __atomic_store_n(&t->core, to->core, __ATOMIC_SEQ_CST); // now it is the new core's
    thread_push(t);
    return true;
}

static void thread_arrive(struct cpu *cpu, struct thread *t)
{
    t->state = t->move.state;
    spin_lock(&kernel_lock);
    hand_over(t, (uint8_t)cpu->id);
    spin_unlock(&kernel_lock);
    __atomic_fetch_and(&t->asked, (uint8_t)~THREAD_MOVE, __ATOMIC_SEQ_CST);
    if (t->state == THREAD_RUNNABLE)
        sched_ready(cpu, t);
}

// Does what t, which does not run, was asked to do; true: it is gone from this core.
static bool thread_go(struct cpu *cpu, struct thread *t)
{
    if (!(t->asked & THREAD_KILL))
        return thread_leave(cpu, t);
    thread_end(cpu, t);
    return true;
}

// What to do with a thread of this core that others, or it itself, have pushed; true: that took
// kernel_lock.
static bool thread_look(struct cpu *cpu, struct thread *t)
{
    bool arrives = t->state == THREAD_MOVING;
    __atomic_store_n(&t->remote_pending, 0, __ATOMIC_SEQ_CST); // from here on others push again
    if (t->state == THREAD_DEAD)
        return false;
    if (arrives)
        thread_arrive(cpu, t);
    bool asked = __atomic_load_n(&t->asked, __ATOMIC_SEQ_CST) != 0;
    if (asked && t == cpu->current)
        cpu->work |= CPU_WORK_RESCHED;
    else if (!asked || !thread_go(cpu, t))
        thread_check(cpu, t);
    return asked || arrives;
}

// What is left over has an interrupt of its own.
void cpu_drain(struct cpu *cpu)
{
    for (unsigned n = 0; n < DRAIN_MAX; n++) {
        struct thread *t = cpu->woken;
        if (!t)
            t = __atomic_exchange_n(&cpu->remote_wake, NULL, __ATOMIC_SEQ_CST);
        if (!t)
            return;
        cpu->woken = t->remote_next;
        if (unlikely(t->core != cpu->id))
            thread_push_again(t); // it has left
        else if (thread_look(cpu, t))
            break;
    }
    arch_send_ipi(cpu->id);
}

void sched_yield_current(void)
{
    struct cpu *cpu = this_cpu();
    if (alone(&cpu->sc->link) && alone(&cpu->current->queue))
        return;
    cpu->quantum_end = 0;
    cpu->work |= CPU_WORK_RESCHED;
}

// The context that ran, before pick(). At the end of a quantum both it and its thread go behind
// their equals; else they go on first, with the rest of it.
static void put_back(struct cpu *cpu, struct sc *s, uint64_t now)
{
    struct thread *t = cpu->current;
    bool over = now >= cpu->quantum_end;
    s->quantum_left = over ? 0 : cpu->quantum_end - now;
    if (t && !(unlikely(t->asked) && thread_go(cpu, t)) && t->sc == s) {
        if (t->state != THREAD_RUNNABLE || over)
            list_remove(&t->queue);
        if (t->state == THREAD_RUNNABLE && over)
            list_push_back(&s->ready, &t->queue);
    }
    bool sleeps = list_empty(&s->ready);
    if (sleeps || over)
        sc_unqueue(cpu, s);
    if (sleeps)
        s->quantum_left = 0;
    else if (over)
        sc_queue(cpu, s, false);
}

// Chooses the core's next thread; NULL: none.
static inline struct thread *pick(struct cpu *cpu)
{
    uint64_t now = arch_now();
    struct sc *prev = cpu->sc, *s = NULL;
    grace_note(cpu);
    irqs_off(cpu, now);
    charge(cpu, now);
    cpu->work &= ~CPU_WORK_RESCHED;
    if (prev)
        put_back(cpu, prev, now);
    cpu->current = NULL;
    while (cpu->queue_bits) {
        unsigned level = 31u ^ (unsigned)__builtin_clz(cpu->queue_bits);
        s = list_entry(cpu->queue[level].next, struct sc, link);
        if (likely(!sc_is_spent(s)))
            break;
        sc_spent(cpu, s, now);
        s = NULL;
    }
    if (s != prev) {
        if (prev)
            prev->ran += (int64_t)now;
        if (s)
            s->ran -= (int64_t)now;
        cpu->sc = s;
    }
    if (s) {
        cpu->quantum_end = now + (s->quantum_left ? s->quantum_left : cpu->quantum);
        s->quantum_left = 0;
        cpu->current = list_entry(s->ready.next, struct thread, queue);
    }
    set_deadline(cpu, now);
    return cpu->current;
}

void sched_window(struct cpu *cpu)
{
    irqs_on(cpu, arch_now());
    arch_interrupt_window();
    uint64_t now = arch_now();
    irqs_on(cpu, now); // an interrupt may have left that to its end
    irqs_off(cpu, now);
    if (now >= cpu->deadline)
        cpu_deadline_passed(now);
}

void sched_run(void)
{
    struct cpu *cpu = this_cpu();
    struct thread *loaded = cpu->current;
    for (;;) {
        if (unlikely(__atomic_load_n(&cpu->remote_wake, __ATOMIC_RELAXED)))
            cpu_drain(cpu);
        struct thread *t = cpu->current;
        if (!t || cpu->work || t->state != THREAD_RUNNABLE || t->asked)
            t = pick(cpu);
        if (t != loaded)
            loaded = NULL; // its memory may become another's by the time that t is loaded
        if (unlikely(cpu->work)) { // the end of one woke somebody while the choice was made
            sched_window(cpu);
            continue;
        }
        if (!t) {
            irqs_on(cpu, cpu->irqs_off ? arch_now() : 0);
            grace_idle(cpu);
            arch_idle();
        }
        if (t != loaded)
            arch_switch_to(t);
        loaded = t;
        if (t->mode == THREAD_OP) {
            irqs_off(cpu, arch_now());
            op_run(t);
            continue;
        }
        irqs_on(cpu, cpu->irqs_off ? arch_now() : 0);
        if (t->mode == THREAD_USER)
            arch_resume_user(t);
        arch_resume_guest(t->vcpu);
    }
}

void cpu_deadline_passed(uint64_t now)
{
    struct cpu *cpu = this_cpu();
    grace_note(cpu); // its callers hold nothing but the current thread
    charge(cpu, now);
    timers_run(cpu, now);
    if (cpu->sc && now >= cpu->run_limit && (sc_is_spent(cpu->sc) || now >= cpu->quantum_end))
        cpu->work |= CPU_WORK_RESCHED;
    set_deadline(cpu, now);
}
