// SPDX-License-Identifier: BSD-2-Clause
// The scheduler of one core; each core runs it on its own queues and needs no lock.
//
// A thread is RUNNABLE (in a queue, or the core's current one), BLOCKED until thread_ready() says
// otherwise, PARKED because its budget is used up, MOVING between two cores, NEW or DEAD. `current`
// is in no queue while it runs; sched_yield_current() puts it there early, and pick() puts it back
// when something better came. Whatever may change the choice sets CPU_WORK_RESCHED, and the way out
// of the kernel comes here.
#include "kernel/core/arch.h"
#include "kernel/core/grace.h"

#define DRAIN_MAX 16 // threads looked at in one go

void sched_init_cpu(struct cpu *cpu)
{
    for (unsigned i = 0; i < PRIO_COUNT; i++)
        list_init(&cpu->queue[i]);
    list_init(&cpu->timers);
    cpu->queue_bits = 0;
    cpu->current = NULL;
    cpu->deadline = UINT64_MAX;
    cpu->armed = UINT64_MAX;
    cpu->run_limit = UINT64_MAX;
    cpu->quantum = arch_tsc_hz() / 1000000 * QUANTUM_US;
    cpu->switch_tsc = arch_now();
}

static inline void enqueue(struct cpu *cpu, struct thread *t, bool front)
{
    unsigned priority = t->priority;
    struct list *queue = &cpu->queue[priority];
    list_insert_before(front ? queue->next : queue, &t->queue);
    t->run_queue = queue;
    cpu->queue_bits |= 1u << priority;
}

static inline void dequeue(struct cpu *cpu, struct thread *t, unsigned priority)
{
    list_remove(&t->queue);
    if (list_empty(&cpu->queue[priority]))
        cpu->queue_bits &= ~(1u << priority);
}

// Charges the budget of `current` with what has passed.
static inline void charge(struct cpu *cpu, uint64_t now)
{
    uint64_t ticks = now - cpu->switch_tsc;
    cpu->switch_tsc = now;
    if (unlikely(!cpu->current))
        cpu->idle_tsc += ticks;
    else if (cpu->budget)
        cpu->budget->left -= (int64_t)ticks;
}

// The hardware timer is written only when it would come too late: one that comes too early finds
// nothing to do and is set again then. b: the budget of `current`.
static inline void set_deadline(struct cpu *cpu, struct budget *b, uint64_t now)
{
    struct thread *t = cpu->current;
    uint64_t limit = UINT64_MAX;
    // With RESCHED set the limit has passed, and pick() comes next.
    if (t && !(cpu->work & CPU_WORK_RESCHED)) {
        if (b)
            limit = b->left > 0 ? cpu->switch_tsc + (uint64_t)b->left : cpu->switch_tsc;
        if ((cpu->queue_bits >> t->priority & 1) && t->quantum_end < limit)
            limit = t->quantum_end;
    }
    cpu->run_limit = limit;
    if (!list_empty(&cpu->timers))
        limit = min_u64(limit, list_entry(cpu->timers.next, struct timer, link)->deadline);
    cpu->deadline = limit;
    if (unlikely(limit < cpu->armed || cpu->armed <= now)) {
        cpu->armed = limit;
        arch_set_deadline(limit);
    }
}

void sched_refresh_deadline(struct cpu *cpu, uint64_t now)
{
    set_deadline(cpu, cpu->current ? thread_budget(cpu->current) : NULL, now);
}

void sched_ready(struct cpu *cpu, struct thread *t)
{
    uint64_t now = arch_now();
    struct budget *b = thread_budget(t);
    if (b && !budget_has_time(b, now)) {
        budget_park(b, t);
        return;
    }
    if (!b && t->priority == PRIO_BUDGET)
        t->priority = PRIO_BEST_EFFORT; // its budget was destroyed
    // One that slept goes before its equals that have budgets: none of them can lose by it.
    bool first = t->state == THREAD_BLOCKED && b;
    t->state = THREAD_RUNNABLE;
    enqueue(cpu, t, first);
    if (!cpu->current || t->priority > cpu->current->priority)
        cpu->work |= CPU_WORK_RESCHED;
    else if (t->priority == cpu->current->priority && first) {
        cpu->current->quantum_end = now;
        cpu->work |= CPU_WORK_RESCHED;
    } else if (t->priority == cpu->current->priority)
        sched_refresh_deadline(cpu, now); // now its quantum counts
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

// Out of the queue or the budget that it waits in.
static void unqueue(struct cpu *cpu, struct thread *t)
{
    if (t->state == THREAD_RUNNABLE && !list_empty(&t->queue))
        dequeue(cpu, t, t->priority);
    else
        list_remove(&t->queue);
}

// t ends, on its core. Behind the last store another core may free it.
static void thread_end(struct cpu *cpu, struct thread *t)
{
    struct event *e = NULL;
    uint64_t bits = 0;
    unqueue(cpu, t);
    timer_arm(&t->wait_timer, 0);
    event_leave(t, ERR_DEAD);
    arch_thread_gone(t);
    if (t->vcpu)
        vcpu_detach(t->vcpu, t);
    if (cpu->current == t)
        cpu->current = NULL;
    spin_lock(&kernel_lock);
    if (t->op != OP_NONE)
        op_abandon(t);
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
// One that is another core's, for its process had a thread there once, stays as it is.
static void timer_move(struct timer *t, uint8_t core)
{
    if (t->core != this_cpu()->id)
        return;
    if (t->core == core) {
        timer_arm(t, t->deadline);
    } else {
        list_remove(&t->link);
        __atomic_store_n(&t->core, core, __ATOMIC_RELEASE);
    }
}

// The timers and the vCPU of t's process, which only its core touches: called by the old core and
// then by the new one. kernel_lock held.
static void hand_over(struct thread *t)
{
    uint8_t core = t->move.core;
    timer_move(&t->wait_timer, core);
    list_for_each(l, &t->process->objects) {
        struct object *o = list_entry(l, struct object, owned);
        if (o->type == OBJ_TIMER)
            timer_move(&object_as(o, timer_object)->timer, core);
        if (o->type != OBJ_VCPU)
            continue;
        struct vcpu *v = object_as(o, vcpu);
        timer_move(&v->apic_timer, core);
        if (v->core == core || v->core != this_cpu()->id)
            continue;
        if (v->object.stop != STOP_DONE) // else it has left, for good
            arch_vcpu_leave(v);
        __atomic_store_n(&v->core, core, __ATOMIC_RELEASE);
    }
}

// t goes to the core that thread_move() named. False: not now, for kernel work on its behalf is
// under way (it is asked again at the end of that), or not at all, for it shares its process.
static bool thread_leave(struct cpu *cpu, struct thread *t)
{
    if (t->mode == THREAD_OP)
        return false;
    spin_lock(&kernel_lock);
    bool alone = t->process->threads_alive == 1;
    if (alone) {
        unqueue(cpu, t);
        hand_over(t);
    } else {
        __atomic_fetch_and(&t->asked, (uint8_t)~THREAD_MOVE, __ATOMIC_SEQ_CST);
    }
    spin_unlock(&kernel_lock);
    if (!alone)
        return false;
    arch_thread_gone(t);
    if (cpu->current == t)
        cpu->current = NULL;
    t->move.state = t->state == THREAD_BLOCKED ? THREAD_BLOCKED : THREAD_RUNNABLE;
    t->state = THREAD_MOVING;
    __atomic_store_n(&t->core, t->move.core, __ATOMIC_SEQ_CST); // now it is the new core's
    thread_push(t);
    return true;
}

static void thread_arrive(struct cpu *cpu, struct thread *t)
{
    t->state = t->move.state;
    t->priority = t->move.priority;
    t->budget = t->move.budget;
    t->quantum_left = 0;
    spin_lock(&kernel_lock);
    hand_over(t);
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

void cpu_drain(struct cpu *cpu)
{
    struct thread *next, *t = __atomic_exchange_n(&cpu->remote_wake, NULL, __ATOMIC_SEQ_CST);
    for (unsigned n = 0; t; t = next) {
        next = t->remote_next;
        if (unlikely(++n > DRAIN_MAX)) { // the rest has an interrupt of its own
            thread_push_again(t);
            arch_send_ipi(cpu->id);
            continue;
        }
        if (unlikely(t->core != cpu->id)) {
            thread_push_again(t);
            continue;
        }
        __atomic_store_n(&t->remote_pending, 0, __ATOMIC_SEQ_CST); // from here on others push again
        if (t->state == THREAD_DEAD)
            continue;
        if (t->state == THREAD_MOVING)
            thread_arrive(cpu, t);
        bool asked = __atomic_load_n(&t->asked, __ATOMIC_SEQ_CST) != 0;
        if (asked && t == cpu->current)
            cpu->work |= CPU_WORK_RESCHED;
        else if (!asked || !thread_go(cpu, t))
            thread_check(cpu, t);
    }
}

void sched_yield_current(void)
{
    struct cpu *cpu = this_cpu();
    struct thread *t = cpu->current;
    if (!(cpu->queue_bits >> t->priority) || !list_empty(&t->queue))
        return;
    enqueue(cpu, t, false);
    cpu->work |= CPU_WORK_RESCHED;
}

static inline struct thread *take(struct cpu *cpu)
{
    if (!cpu->queue_bits)
        return NULL;
    unsigned priority = 31u ^ (unsigned)__builtin_clz(cpu->queue_bits);
    struct thread *t = list_entry(cpu->queue[priority].next, struct thread, queue);
    dequeue(cpu, t, priority);
    return t;
}

// `current` before pick(). One that is preempted goes on first among its equals, with the rest of
// its quantum.
static void put_back(struct cpu *cpu, struct thread *t, uint64_t now)
{
    bool rest = now < t->quantum_end;
    if (unlikely(t->asked) && thread_go(cpu, t))
        return;
    if (t->state != THREAD_RUNNABLE)
        return;
    t->quantum_left = rest ? t->quantum_end - now : 0;
    if (list_empty(&t->queue)) // asked, it may stand there already and yet have to stay
        enqueue(cpu, t, rest);
}

// May t run now? Else it is parked, or queued again without the budget that it has lost.
static inline bool may_run(struct cpu *cpu, struct thread *t, struct budget **b, uint64_t now)
{
    *b = thread_budget(t);
    if (*b) {
        if (likely(now < (*b)->period_end && (*b)->left > 0))
            return true;
        if (budget_has_time(*b, now))
            return true;
        budget_park(*b, t);
        return false;
    }
    if (likely(t->priority != PRIO_BUDGET))
        return true;
    t->priority = PRIO_BEST_EFFORT;
    enqueue(cpu, t, false);
    return false;
}

// Chooses the core's next thread; NULL: none.
static inline struct thread *pick(struct cpu *cpu)
{
    uint64_t now = arch_now();
    struct thread *prev = cpu->current, *t;
    struct budget *b = NULL;
    grace_note(cpu);
    irqs_off(cpu, now);
    charge(cpu, now);
    cpu->work &= ~CPU_WORK_RESCHED;
    if (prev)
        prev->ran += (int64_t)now;
    if (prev && (list_empty(&prev->queue) || unlikely(prev->asked)))
        put_back(cpu, prev, now);
    cpu->current = NULL;
    while ((t = take(cpu)) && unlikely(!may_run(cpu, t, &b, now)))
        continue;
    cpu->budget = t ? b : NULL;
    if (t) {
        t->ran -= (int64_t)now;
        if (t != prev || now >= t->quantum_end)
            t->quantum_end = now + (t->quantum_left ? t->quantum_left : cpu->quantum);
        t->quantum_left = 0;
    }
    cpu->current = t;
    set_deadline(cpu, cpu->budget, now);
    return t;
}

void sched_run(void)
{
    struct cpu *cpu = this_cpu();
    struct thread *loaded = cpu->current;
    for (;;) {
        if (unlikely(__atomic_load_n(&cpu->remote_wake, __ATOMIC_RELAXED)))
            cpu_drain(cpu);
        struct thread *t = cpu->current;
        // One that blocked and was woken before this is in its queue: as `current` it must not be.
        if (!t || cpu->work || t->state != THREAD_RUNNABLE || t->asked || !list_empty(&t->queue))
            t = pick(cpu);
        if (unlikely(cpu->work))
            continue; // the end of another one woke somebody while the choice was made
        irqs_on(cpu, cpu->irqs_off ? arch_now() : 0);
        if (!t) {
            grace_idle(cpu);
            arch_idle();
        }
        if (t != loaded)
            arch_switch_to(t);
        loaded = t;
        if (t->mode == THREAD_USER)
            arch_resume_user(t);
        if (t->mode == THREAD_GUEST)
            arch_resume_guest(t->vcpu);
        irqs_off(cpu, arch_now());
        op_run(t);
    }
}

void cpu_deadline_passed(uint64_t now)
{
    struct cpu *cpu = this_cpu();
    grace_note(cpu); // its callers hold nothing but the current thread
    charge(cpu, now);
    timers_run(cpu, now);
    struct thread *t = cpu->current;
    struct budget *b = t ? thread_budget(t) : NULL;
    if (t && now >= cpu->run_limit && !(cpu->work & CPU_WORK_RESCHED)) {
        if (b && !budget_has_time(b, now))
            cpu->work |= CPU_WORK_RESCHED;
        else if (now >= t->quantum_end)
            sched_yield_current();
    }
    set_deadline(cpu, b, now);
}
