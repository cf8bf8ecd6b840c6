// SPDX-License-Identifier: BSD-2-Clause
// What must hold: at any time, and when every core is outside of the kernel. What the hardware
// could do wrong is looked at in hw_check().
#include "tests/torture/torture.h"

#define CHECK(x, ...)                                                                              \
    do {                                                                                           \
        if (!(x))                                                                                  \
            panic("invariant " #x ": " __VA_ARGS__);                                               \
    } while (0)

#define LIST_MAX 100000u

static const struct thread *thread_of(uint32_t id)
{
    struct object *o = object_by_id(id);
    return o && o->type == OBJ_THREAD ? object_as(o, thread) : NULL;
}

// Who runs on it: in the kernel, a thread that has just gone may still be its current one.
static const struct thread *runs(uint32_t core)
{
    const struct thread *t = cpus[core]->current;
    return t && (fake.state[core] != FAKE_KERNEL || t->core == core) ? t : NULL;
}

void invariants_check(void)
{
    figures->checks++;
    for (uint32_t i = 0; i < cpu_count; i++)
        for (uint32_t k = i + 1; k < cpu_count; k++)
            CHECK(!runs(i) || runs(i) != runs(k), "thread %u on cores %u and %u",
                  runs(i)->object.id, i, k);
}

static unsigned list_check(const struct list *l)
{
    unsigned n = 0;
    for (const struct list *p = l->next; p != l; p = p->next) {
        CHECK(p->next->prev == p && p->prev->next == p, "a list's links");
        CHECK(++n < LIST_MAX, "an endless list");
    }
    return n;
}

// Contexts in a core's queues, and the threads that are ready in them.
static unsigned check_queues(struct cpu *cpu)
{
    unsigned queued = 0;
    for (unsigned level = 0; level < LEVEL_COUNT; level++) {
        const struct sc *first = cpu->queue[level], *s = first;
        if (first)
            (void)list_check(&first->link);
        for (unsigned n = 0; s && (s != first || !n); n++) {
            CHECK(s->core == cpu->id && s->level == level && s->awake && s->queued,
                  "context %u in a queue", s->object.id);
            queued += !list_empty(&s->ready);
            s = list_entry(s->link.next, struct sc, link);
        }
    }
    return queued;
}

// Each is later than what is above it, and the ways to the right are short.
static void check_heap(const struct timer *t, const struct sc *s)
{
    const struct timer *from = NULL;
    while (t) {
        const struct timer *last = from, *l = t->left, *r = t->right;
        CHECK(t->sc == s && t->deadline &&
                  t->deadline >= (t->up ? t->up->deadline : 0) &&
                  (!t->up || t->up->left == t || t->up->right == t) &&
                  t->rank == (r ? r->rank : 0) + 1 && (l ? l->rank : 0) >= (r ? r->rank : 0),
              "a timer of context %u", s ? s->object.id : 0);
        from = t;
        t = last == t->up && l ? l : last != r && r ? r : t->up; // down, or on
    }
}

static void check_alarms(const struct cpu *cpu)
{
    uint64_t next = fake.deadline[cpu->id];
    check_heap(cpu->alarms, NULL);
    CHECK(!cpu->alarms || next <= cpu->alarms->deadline, "core %u will miss an alarm", cpu->id);
    CHECK(!cpu->sc || !cpu->sc->timers || next <= cpu->sc->timers->deadline,
          "core %u will miss a timer", cpu->id);
}

static void check_cpu(struct cpu *cpu)
{
    const struct thread *t = cpu->current;
    unsigned queued = check_queues(cpu);
    check_alarms(cpu);
    CHECK((!cpu->remote_wake && !cpu->woken) || cpu->arch.ipis,
          "core %u was not told of a thread", cpu->id);
    CHECK(!cpu->ipi_requests || cpu->arch.ipis, "core %u was not told of a request", cpu->id);
    CHECK(!cpu->work, "core %u left the kernel with work %u", cpu->id, cpu->work);
    CHECK((fake.state[cpu->id] == FAKE_IDLE) == !t, "core %u", cpu->id);
    CHECK(t || !queued || core_has_interrupts(cpu->id), "core %u idles beside %u threads", cpu->id,
          queued);
    if (!t)
        return;
    CHECK(t->state == THREAD_RUNNABLE && t->core == cpu->id, "thread %u runs", t->object.id);
    const struct sc *s = t->sc;
    CHECK(cpu->sc == s && s->queued, "core %u charges another", cpu->id);
    if (core_has_interrupts(cpu->id))
        return;
    CHECK(fake.state[cpu->id] != FAKE_GUEST || !t->vcpu->work, "core %u: a guest was not told",
          cpu->id);
    for (unsigned level = s->level + 1u; level < LEVEL_COUNT; level++)
        CHECK(!cpu->queue[level], "core %u runs what is not the best", cpu->id);
    CHECK(cpu->queue[s->level] == s && s->ready.next == &t->queue, "core %u: whose turn is it?",
          cpu->id);
    CHECK((s->link.next == &s->link && t->queue.next == t->queue.prev) ||
          fake.deadline[cpu->id] <= cpu->switch_tsc + (uint64_t)cpu->quantum_left,
          "core %u: a quantum without an end", cpu->id);
    CHECK(s->level == LEVEL_BEST_EFFORT ||
          fake.deadline[cpu->id] <= cpu->switch_tsc + (uint64_t)s->left,
          "core %u: a share without an end", cpu->id);
}

// Does it stand on the list of a core that will look? It may be one that the thread has left.
static bool will_be_seen(const struct thread *t)
{
    for (uint32_t i = 0; i < 2 * cpu_count; i++) {
        const struct cpu *cpu = cpus[i / 2];
        for (const struct thread *p = i % 2 ? cpu->woken : cpu->remote_wake; p; p = p->remote_next)
            if (p == t)
                return cpu->arch.ipis;
    }
    return false;
}

// A thread that waits for nothing more, and that nobody will look at.
static void check_waiting(const struct thread *t)
{
    bool seen = will_be_seen(t);
    CHECK(seen == (t->remote_pending != 0), "thread %u: nobody looks", t->object.id);
    CHECK(!t->asked || seen || t->mode == THREAD_OP || t->state == THREAD_DEAD,
          "thread %u does not hear what it is asked", t->object.id);
    CHECK(t->state != THREAD_MOVING || seen, "thread %u does not arrive", t->object.id);
    if (t->state != THREAD_BLOCKED || seen)
        return;
    if (t->mode == THREAD_GUEST)
        CHECK(!t->vcpu->work, "vcpu %u sleeps over work %u", t->vcpu->object.id, t->vcpu->work);
    else if (t->mode == THREAD_OP)
        CHECK(t->wait_timer.deadline, "thread %u waits for no time", t->object.id);
    else
        CHECK(t->waiting && t->waiting->waiter == t && !(t->waiting->bits & t->waiting->mask),
              "thread %u sleeps over a signal", t->object.id);
}

static void check_thread(const struct thread *t)
{
    bool current = cpus[t->core]->current == t;
    check_waiting(t);
    if (t->state == THREAD_RUNNABLE)
        CHECK(!list_empty(&t->queue) && t->sc->core == t->core, "thread %u is lost", t->object.id);
    else
        CHECK(!current && list_empty(&t->queue), "thread %u runs and should not", t->object.id);
    if (t->mode == THREAD_GUEST && t->state != THREAD_DEAD)
        CHECK(t->vcpu && t->vcpu->thread == t && t->vcpu->core == t->core,
              "thread %u and its vcpu", t->object.id);
}

static void check_process(const struct process *p)
{
    unsigned alive = 0;
    (void)list_check(&p->objects);
    CHECK(p->used <= p->quota, "process %u", p->object.id);
    uint32_t have[OBJ_TYPE_COUNT] = { p->have[OBJ_NONE] }; // mappings are in no list of its own
    list_for_each(l, &p->objects) {
        const struct object *o = list_entry(l, struct object, owned);
        have[o->type]++;
        for (unsigned i = 1; o->type == OBJ_PROCESS && i < OBJ_COUNTED; i++)
            have[i] += object_as(o, process)->may[i];
    }
    for (unsigned i = 0; i < OBJ_TYPE_COUNT; i++)
        CHECK(p->have[i] == have[i] && have[i] <= p->may[i], "process %u has %u of type %u",
              p->object.id, p->have[i], i);
    list_check(&p->threads);
    list_for_each(l, &p->threads)
        alive += list_entry(l, struct thread, in_process)->state != THREAD_DEAD;
    CHECK(alive == p->threads_alive, "process %u has %u threads", p->object.id, alive);
}

static void check_space(const struct space *s)
{
    uint64_t end = 0;
    list_check(&s->mappings);
    list_for_each(l, &s->mappings) {
        const struct mapping *m = list_entry(l, struct mapping, in_space);
        CHECK(m->address >= end && m->space == s, "mappings of space %u", s->owner_id);
        CHECK(m->offset + m->bytes <= m->memory->bytes, "a mapping of space %u", s->owner_id);
        end = m->address + m->bytes;
    }
}

// Threads that are to come to it, and have not left yet.
static unsigned expected(const struct sc *s)
{
    unsigned n = 0;
    for (uint32_t id = 1; id < object_id_end(); id++) {
        const struct thread *t = thread_of(id);
        n += t && t->sc && (t->asked & THREAD_MOVE) && t->sc != t->move.sc && t->move.sc == s;
    }
    return n;
}

static void check_sc(const struct sc *s)
{
    uint64_t sum = 0, first = s->refill[s->first].when, last = first;
    for (unsigned i = 0; i < s->refills; i++) {
        const struct sc_refill *r = &s->refill[(s->first + i) % SC_REFILLS];
        CHECK(r->when >= last && r->when <= first + s->period, "refills of context %u",
              s->object.id);
        last = r->when;
        sum += r->amount;
    }
    CHECK(sum == s->amount && s->refills && s->refills < SC_REFILLS - 3,
          "context %u has %lu of %lu in %u refills", s->object.id, sum, s->amount, s->refills);
    CHECK(s->left <= (int64_t)s->refill[s->first].amount, "context %u has too much", s->object.id);
    list_check(&s->ready);
    list_for_each(l, &s->ready)
        CHECK(list_entry(l, struct thread, queue)->sc == s, "a thread of context %u", s->object.id);
    check_heap(s->timers, s);
    CHECK(!s->awake || s->queued || s->alarm.deadline, "context %u is forgotten",
          s->object.id);
    CHECK(s->awake || (list_empty(&s->ready) && !s->queued), "context %u sleeps",
          s->object.id);
    CHECK(s->awake || !s->timers || (s->alarm.deadline && s->alarm.deadline <= s->timers->deadline),
          "context %u sleeps through a timer", s->object.id);
    CHECK(s->users == list_check(&s->threads) + expected(s), "context %u has %u threads",
          s->object.id, s->users);
}

// The owner table: each object's frames are its own.
static void check_memory(const struct memory *m)
{
    if (m->object.dying == OBJECT_ALIVE && m->zeroed == m->bytes)
        CHECK(frames_run(m->base, m->bytes / PAGE_SIZE) == m->bytes / PAGE_SIZE &&
              frames_owner(m->base) == m->object.id, "frames of memory %u", m->object.id);
}

void invariants_check_quiet(void)
{
    uint64_t quota = 0;
    for (uint32_t i = 0; i < cpu_count; i++)
        check_cpu(cpus[i]);
    for (uint32_t id = 1; id < object_id_end(); id++) {
        struct object *o = object_by_id(id);
        const struct thread *t = thread_of(id);
        if (t)
            check_thread(t);
        if (!o)
            continue;
        if (o->type == OBJ_PROCESS) {
            check_process(object_as(o, process));
            check_space(&object_as(o, process)->space);
            if (object_as(o, process)->parent == fake_manager)
                quota += object_as(o, process)->quota;
        }
        if (o->type == OBJ_VM)
            check_space(&object_as(o, vm)->space);
        if (o->type == OBJ_SC)
            check_sc(object_as(o, sc));
        if (o->type == OBJ_MEMORY)
            check_memory(object_as(o, memory));
    }
    CHECK(quota <= fake_manager->used, "the manager's quota");
}
