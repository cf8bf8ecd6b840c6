// SPDX-License-Identifier: BSD-2-Clause
// Scheduling contexts: a share is what its threads get, no more and no less, beside any neighbour.
#include "kernel.h"

#define PERIOD_US 10000
#define PERIOD    (PERIOD_US * 1000ull)
#define STEP      (PERIOD / 1000) // time between two looks at the clock: the error of a period

static void run(uint64_t ticks)
{
    for (uint64_t t = 0; t < ticks; t += STEP)
        fake_advance(STEP);
}

static uint64_t percent_of(struct thread *t, uint64_t before, uint64_t ticks)
{
    return (thread_run_tsc(t, fake.now) - before + ticks / 200) * 100 / ticks;
}

static void test_share_beside_best_effort(void **state)
{
    (void)state;
    struct fake_process greedy = fake_spawn(1, 1 * MB, 0);
    int64_t b = fake_sc(1, 250, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, b);
    uint64_t before = thread_run_tsc(p.thread, fake.now);
    uint64_t rest = thread_run_tsc(greedy.thread, fake.now);
    run(100 * PERIOD);
    assert_int_equal(percent_of(p.thread, before, 100 * PERIOD), 25);
    assert_int_equal(percent_of(greedy.thread, rest, 100 * PERIOD), 75);
}

// On an otherwise idle core it gets no more either.
static void test_hard_limit(void **state)
{
    (void)state;
    int64_t b = fake_sc(1, 100, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, b);
    uint64_t before = thread_run_tsc(p.thread, fake.now);
    run(100 * PERIOD);
    assert_int_equal(percent_of(p.thread, before, 100 * PERIOD), 10);
    assert_true(cpus[1]->idle_tsc > 85 * PERIOD);
}

static void test_full_core(void **state)
{
    (void)state;
    int64_t a = fake_sc(1, 600, PERIOD_US);
    int64_t b = fake_sc(1, 400, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, a);
    struct fake_process q = fake_spawn(1, 1 * MB, b);
    struct fake_process r = fake_spawn(1, 1 * MB, 0);
    uint64_t before[3] = { thread_run_tsc(p.thread, fake.now), thread_run_tsc(q.thread, fake.now),
                           thread_run_tsc(r.thread, fake.now) };
    run(100 * PERIOD);
    assert_int_equal(percent_of(p.thread, before[0], 100 * PERIOD), 60);
    assert_int_equal(percent_of(q.thread, before[1], 100 * PERIOD), 40);
    assert_int_equal(percent_of(r.thread, before[2], 100 * PERIOD), 0);
}

// Contexts that were made at different moments, as VMs are, and that promise the whole core: all of
// it is given, in each second.
static void test_full_core_of_three(void **state)
{
    (void)state;
    static const uint64_t share[3] = { 200, 300, 500 };
    struct fake_process p[3];
    uint64_t before[3];
    for (unsigned i = 0; i < 3; i++) {
        int64_t b = fake_sc(1, share[i], PERIOD_US);
        p[i] = fake_spawn(1, 1 * MB, b);
        run(PERIOD * 7 / 3);
    }
    fake_spawn(1, 1 * MB, 0);
    for (unsigned second = 0; second < 3; second++) {
        for (unsigned i = 0; i < 3; i++)
            before[i] = thread_run_tsc(p[i].thread, fake.now);
        run(100 * PERIOD);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(percent_of(p[i].thread, before[i], 100 * PERIOD), share[i] / 10);
    }
}

// One that wakes does not wait for the quantum of another with a share, and takes nothing from it.
static void test_wakes_before_its_equals(void **state)
{
    (void)state;
    int64_t a = fake_sc(1, 900, PERIOD_US);
    struct fake_process spinner = fake_spawn(1, 1 * MB, a);
    fake_spawn(1, 1 * MB, 0);
    int64_t b = fake_sc(1, 100, PERIOD_US);
    int64_t e = CALL(0, event_create, 0);
    struct fake_process p = fake_spawn(1, 1 * MB, b);
    CALL(0, handle_copy, p.handle, e, RIGHT_WAIT, 40);
    run(2 * PERIOD);
    uint64_t before = thread_run_tsc(spinner.thread, fake.now);
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(CALL(1, event_wait, 40, 1, 0) == FAKE_BLOCKED);
        run(PERIOD / 10);
        CALL(0, event_signal, e, 1);
        fake_interrupts(1);
        assert_ptr_equal(cpus[1]->current, p.thread);
    }
    assert_int_equal(percent_of(spinner.thread, before, 100 * PERIOD), 90);
}

// Of the process that runs there.
static int64_t make_vcpu(uint32_t core, struct vcpu **v)
{
    int64_t vm = CALL(core, vm_create, VM_SMP);
    int64_t page = CALL(core, mem_create, PAGE_SIZE, PAGE_SIZE, MEM_KERNEL);
    int64_t h = CALL(core, vcpu_create, vm, 0, page, 0);
    assert_true(h > 0);
    *v = object_to(fake_object(cpus[core]->current->process, h), vcpu);
    return h;
}
// From its next refill to the end of that.
static uint64_t next_turn(const struct thread *t)
{
    uint64_t since = 0;
    for (unsigned i = 0; i < 3; i++) // to the end of this one, to the refill, to its end
        for (since = fake.now; (cpus[1]->current == t) == (i != 1);)
            fake_advance(1000);
    return fake.now - since;
}

// A VMM that holds a lock is not parked when its budget ends, but a little later, and pays for
// that. One that does so without end gets no more by it, nor does a guest, which can hold none.
static void test_lends_to_who_holds_a_lock(void **state)
{
    (void)state;
    const uint64_t lent = SC_LEND_US * 1000, share = PERIOD / 4, off = 2000;
    struct vcpu *v;
    struct fake_process p = fake_spawn(1, 1 * MB, fake_sc(1, 250, PERIOD_US));
    int64_t h = make_vcpu(1, &v);
    fake_spawn(1, 1 * MB, 0);
    assert_in_range(next_turn(p.thread), share - off, share + off);
    v->page->holds_lock = 1;
    assert_in_range(next_turn(p.thread), share + lent - off, share + lent + off);
    assert_in_range(next_turn(p.thread), share - off, share + off); // paid, and lent again
    uint64_t before = thread_run_tsc(p.thread, fake.now);
    run(100 * PERIOD);
    assert_int_equal(percent_of(p.thread, before, 100 * PERIOD), 25);
    while (cpus[1]->current != p.thread)
        fake_advance(1000);
    assert_true(CALL(1, vcpu_run, h) == FAKE_BLOCKED);
    next_turn(p.thread);
    assert_int_equal(p.thread->sc->lent, 0);
    assert_in_range(next_turn(p.thread), share - off, share + off);
}

// A thread that gives way is followed by the others of its context, and by nobody else; what is
// left of the quantum is theirs.
static void test_gives_way(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, fake_sc(1, 0, 0)), q = fake_spawn(1, 1 * MB, 0);
    struct thread *t[3] = { p.thread };
    while (cpus[1]->current != p.thread)
        fake_advance(STEP);
    for (unsigned i = 1; i < 3; i++)
        t[i] = object_to(fake_object(p.process, CALL(1, thread_create, HANDLE_SELF, 0, 0x400000,
                                                     0x500000, 0)), thread);
    fake_interrupts(1);
    int64_t left = cpus[1]->quantum_left;
    for (unsigned i = 0; i < 6; i++) {
        struct thread *now = cpus[1]->current;
        assert_true(now == t[0] || now == t[1] || now == t[2]);
        fake_give_way(1);
        assert_ptr_not_equal(cpus[1]->current, now);
        assert_ptr_not_equal(cpus[1]->current, q.thread);
    }
    assert_true(cpus[1]->quantum_left <= left);
}

// Threads of one context share it; one that was made by another is on it too.
static void test_shared(void **state)
{
    (void)state;
    int64_t b = fake_sc(1, 500, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, b);
    int64_t h = CALL(1, thread_create, HANDLE_SELF, 0, 0x400000, 0, 0);
    struct thread *second = object_to(fake_object(p.process, h), thread);
    assert_ptr_equal(second->sc, p.thread->sc);
    uint64_t before = thread_run_tsc(p.thread, fake.now), seen = 0;
    for (unsigned i = 0; i < 100000; i++) {
        fake_advance(STEP);
        seen += cpus[1]->current == second;
    }
    assert_int_equal(percent_of(p.thread, before, 100 * PERIOD), 50);
    assert_in_range(seen, 23000, 27000); // half of that
}

static void test_wakes_with_share(void **state)
{
    (void)state;
    fake_spawn(1, 1 * MB, 0);
    int64_t b = fake_sc(1, 250, PERIOD_US);
    int64_t e = CALL(0, event_create, 0);
    struct fake_process p = fake_spawn(1, 1 * MB, b);
    CALL(0, handle_copy, p.handle, e, RIGHT_WAIT, 40);
    assert_true(CALL(1, event_wait, 40, 1, 0) == FAKE_BLOCKED);
    run(20 * PERIOD);
    CALL(0, event_signal, e, 1);
    fake_interrupts(1);
    assert_ptr_equal(cpus[1]->current, p.thread); // before best effort, at once
    uint64_t before = thread_run_tsc(p.thread, fake.now);
    run(PERIOD); // what it did not use while it slept was not saved up
    assert_true(thread_run_tsc(p.thread, fake.now) - before <= PERIOD / 2 + 2 * STEP);
}

static bool waits(const struct fake_process *p)
{
    return p->thread->state == THREAD_RUNNABLE && !p->thread->sc->queued;
}

// The refills of a context always add up to its capacity, are in order, and none is a period behind
// the first.
static void check_refills(const struct sc *s)
{
    uint64_t sum = 0, first = s->refill[s->first].when, before = first;
    assert_in_range(s->refills, 1, SC_REFILLS - 4);
    for (unsigned i = 0; i < s->refills; i++) {
        const struct sc_refill *r = &s->refill[(s->first + i) % SC_REFILLS];
        assert_in_range(r->when, before, first + s->period);
        before = r->when;
        sum += r->amount;
    }
    assert_int_equal(sum, s->amount);
}

// What the kernel does for a thread counts: a debt is paid by the refills that come next.
static void test_debt(void **state)
{
    (void)state;
    int64_t b = fake_sc(1, 100, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, b);
    struct sc *s = sc_of(b);
    fake.now += PERIOD / 10 + PERIOD / 20; // the kernel does not look for so long
    fake_interrupts(1);
    assert_true(waits(&p));
    assert_int_equal(fake.state[1], FAKE_IDLE);
    uint64_t before = thread_run_tsc(p.thread, fake.now);
    fake_advance(s->alarm.deadline - fake.now);
    assert_ptr_equal(cpus[1]->current, p.thread);
    run(PERIOD - STEP);
    assert_in_range(thread_run_tsc(p.thread, fake.now) - before, PERIOD / 20 - 2 * STEP,
                    PERIOD / 20 + 2 * STEP);
    check_refills(s);
}

// However long it sleeps afterwards, it pays all that it overdrew.
static void test_debt_is_never_forgiven(void **state)
{
    (void)state;
    int64_t b = fake_sc(1, 10, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, b);
    int64_t e = CALL(1, event_create, 0);
    uint64_t start = fake.now, before = thread_run_tsc(p.thread, fake.now);
    while (fake.now - start < 400 * PERIOD) {
        fake.now += PERIOD; // one call that takes that long
        assert_true(CALL(1, event_wait, e, 1, fake.now + 2 * PERIOD) == FAKE_BLOCKED);
        while (cpus[1]->current != p.thread)
            fake_advance(PERIOD / 20);
        check_refills(p.thread->sc);
    }
    uint64_t ran = thread_run_tsc(p.thread, fake.now) - before;
    assert_in_range(ran * 1000 / (fake.now - start), 8, 12);
}

static void test_admission(void **state)
{
    (void)state;
    int64_t a = fake_sc(1, 700, PERIOD_US);
    assert_true(a > 0);
    assert_int_equal(fake_sc(1, 301, PERIOD_US), ERR_BUSY);
    assert_true(fake_sc(0, 301, PERIOD_US) > 0); // another core
    assert_true(fake_sc(1, 300, PERIOD_US) > 0);
    assert_int_equal(FINISH(0, object_destroy, a), OK);
    assert_true(fake_sc(1, 700, PERIOD_US) > 0);
    assert_int_equal(fake_sc(2, 1, PERIOD_US), ERR_RANGE);
    assert_int_equal(fake_sc(1, 0, PERIOD_US), ERR_RANGE);
    assert_int_equal(fake_sc(1, 1, 0), ERR_RANGE);
    assert_int_equal(fake_sc(0, 1001, PERIOD_US), ERR_RANGE);
    assert_int_equal(fake_sc(0, 1, 5000), ERR_RANGE); // not one of the harmonic set
    assert_int_equal(CALL(0, sc_create, BOOT_HANDLE_SYSTEM, 0, 1, 1000, 2), ERR_RANGE);
}

// It cannot be taken away from under its threads.
static void test_destroy(void **state)
{
    (void)state;
    int64_t b = fake_sc(1, 100, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, b);
    struct sc *sc = object_to(fake_object(fake_manager, b), sc);
    run(PERIOD / 2);
    assert_true(waits(&p));
    assert_int_equal(CALL(0, object_destroy, b), ERR_BUSY);
    assert_int_equal(sc->users, 1);
    assert_in_range(sc_run_tsc(sc, fake.now), PERIOD / 10, PERIOD / 10 + STEP);
    fake_kill(p.thread_h);
    fake_interrupts(1);
    assert_int_equal(FINISH(0, object_destroy, b), OK);
    assert_null(cpus[1]->alarms);
    assert_int_equal(cpus[1]->promised, 0);
}

static void test_kill_while_it_waits(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, fake_sc(1, 100, PERIOD_US));
    run(PERIOD / 2);
    assert_true(waits(&p));
    fake_kill(p.thread_h);
    fake_interrupts(1);
    assert_int_equal(p.thread->state, THREAD_DEAD);
    run(2 * PERIOD); // the refill finds nobody
    assert_int_equal(fake.state[1], FAKE_IDLE);
}

// Priority is by rate, and the harmonic set can fill a core.
static void test_rates(void **state)
{
    (void)state;
    static const struct { uint32_t share, period; } want[4] = {
        { 350, 10000 }, { 250, 2000 }, { 300, 1000 }, { 100, 1000 },
    };
    struct fake_process p[4];
    uint64_t before[4];
    for (unsigned i = 0; i < 4; i++) {
        p[i] = fake_spawn(1, 1 * MB, fake_sc(1, want[i].share, want[i].period));
        run(PERIOD / 3);
    }
    fake_spawn(1, 1 * MB, 0);
    for (unsigned i = 0; i < 4; i++)
        before[i] = thread_run_tsc(p[i].thread, fake.now);
    for (unsigned ms = 0; ms < 1000; ms++) {
        uint64_t start[4];
        for (unsigned i = 0; i < 4; i++)
            start[i] = thread_run_tsc(p[i].thread, fake.now);
        for (unsigned k = 0; k < 1000; k++)
            fake_advance(MS / 1000);
        for (unsigned i = 2; i < 4; i++) // each millisecond, whatever the others do
            assert_in_range(thread_run_tsc(p[i].thread, fake.now) - start[i],
                            (want[i].share - 10) * MS / 1000, (want[i].share + 10) * MS / 1000);
    }
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(percent_of(p[i].thread, before[i], 1000 * MS), want[i].share / 10);
}

// Two periods' time in one go, against a neighbour that wants all of its share: it gets it, in
// whatever phase the two are.
static void test_back_to_back(void **state)
{
    (void)state;
    for (unsigned phase = 0; phase < 10; phase++) {
        fake_start(2, 64);
        struct fake_process victim = fake_spawn(1, 1 * MB, fake_sc(1, 500, PERIOD_US));
        fake_spawn(1, 1 * MB, 0);
        run(phase * PERIOD / 20);
        struct fake_process greedy = fake_spawn(1, 1 * MB, fake_sc(1, 500, PERIOD_US));
        while (cpus[1]->current != greedy.thread)
            fake_advance(STEP);
        int64_t e = CALL(1, event_create, 0);
        run(20 * PERIOD);
        uint64_t start = fake.now, next = start + PERIOD, awake = 0;
        uint64_t before = thread_run_tsc(victim.thread, fake.now);
        while (fake.now - start < 100 * PERIOD) {
            fake_advance(STEP);
            if (cpus[1]->current != greedy.thread)
                continue;
            if (fake.now >= next) { // sleeps for a period, then runs for one
                next += 2 * PERIOD;
                CALL(1, event_wait, e, 1, next - PERIOD);
            } else if (++awake % 90 == 0) { // in slices just below a quantum
                CALL(1, event_wait, e, 1, fake.now + STEP / 2);
            }
        }
        assert_in_range(percent_of(victim.thread, before, 100 * PERIOD), 49, 51);
    }
}

// In no window of a period does a context that sleeps and wakes as it likes get more than twice its
// capacity, nor more than its share in the long run; and its list of refills stays short.
static void test_sleeper(void **state)
{
    (void)state;
    int64_t b = fake_sc(1, 250, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, b);
    int64_t e = CALL(1, event_create, 0);
    uint64_t before = thread_run_tsc(p.thread, fake.now), seed = 1, ran[1000], at = 0;
    for (unsigned i = 0; i < 100000; i++) {
        fake_advance(STEP);
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        if (cpus[1]->current == p.thread && seed >> 62 == 0)
            CALL(1, event_wait, e, 1, fake.now + 1 + (seed >> 40) % PERIOD / (1 + (seed >> 60)));
        uint64_t now = thread_run_tsc(p.thread, fake.now);
        assert_true(at < 1000 || now - ran[at % 1000] <= 2 * PERIOD / 4 + 4 * STEP);
        ran[at++ % 1000] = now;
        check_refills(sc_of(b));
    }
    assert_true(thread_run_tsc(p.thread, fake.now) - before <= 100 * PERIOD / 4 + PERIOD / 4);
}

// A thousand threads get what one gets, and cost no more to choose from.
static void test_many_threads(void **state)
{
    (void)state;
    for (unsigned share = 0; share <= 10; share += 10) {
        fake_start(2, 64);
        struct fake_process victim = fake_spawn(1, 1 * MB, 0);
        struct fake_process p =
            fake_spawn(1, 8 * MB, share ? fake_sc(1, share, PERIOD_US) : 0);
        for (unsigned n = 0; n < 1000;) {
            fake_advance(STEP);
            if (cpus[1]->current->process != p.process)
                continue;
            int64_t h = CALL(1, thread_create, HANDLE_SELF, 0, 0x400000, 0, 0);
            assert_true(h > 0);
            CALL(1, handle_close, h);
            n++;
        }
        uint64_t before = thread_run_tsc(victim.thread, fake.now);
        run(100 * PERIOD);
        assert_int_equal(percent_of(victim.thread, before, 100 * PERIOD), share ? 99 : 50);
        assert_int_equal(p.thread->sc->users, 1001);
    }
}

// One that may go on as best effort does, takes turns there, and comes back with its refill.
static void test_soft(void **state)
{
    (void)state;
    int64_t b = CALL(0, sc_create, BOOT_HANDLE_SYSTEM, 1, 200, 1000, SC_SOFT);
    struct fake_process p = fake_spawn(1, 1 * MB, b);
    struct fake_process other = fake_spawn(1, 1 * MB, 0);
    int64_t e = CALL(0, event_create, 0);
    CALL(0, handle_copy, p.handle, e, RIGHT_WAIT, 40);
    uint64_t before = thread_run_tsc(p.thread, fake.now);
    run(100 * PERIOD);
    assert_in_range(percent_of(p.thread, before, 100 * PERIOD), 45, 65); // and turns of the rest
    while (cpus[1]->current != p.thread)
        fake_advance(STEP);
    assert_true(CALL(1, event_wait, 40, 1, 0) == FAKE_BLOCKED);
    run(PERIOD);
    assert_ptr_equal(cpus[1]->current, other.thread);
    CALL(0, event_signal, e, 1);
    fake_interrupts(1);
    assert_ptr_equal(cpus[1]->current, p.thread);
    assert_int_equal(p.thread->sc->level, LEVEL_1MS);
}

// An interrupt's work is not the time of whom it came upon, and does not shorten his turn.
static void test_not_charged(void **state)
{
    (void)state;
    int64_t b = fake_sc(1, 500, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, b);
    fake_advance(STEP);
    struct sc *s = p.thread->sc;
    uint64_t ran = thread_run_tsc(p.thread, fake.now);
    uint64_t end = cpus[1]->switch_tsc + (uint64_t)cpus[1]->quantum_left;
    fake.core = 1;
    fake.now += MS;
    sched_not_charged(cpus[1], MS);
    fake.core = 0;
    assert_int_equal(thread_run_tsc(p.thread, fake.now), ran);
    assert_int_equal(cpus[1]->switch_tsc + (uint64_t)cpus[1]->quantum_left, end + MS);
    uint64_t before = thread_run_tsc(p.thread, fake.now);
    run(PERIOD - 2 * MS); // and its capacity is still there
    assert_in_range(thread_run_tsc(p.thread, fake.now) - before, PERIOD / 2 - 2 * STEP,
                    PERIOD / 2 + 2 * STEP);
    check_refills(s);
}

// Of a frequency that is not a whole number of MHz nothing is lost: a period that is too short has
// more capacities come into a window than were promised.
static void test_period(void **state)
{
    (void)state;
    fake.tsc_hz = 19999999;
    int64_t h = fake_sc(1, 250, 10000);
    const struct sc *s = object_to(fake_object(fake_manager, h), sc);
    assert_int_equal(s->period, 199999);
    assert_int_equal(s->amount, 49999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON2(test_share_beside_best_effort), ON2(test_hard_limit), ON2(test_full_core),
        ON2(test_full_core_of_three), ON2(test_wakes_before_its_equals),
        ON2(test_lends_to_who_holds_a_lock), ON2(test_gives_way), ON2(test_shared),
        ON2(test_wakes_with_share), ON2(test_debt), ON2(test_debt_is_never_forgiven),
        ON2(test_admission), ON2(test_destroy), ON2(test_kill_while_it_waits), ON2(test_rates),
        ON2(test_back_to_back), ON2(test_sleeper), ON2(test_many_threads), ON2(test_soft),
        ON2(test_not_charged), ON2(test_period),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
