// SPDX-License-Identifier: BSD-2-Clause
// Scheduling contexts: their refills, their calls, and the threads that are on them (sc.h).
#include "kernel/core/syscall.h"

#define SHARE_ALL  1000u
#define MOVE_BATCH 32u

void sc_queue(struct cpu *cpu, struct sc *s, bool front)
{
    struct sc **first = &cpu->queue[s->level];
    s->queued = 1;
    if (*first)
        list_insert_before(&(*first)->link, &s->link);
    if (front || !*first)
        *first = s;
}

void sc_unqueue(struct cpu *cpu, struct sc *s)
{
    struct sc **first = &cpu->queue[s->level], *next = list_entry(s->link.next, struct sc, link);
    s->queued = 0;
    if (*first == s)
        *first = next == s ? NULL : next;
    list_remove(&s->link);
}

static void alarm_set(struct cpu *cpu, struct sc *s, uint64_t deadline)
{
    if (s->alarm.deadline)
        heap_remove(&cpu->alarms, &s->alarm);
    s->alarm.deadline = deadline;
    if (deadline)
        heap_insert(&cpu->alarms, &s->alarm);
}

static struct sc_refill *refill_at(struct sc *s, unsigned i)
{
    return &s->refill[(s->first + i) % SC_REFILLS];
}

static struct sc_refill *refill_first(struct sc *s) { return &s->refill[s->first]; }

// `amount` may be used from `when` on, which is not before that of any other. Those that come close
// together become one, at the later time: so there are few, and none comes too early.
static void refill_push(struct sc *s, uint64_t when, uint64_t amount)
{
    struct sc_refill *last = refill_at(s, s->refills - 1u);
    bool close = last->when >> s->grain == when >> s->grain;
    if (s->refills > 1 && (close || s->refills == SC_REFILLS)) {
        last->when = when;
        last->amount += amount;
    } else {
        *refill_at(s, s->refills++) = (struct sc_refill){ when, amount };
    }
}

// The first is used up, and more: what was overdrawn is taken from the next ones, before their
// time, and each comes back a period after its own. In turns of all of them at once first.
static void refill_next(struct sc *s)
{
    uint64_t over = (uint64_t)-s->left, turns = over / s->amount;
    over -= turns * s->amount;
    for (unsigned i = 0; turns && i < s->refills; i++)
        refill_at(s, i)->when += turns * s->period;
    do {
        struct sc_refill used = *refill_first(s);
        s->first = (s->first + 1u) % SC_REFILLS;
        s->refills--;
        refill_push(s, used.when + s->period, used.amount);
        s->left = (int64_t)(refill_first(s)->amount - over);
        over = s->left < 0 ? (uint64_t)-s->left : 0;
    } while (s->left <= 0);
}

// It slept: what it has used comes back a period after it began to, and all that it may use now
// counts from now on.
static __attribute__((noinline)) void refill_wake_anew(struct sc *s, uint64_t now)
{
    const struct sc_refill *head = refill_first(s);
    uint64_t usable = (uint64_t)s->left, used = head->amount - usable;
    if (used)
        refill_push(s, head->when + s->period, used);
    while (s->refills > 1 && refill_at(s, 1)->when <= now) {
        s->first = (s->first + 1u) % SC_REFILLS;
        s->refills--;
        usable += refill_first(s)->amount;
    }
    *refill_first(s) = (struct sc_refill){ now, usable };
    s->left = (int64_t)usable;
}

// Of one that has slept but a moment, what it has used and what it has not would come back as one,
// at the later time: then it stays one.
static inline __attribute__((always_inline)) void refill_wake(struct sc *s, uint64_t now)
{
    if (unlikely(s->left <= 0))
        refill_next(s);
    struct sc_refill *head = refill_first(s);
    if (head->when >= now)
        return;
    if (unlikely((head->when ^ now) >> s->grain) ||
        (s->refills > 1 && refill_at(s, 1)->when <= now))
        refill_wake_anew(s, now);
    else
        head->when = now;
}

// It is awake and in no queue: into that of its level, or to wait for its refill.
static inline __attribute__((always_inline)) void
place(struct cpu *cpu, struct sc *s, uint64_t now, bool front)
{
    bool has_time = s->rate == LEVEL_BEST_EFFORT || refill_first(s)->when <= now;
    if (!has_time && !s->alarm.deadline)
        alarm_set(cpu, s, refill_first(s)->when);
    if (!has_time && !s->soft)
        return;
    s->level = has_time ? s->rate : LEVEL_BEST_EFFORT;
    sc_queue(cpu, s, front && s->level != LEVEL_BEST_EFFORT);
}

// Does it run before the one that runs? Else its alarm, or the end of that one's turn, may be next.
static inline __attribute__((always_inline)) void
look_again(struct cpu *cpu, struct sc *s, bool front, uint64_t now)
{
    const struct sc *runs = cpu->sc;
    if (s->queued &&
        (!runs || s == runs || s->level > runs->level ||
         (front && s->level == runs->level && s->level != LEVEL_BEST_EFFORT)))
        cpu->work |= CPU_WORK_RESCHED;
    else
        sched_refresh_deadline(cpu, now);
}

// One with a share that slept goes before its equals: it demands no more by that, and they were
// promised no more than what it leaves.
inline void sc_wake(struct cpu *cpu, struct sc *s, uint64_t now)
{
    s->awake = 1;
    if (s->alarm.deadline)
        alarm_set(cpu, s, 0);
    if (s->rate != LEVEL_BEST_EFFORT)
        refill_wake(s, now);
    place(cpu, s, now, true);
    look_again(cpu, s, true, now);
}

void sc_sleep(struct cpu *cpu, struct sc *s)
{
    s->awake = 0;
    s->quantum_left = 0;
    sc_unqueue(cpu, s);
    if (s->timers || s->alarm.deadline)
        alarm_set(cpu, s, s->timers ? s->timers->deadline : 0);
}

bool sc_lend(struct sc *s)
{
    int64_t ticks = s->lent ? 0 : (int64_t)us_to_tsc(SC_LEND_US);
    s->lent += ticks;
    s->left += ticks;
    return s->left > 0;
}

void sc_spent(struct cpu *cpu, struct sc *s, uint64_t now)
{
    s->left -= s->lent;
    s->lent = 0;
    refill_next(s);
    if (refill_first(s)->when <= now)
        return;
    sc_unqueue(cpu, s);
    place(cpu, s, now, false);
}

void sc_refilled(struct cpu *cpu, struct sc *s, uint64_t now)
{
    if (s->queued)
        sc_unqueue(cpu, s); // it ran as best effort
    place(cpu, s, now, false);
    look_again(cpu, s, false, now);
}

bool sc_stop(struct cpu *cpu, struct sc *s)
{
    if (s == cpu->sc)
        return false;
    if (s->queued)
        sc_unqueue(cpu, s);
    alarm_set(cpu, s, 0);
    s->awake = 0;
    return true;
}

bool sc_end(struct sc *s)
{
    struct list *l = s->threads.next;
    for (unsigned i = 0; i < MOVE_BATCH && l != &s->threads; i++, l = l->next)
        process_kill_one(list_entry(l, struct thread, in_sc));
    return !s->users;
}

void sc_bind(struct sc *s, struct thread *t)
{
    t->sc = s;
    s->users++;
    list_push_back(&s->threads, &t->in_sc);
}

void sc_unbind(struct thread *t)
{
    list_remove(&t->in_sc);
    t->sc->users--;
    t->sc = NULL;
}

struct sc *sc_make(struct process *owner, uint32_t core, uint32_t share, uint64_t period,
                   enum status *status)
{
    struct sc *s = object_new(sc, owner, status);
    if (!s)
        return NULL;
    s->core = (uint8_t)core;
    s->rate = !share ? LEVEL_BEST_EFFORT : period == 1000 ? LEVEL_1MS
              : period == 2000 ? LEVEL_2MS : LEVEL_10MS;
    s->level = s->rate;
    s->share = share;
    s->period = us_to_tsc(period);
    s->amount = s->period * share / SHARE_ALL;
    while (4ull << s->grain < s->period)
        s->grain++; // an eighth to a quarter of the period
    s->refill[0] = (struct sc_refill){ arch_now(), s->amount };
    s->refills = 1;
    s->left = (int64_t)s->amount;
    list_init(&s->link);
    list_init(&s->ready);
    list_init(&s->threads);
    cpus[core]->promised += share;
    return s;
}

// Time is given out by the holder of the system object.
SYSCALL_LOCKED_ON(sc_create, system, RIGHT_CONTROL)
{
    enum status status;
    bool period = a3 == 1000 || a3 == 2000 || a3 == 10000;
    if (a1 >= cpu_count || a2 > SHARE_ALL || (a2 ? !period : a3 != 0) || a4 & ~SC_SOFT)
        return ERR_RANGE;
    if (cpus[a1]->promised + a2 > SHARE_ALL)
        return ERR_BUSY;
    if (handle_find(caller_process()) < 0)
        return ERR_FULL;
    struct sc *s = sc_make(caller_process(), (uint32_t)a1, (uint32_t)a2, a3, &status);
    if (!s)
        return status;
    s->soft = a4 & SC_SOFT;
    return handle_give(&s->object);
}

static void ask_to_move(struct thread *t, struct sc *to)
{
    if (__atomic_load_n(&t->asked, __ATOMIC_SEQ_CST) & THREAD_MOVE)
        return;
    t->move.sc = to;
    to->users++;
    __atomic_fetch_or(&t->asked, THREAD_MOVE, __ATOMIC_SEQ_CST);
    thread_push(t);
}

// Asks those of its threads that were not asked yet; each leaves when its core next looks, and
// takes its timers and vCPUs along. Who makes a thread meanwhile makes it on the context that he is
// on: so another call finds it.
SYSCALL_LOCKED_ON(sc_move, sc, RIGHT_CONTROL)
{
    enum status status = OK;
    struct process *self = caller_process();
    struct sc *to = HANDLE(self, a1, sc, RIGHT_USE, &status);
    struct thread *only = to && a2 ? HANDLE(self, a2, thread, RIGHT_CONTROL, &status) : NULL;
    if (!to || (a2 && !only))
        return status;
    if (to == sc)
        return ERR_RANGE;
    if (only && only->sc == sc)
        ask_to_move(only, to);
    for (unsigned i = 0; !a2 && i < MOVE_BATCH && !list_empty(&sc->threads); i++) {
        struct thread *t = list_entry(sc->threads.next, struct thread, in_sc);
        list_remove(&t->in_sc);
        list_push_back(&sc->threads, &t->in_sc);
        ask_to_move(t, to);
    }
    return only ? only->sc == sc : sc->users;
}
