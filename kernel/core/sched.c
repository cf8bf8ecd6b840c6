// SPDX-License-Identifier: BSD-2-Clause
// The scheduler of one core; each core runs it on its own queues and needs no lock.
//
// A thread is RUNNABLE (ready in its scheduling context), BLOCKED until thread_ready() says
// otherwise, MOVING between two contexts, or DEAD. A context that is awake and has time is in
// the queue of its level, else in none; it waits for its refill with all its threads, as one. Its
// timers that are due are its first work when it runs. The context that runs stays first in its
// level, and `current` first in its context, until pick() looks again. Whatever may change the
// choice sets CPU_WORK_RESCHED, and the way out of the kernel comes here. No step depends on how
// many threads or contexts there are.
#include "kernel/core/arch.h"
#include "kernel/core/grace.h"

#define DRAIN_MAX 16 // threads looked at in one go, as long as no lock is needed for one
#define ALARM_MAX 16 // contexts woken in one go
#define TIMER_MAX 8  // timers that end in one go

void sched_init_cpu(struct cpu *cpu)
{
    cpu->current = NULL;
    cpu->turns = 1; // no thread's before it has yielded
    cpu->deadline = UINT64_MAX;
    cpu->armed = UINT64_MAX;
    cpu->quantum = us_to_tsc(QUANTUM_US);
    cpu->switch_tsc = arch_now();
}

// Charges the context that runs with what has passed.
static inline void charge(struct cpu *cpu, uint64_t now)
{
    uint64_t ticks = now - cpu->switch_tsc;
    cpu->switch_tsc = now;
    cpu->quantum_left -= (int64_t)ticks;
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
    cpu->sc->ran -= (int64_t)ticks;
}

// Does another wait for the end of its quantum, or of its thread's?
static inline bool has_peers(const struct sc *s)
{
    return s->link.next != &s->link || s->ready.next != s->ready.prev;
}

// The hardware timer is written only when it would come too late: one that comes too early finds
// nothing to do and is set again then.
static inline void set_deadline(struct cpu *cpu, const struct sc *s, uint64_t now)
{
    uint64_t limit = UINT64_MAX;
    if (s) {
        if (s->level != LEVEL_BEST_EFFORT)
            limit = cpu->switch_tsc + (uint64_t)s->left;
        if (has_peers(s))
            limit = min_u64(limit, cpu->switch_tsc + (uint64_t)cpu->quantum_left);
        if (s->timers)
            limit = min_u64(limit, s->timers->deadline);
    }
    if (cpu->alarms)
        limit = min_u64(limit, cpu->alarms->deadline);
    cpu->deadline = limit;
    if (unlikely(limit < cpu->armed || cpu->armed <= now)) {
        cpu->armed = limit;
        arch_set_deadline(limit, now);
    }
}

// With RESCHED set pick() comes next, and does it.
void sched_refresh_deadline(struct cpu *cpu, uint64_t now)
{
    if (!(cpu->work & CPU_WORK_RESCHED))
        set_deadline(cpu, cpu->sc, now);
}

void sched_ready(struct cpu *cpu, struct thread *t)
{
    struct sc *s = t->sc;
    t->state = THREAD_RUNNABLE;
    if (!list_empty(&t->queue))
        return; // `current`, which was about to wait
    bool runs = s == cpu->sc && cpu->current;
    bool first = t->mode != THREAD_GUEST && (!runs || cpu->current->mode == THREAD_GUEST);
    if (first) // what a VMM does for its devices comes before its guest
        list_push_front(&s->ready, &t->queue);
    else
        list_push_back(&s->ready, &t->queue);
    cpu->turns++;
    if (!s->awake)
        sc_wake(cpu, s, arch_now());
    else if (runs && first)
        cpu->work |= CPU_WORK_RESCHED;
    else if (runs)
        sched_refresh_deadline(cpu, arch_now()); // now its quantum counts
}

// Does what t waits for hold? Others may say so in vain.
static bool thread_ready(const struct thread *t)
{
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
        timer_disarm(&t->wait_timer);
    if (t->mode == THREAD_GUEST)
        vcpu_woken(t->vcpu, arch_now());
    sched_ready(cpu, t);
}

// The end of a timer of s, which runs. A guest that halted is the commonest that waits for one.
static inline __attribute__((always_inline)) void
timer_expired(struct cpu *cpu, struct sc *s, struct timer *t, uint64_t now)
{
    struct thread *waiter;
    struct vcpu *v;
    if (likely(t->kind == TIMER_VLAPIC)) {
        v = container_of(t, struct vcpu, apic_timer);
        __atomic_fetch_or(&v->work, VCPU_WORK_TIMER, __ATOMIC_SEQ_CST);
        waiter = v->thread;
        if (waiter && waiter->state == THREAD_BLOCKED && waiter->mode == THREAD_GUEST) {
            vcpu_woken(v, now);
            waiter->state = THREAD_RUNNABLE;
            if (list_empty(&waiter->queue))
                list_push_back(&s->ready, &waiter->queue);
        }
    } else if (t->kind == TIMER_EVENT) {
        event_notice(&container_of(t, struct timer_object, timer)->notice);
    } else {
        waiter = container_of(t, struct thread, wait_timer);
        event_leave(waiter, ERR_TIMEOUT);
        thread_check(cpu, waiter);
    }
}

// Some of those that are due of s, which runs, at its expense. What is left is due still when it
// runs on: an interrupt comes at once.
static inline __attribute__((always_inline)) void
timers_run(struct cpu *cpu, struct sc *s, uint64_t now)
{
    unsigned left = TIMER_MAX;
    do {
        struct timer *t = heap_pop(&s->timers);
        t->sc = NULL;
        timer_expired(cpu, s, t, now);
    } while (timers_due(s, now) && --left);
}

// What t made is nobody's from now on. kernel_lock held.
static void leave_behind(struct thread *t)
{
    while (!list_empty(&t->timers))
        timer_leave(list_entry(t->timers.next, struct timer_object, in_thread));
    while (!list_empty(&t->vcpus))
        vcpu_go_with(list_entry(t->vcpus.next, struct vcpu, in_thread), NULL);
}

// t ends, on its core. Behind the last store another core may free it.
static void thread_end(struct cpu *cpu, struct thread *t)
{
    struct notice end = { 0 };
    list_remove(&t->queue); // pick() sees to its context
    timer_disarm(&t->wait_timer);
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
    if (--t->process->threads_alive == 0)
        end = process_ended(t->process);
    else if (t->process->status.end != PROCESS_ALIVE)
        process_kill(t->process);
    spin_unlock(&kernel_lock);
    event_notice(&end);
    __atomic_store_n(&t->state, THREAD_DEAD, __ATOMIC_RELEASE);
}

static void timer_go(struct timer *t, struct sc *to) { timer_arm(t, to, t->deadline); }

// The timers that go with t, at most THREAD_TIMERS and one for each vCPU: to no context, and then
// to that where it has come. They are t's core's at any time, as the vCPUs are, and only that core
// gives them away, under kernel_lock: a destroyer asks the core that they are on, and asks again if
// they have gone. kernel_lock held.
static void hand_over(struct thread *t, struct sc *to)
{
    timer_go(&t->wait_timer, to);
    list_for_each(l, &t->timers)
        timer_go(&list_entry(l, struct timer_object, in_thread)->timer, to);
    list_for_each(l, &t->vcpus)
        timer_go(&list_entry(l, struct vcpu, in_thread)->apic_timer, to);
}

// t goes to the context that sc_move() named, by way of that one's core, though it be this. False:
// kernel work on its behalf is under way; it is asked again at the end of that.
static bool thread_leave(struct cpu *cpu, struct thread *t)
{
    struct sc *to = t->move.sc;
    uint64_t now = arch_now();
    if (t->mode == THREAD_OP)
        return false;
    list_remove(&t->queue);
    spin_lock(&kernel_lock);
    hand_over(t, NULL);
    list_for_each(l, &t->vcpus) {
        struct vcpu *v = list_entry(l, struct vcpu, in_thread);
        v->run_before += sc_run_tsc(t->sc, now) - sc_run_tsc(to, now);
        if (v->object.stop != STOP_DONE) // else it has left, for good
            arch_vcpu_leave(v);
        __atomic_store_n(&v->core, to->core, __ATOMIC_RELEASE);
    }
    sc_unbind(t);
    to->users--; // what sc_move() counted for it
    sc_bind(to, t);
    spin_unlock(&kernel_lock);
    arch_thread_gone(t);
    if (cpu->current == t)
        cpu->current = NULL;
    t->move.state = t->state;
    t->state = THREAD_MOVING;
    __atomic_store_n(&t->core, to->core, __ATOMIC_SEQ_CST); // now it is that core's
    thread_push(t);
    return true;
}

static void thread_arrive(struct cpu *cpu, struct thread *t)
{
    t->state = t->move.state;
    spin_lock(&kernel_lock);
    hand_over(t, t->sc);
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
    cpu->turns++;
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

void sched_give_way(void)
{
    struct cpu *cpu = this_cpu();
    struct thread *t = cpu->current;
    if (t->sc->ready.next == t->sc->ready.prev) { // it is alone: let its core's other half run
        __builtin_ia32_pause();
        return;
    }
    list_remove(&t->queue);
    list_push_back(&t->sc->ready, &t->queue);
    cpu->work |= CPU_WORK_RESCHED;
}

void sched_yield_current(void)
{
    struct cpu *cpu = this_cpu();
    if (!has_peers(cpu->sc))
        return;
    cpu->quantum_left = 0;
    cpu->work |= CPU_WORK_RESCHED;
}

// The context that ran, before pick(). At the end of a quantum both it and its thread go behind
// their equals; else they go on first, with the rest of it.
static void put_back(struct cpu *cpu, struct sc *s, uint64_t now)
{
    struct thread *t = cpu->current;
    bool over = cpu->quantum_left <= 0;
    s->quantum_left = over ? 0 : (uint64_t)cpu->quantum_left;
    if (t && !(unlikely(t->asked) && thread_go(cpu, t))) {
        if (t->state != THREAD_RUNNABLE || over)
            list_remove(&t->queue);
        if (t->state == THREAD_RUNNABLE && over)
            list_push_back(&s->ready, &t->queue);
    }
    if (list_empty(&s->ready) && !timers_due(s, now)) {
        sc_sleep(cpu, s);
    } else if (over) {
        sc_unqueue(cpu, s);
        sc_queue(cpu, s, false);
    }
}

// Contexts that slept and whose timers are due, and those whose refill comes. False: none.
static inline __attribute__((always_inline)) bool alarms_run(struct cpu *cpu, uint64_t now)
{
    unsigned left = ALARM_MAX;
    if (!cpu->alarms || cpu->alarms->deadline > now)
        return false;
    do {
        struct sc *s = container_of(heap_pop(&cpu->alarms), struct sc, alarm);
        if (likely(!s->awake))
            sc_wake(cpu, s, now);
        else
            sc_refilled(cpu, s, now);
    } while (cpu->alarms && cpu->alarms->deadline <= now && --left);
    return true;
}

// Of the highest level that has one.
static inline struct sc *first(const struct cpu *cpu)
{
    unsigned level = LEVEL_COUNT - 1;
    while (level && !cpu->queue[level])
        level--;
    return cpu->queue[level];
}

// Chooses the core's next thread; NULL: none, or its context has ended timers in vain.
static inline struct thread *pick(struct cpu *cpu)
{
    uint64_t now = arch_now();
    struct sc *prev = cpu->sc, *s;
    grace_note(cpu);
    irqs_off(cpu, now);
    charge(cpu, now);
    cpu->turns++;
    (void)alarms_run(cpu, now);
    cpu->work &= ~CPU_WORK_RESCHED;
    if (prev)
        put_back(cpu, prev, now);
    cpu->current = NULL;
    while ((s = first(cpu)) && unlikely(sc_is_spent(s)))
        sc_spent(cpu, s, now);
    if (s != prev) {
        if (prev)
            prev->ran += (int64_t)now;
        if (s)
            s->ran -= (int64_t)now;
        cpu->sc = s;
    }
    if (s) {
        cpu->quantum_left = (int64_t)(s->quantum_left ? s->quantum_left : cpu->quantum);
        s->quantum_left = 0;
        if (unlikely(timers_due(s, now)))
            timers_run(cpu, s, now);
        if (likely(!list_empty(&s->ready)))
            cpu->current = list_entry(s->ready.next, struct thread, queue);
    }
    set_deadline(cpu, s, now);
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
        // The end of one woke somebody while the choice was made, or that of timers nobody.
        if (unlikely(cpu->work || (!t && cpu->sc))) {
            sched_window(cpu);
            continue;
        }
        if (unlikely(!t)) {
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

// The thread that runs holds a lock of its VM's, and has a little time for that.
static __attribute__((noinline)) bool lends(const struct thread *t, struct sc *s)
{
    return t && t->mode == THREAD_USER && !list_empty(&t->vcpus) &&
           list_entry(t->vcpus.next, struct vcpu, in_thread)->page->holds_lock && sc_lend(s);
}

void cpu_deadline_passed(uint64_t now)
{
    struct cpu *cpu = this_cpu();
    grace_note(cpu); // its callers hold nothing but the current thread
    charge(cpu, now);
    cpu->turns++;
    struct sc *s = cpu->sc;
    if (alarms_run(cpu, now))
        sched_not_charged(cpu, arch_now() - now);
    if (s && ((sc_is_spent(s) && !lends(cpu->current, s)) ||
              (cpu->quantum_left <= 0 && has_peers(s))))
        cpu->work |= CPU_WORK_RESCHED;
    if (s && !cpu->work && timers_due(s, now)) // else when its turn comes again
        timers_run(cpu, s, now);
    sched_refresh_deadline(cpu, now);
}
