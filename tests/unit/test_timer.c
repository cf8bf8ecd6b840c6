// SPDX-License-Identifier: BSD-2-Clause
// Timers: order, disarming, their event's bits, and how often the hardware is written.
#include "kernel.h"

static uint64_t event_bits(int64_t e)
{
    return object_to(fake_object(fake_manager, e), event)->bits;
}

static struct timer *timer_of(uint32_t core, int64_t t)
{
    struct object *o = fake_object(cpus[core]->current->process, t);
    return &object_to(o, timer_object)->timer;
}

static void test_order(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0), t[3];
    static const uint64_t when[3] = { 3 * MS, 1 * MS, 2 * MS };
    uint64_t start = fake.now;
    for (unsigned i = 0; i < 3; i++) {
        t[i] = CALL(0, timer_create, e, 1ull << i);
        assert_int_equal(CALL(0, timer_arm, t[i], start + when[i]), OK);
    }
    assert_int_equal(fake.deadline[0], start + 1 * MS);
    fake_advance(1 * MS);
    assert_int_equal(event_bits(e), 2);
    assert_int_equal(fake.deadline[0], start + 2 * MS);
    fake_advance(1 * MS);
    assert_int_equal(event_bits(e), 6);
    fake_advance(1 * MS);
    assert_int_equal(event_bits(e), 7);
    assert_true(fake.deadline[0] == UINT64_MAX);
}

static void test_rearm_and_disarm(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    int64_t t = CALL(0, timer_create, e, 1);
    uint64_t start = fake.now;
    CALL(0, timer_arm, t, start + MS);
    CALL(0, timer_arm, t, start + 3 * MS);
    fake_advance(2 * MS);
    assert_int_equal(event_bits(e), 0);
    CALL(0, timer_arm, t, 0);
    fake_advance(2 * MS);
    assert_int_equal(event_bits(e), 0);
    assert_null(cpus[0]->current->sc->timers);
    CALL(0, timer_arm, t, 1); // long past: fires at the next chance
    fake_interrupts(0);
    assert_int_equal(event_bits(e), 1);
}

// A later deadline does not touch the hardware; the early interrupt sets it again.
static void test_hardware_writes(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    int64_t t = CALL(0, timer_create, e, 1);
    uint64_t start = fake.now;
    CALL(0, timer_arm, t, start + MS);
    uint32_t writes = fake.deadline_writes[0];
    for (unsigned i = 0; i < 100; i++)
        CALL(0, timer_arm, t, start + 5 * MS + i);
    assert_int_equal(fake.deadline_writes[0], writes);
    fake_advance(MS);
    assert_int_equal(event_bits(e), 0);
    assert_int_equal(fake.deadline[0], start + 5 * MS + 99);
    CALL(0, timer_arm, t, start + 4 * MS);
    assert_int_equal(fake.deadline[0], start + 4 * MS); // an earlier one does
}

static void test_wakes_waiter(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    int64_t t = CALL(0, timer_create, e, 0x10);
    CALL(0, timer_arm, t, fake.now + MS);
    assert_true(CALL(0, event_wait, e, 0x10, 0) == FAKE_BLOCKED);
    fake_advance(MS);
    assert_int_equal(fake.state[0], FAKE_USER);
    assert_int_equal(fake_thread->arch.status, OK);
    assert_int_equal(fake_thread->arch.value, 0x10);
}

static void test_other_core(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    int64_t e = CALL(1, event_create, 0);
    int64_t t = CALL(1, timer_create, e, 1);
    CALL(1, timer_arm, t, fake.now + MS);
    assert_int_equal(fake.deadline[1], fake.now + MS);
    // Its core alone arms it; a process with a handle on another core is told.
    p.process->handles[60] = p.process->handles[t];
    fake_manager->handles[60] = p.process->handles[t];
    assert_int_equal(CALL(0, timer_arm, 60, fake.now + MS), ERR_STATE);
    // Destroyed from another core, it leaves that core's list first.
    fake_manager->handles[60] = p.process->handles[t];
    assert_int_equal(FINISH(0, object_destroy, 60), OK);
    assert_null(p.thread->sc->timers);
    assert_int_equal(CALL(1, timer_arm, t, fake.now + MS), ERR_HANDLE);
}

static void test_event_gone(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    int64_t t = CALL(0, timer_create, e, 1);
    CALL(0, timer_arm, t, fake.now + 100 * MS);
    assert_int_equal(FINISH(0, object_destroy, e), OK);
    int64_t other = CALL(0, event_create, 0); // in the same memory
    fake_advance(200 * MS);
    assert_int_equal(event_bits(other), 0);
    assert_int_equal(FINISH(0, object_destroy, t), OK);
}

static void test_many(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    uint64_t start = fake.now;
    for (unsigned i = 0; i < THREAD_TIMERS; i++) {
        int64_t t = CALL(0, timer_create, e, 1ull << i);
        CALL(0, timer_arm, t, start + MS + (i * 37 % THREAD_TIMERS) * 1000);
    }
    for (unsigned step = 0; step < THREAD_TIMERS; step++) {
        fake_advance(start + MS + step * 1000 - fake.now);
        assert_int_equal(__builtin_popcountll(event_bits(e)), step + 1);
    }
}

// A thread has so many; arming one that is another's makes it its own.
static void test_count(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0), t[THREAD_TIMERS + 1];
    for (unsigned n = 0; n <= THREAD_TIMERS; n++) {
        t[n] = CALL(0, timer_create, e, 1);
        int64_t status = CALL(0, timer_arm, t[n], fake.now + MS);
        assert_int_equal(status, n < THREAD_TIMERS ? OK : ERR_FULL);
    }
    assert_int_equal(CALL(0, timer_arm, t[0], 0), OK);
    assert_int_equal(CALL(0, timer_arm, t[THREAD_TIMERS], fake.now + MS), ERR_FULL);
    assert_int_equal(FINISH(0, object_destroy, t[0]), OK);
    assert_int_equal(CALL(0, timer_arm, t[THREAD_TIMERS], fake.now + MS), OK);
}

// However many are due at once, the core takes other interrupts after some of them.
static void test_some_at_a_time(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 8 * MB, 0);
    int64_t e = CALL(1, event_create, 0);
    uint64_t due = fake.now + 500 * MS;
    static int64_t h[400];
    for (unsigned n = 0; n < ARRAY_SIZE(h); n++) {
        int64_t t = CALL(1, timer_create, e, 1);
        assert_true(t > 0);
        h[n] = t;
        fake.core = 1; // as of many threads
        timer_arm(timer_of(1, t), p.thread->sc, due - n);
        fake.core = 0;
    }
    fake.now = due;
    unsigned left = 400, entries = 0;
    for (; left; entries++) {
        unsigned armed = 0;
        fake_interrupts(1);
        for (unsigned n = 0; n < ARRAY_SIZE(h); n++)
            armed += timer_of(1, h[n])->deadline != 0;
        assert_true(left - armed <= 64);
        left = armed;
        assert_true(!left || fake.deadline[1] <= fake.now); // the rest at once
    }
    assert_in_range(entries, 400 / 64, 400);
    assert_ptr_equal(cpus[1]->current, p.thread);
}

// A heap of any shape keeps its order: the first is the one with the least deadline.
static void test_heap(void **state)
{
    (void)state;
    static struct timer t[512];
    uint64_t r = 1;
    struct sc *s = cpus[0]->sc;
    for (unsigned n = 0; n < 40000; n++) {
        r = r * 6364136223846793005ull + 1442695040888963407ull;
        timer_arm(&t[r >> 33 & 511], s, r >> 42 & 3 ? fake.now + MS + (r >> 45 & 1023) : 0);
        if (n % 64)
            continue;
        uint64_t least = UINT64_MAX;
        for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
            least = t[i].deadline && t[i].deadline < least ? t[i].deadline : least;
        assert_int_equal(s->timers->deadline, least);
        assert_in_range(s->timers->rank, 1, 9);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
        timer_disarm(&t[i]);
    assert_null(s->timers);
}

// The least time of many tries that it takes to arm a timer behind n others, and to disarm it.
static uint64_t cost_behind(unsigned n)
{
    static struct timer t[4001];
    uint64_t least = UINT64_MAX;
    struct sc *s = cpus[0]->sc;
    for (unsigned i = 0; i < n; i++)
        timer_arm(&t[i], s, fake.now + MS + i);
    for (unsigned tries = 0; tries < 1000; tries++) {
        uint64_t start = __builtin_ia32_rdtsc();
        timer_arm(&t[n], s, fake.now + MS + n);
        timer_disarm(&t[n]);
        least = min_u64(least, __builtin_ia32_rdtsc() - start);
    }
    for (unsigned i = 0; i < n; i++)
        timer_disarm(&t[i]);
    return least;
}

// One of 4,000 takes about as long as one of 15: the ways along the heap have 11 steps and not 3.
static void test_many_cost_little(void **state)
{
    (void)state;
    assert_true(cost_behind(4000) < 12 * cost_behind(15));
}

// What the end of timers takes is their owner's expense, though another runs.
static void test_owner_pays(void **state)
{
    (void)state;
    struct fake_process owner = fake_spawn(1, 1 * MB, fake_sc(1, 100, 10000));
    int64_t e = CALL(1, event_create, 0);
    uint64_t due = fake.now + 5 * MS;
    for (unsigned n = 0; n < 8; n++)
        assert_int_equal(CALL(1, timer_arm, CALL(1, timer_create, e, 2), due), OK);
    assert_true(CALL(1, event_wait, e, 1, 0) == FAKE_BLOCKED);
    struct fake_process other = fake_spawn(1, 1 * MB, fake_sc(1, 600, 10000));
    fake_interrupts(1);
    assert_ptr_equal(cpus[1]->current, other.thread);
    const struct sc *s = owner.thread->sc, *o = other.thread->sc;
    fake.now = due;
    int64_t left = o->left - (int64_t)(due - cpus[1]->switch_tsc), had = s->left;
    uint64_t ran = sc_run_tsc(s, due), other_ran = sc_run_tsc(o, due);
    fake.look = 1000;
    fake_interrupts(1);
    fake.look = 0;
    assert_ptr_equal(cpus[1]->current, other.thread);
    assert_null(s->timers);
    uint64_t all = fake.now - due, owners = sc_run_tsc(s, fake.now) - ran;
    assert_in_range(all, 3000, 10000);
    assert_in_range(owners, 1000, all);
    assert_int_equal(had - s->left, owners);
    uint64_t others = sc_run_tsc(o, fake.now) - other_ran;
    assert_in_range(others, 0, 3000); // looking at the clock before the owner, and behind it
    assert_int_equal(left - (o->left - (int64_t)(fake.now - cpus[1]->switch_tsc)), others);
}

// Of many that are due at once none is in the way of a higher context, and of an equal one only
// some are, however late that one's comes: the others end when their owner runs.
static void behind_others(uint64_t others_share, uint64_t others_period, unsigned most)
{
    static int64_t h[400];
    int64_t others = others_share ? fake_sc(1, others_share, others_period) : 0;
    struct fake_process many = fake_spawn(1, 8 * MB, others);
    struct sc *s = many.thread->sc;
    int64_t e = CALL(1, event_create, 0);
    uint64_t due = fake.now + 50 * MS;
    for (unsigned n = 0; n < ARRAY_SIZE(h); n++) {
        h[n] = CALL(1, timer_create, e, 1);
        fake.core = 1; // as of many threads
        timer_arm(timer_of(1, h[n]), s, due);
        fake.core = 0;
    }
    assert_true(CALL(1, event_wait, e, 2, 0) == FAKE_BLOCKED);
    struct fake_process p = fake_spawn(1, 1 * MB, fake_sc(1, 100, 1000));
    int64_t mine = CALL(1, event_create, 0);
    assert_true(CALL(1, event_wait, mine, 1, due + 1) == FAKE_BLOCKED);
    fake.now = due + 1;
    unsigned left = 0;
    for (unsigned entries = 0; cpus[1]->current != p.thread; entries++) {
        assert_in_range(entries, 0, 2);
        fake_interrupts(1);
    }
    for (unsigned n = 0; n < ARRAY_SIZE(h); n++)
        left += object_to(fake_object(many.process, h[n]), timer_object)->timer.deadline != 0;
    assert_in_range(ARRAY_SIZE(h) - left, 0, most);
    assert_true(CALL(1, event_wait, mine, 2, 0) == FAKE_BLOCKED); // nobody else is there
    for (unsigned entries = 0; s->timers; entries++) {
        assert_in_range(entries, 0, 400);
        fake_advance(1000);
    }
    assert_int_equal(FINISH(0, object_destroy, many.handle), OK);
    assert_int_equal(FINISH(0, object_destroy, p.handle), OK);
    assert_int_equal(FINISH(0, object_destroy, (int64_t)many.sc), OK);
    assert_int_equal(FINISH(0, object_destroy, (int64_t)p.sc), OK);
}

static void test_behind_others(void **state)
{
    (void)state;
    behind_others(0, 0, 0);
    behind_others(500, 10000, 0);
    behind_others(500, 1000, 8);
}

// A timer is his who has armed it last, and nobody's when that thread ends: any core may have it.
static void test_goes_with_who_arms_it(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    int64_t e = CALL(1, event_create, 0), t = CALL(1, timer_create, e, 1);
    int64_t second = CALL(0, thread_create, p.handle, fake_sc(1, 0, 0), 0x400000, 0, 0);
    const struct thread *other = object_to(fake_object(fake_manager, second), thread);
    const struct timer_object *o = container_of(timer_of(1, t), struct timer_object, timer);
    assert_null(o->home);
    CALL(1, timer_arm, t, fake.now + MS);
    assert_ptr_equal(o->home, p.thread);
    assert_true(CALL(1, event_wait, e, 2, 0) == FAKE_BLOCKED);
    fake_interrupts(1);
    assert_ptr_equal(cpus[1]->current, other);
    CALL(1, timer_arm, t, fake.now + MS);
    assert_ptr_equal(o->home, other);
    assert_null(p.thread->sc->timers);
    CALL(1, thread_exit, 0);
    assert_null(o->home);
    assert_int_equal(o->timer.deadline, 0);
    memcpy(&fake_manager->handles[60], &p.process->handles[t], 8);
    assert_int_equal(CALL(0, timer_arm, 60, fake.now + MS), OK);
    assert_ptr_equal(o->home, fake_thread);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON2(test_some_at_a_time),
        ON1(test_order), ON1(test_rearm_and_disarm), ON1(test_hardware_writes),
        ON1(test_heap), ON1(test_many_cost_little), ON2(test_owner_pays),
        ON2(test_goes_with_who_arms_it), ON1(test_wakes_waiter), ON2(test_other_core),
        ON1(test_event_gone), ON1(test_many), ON1(test_count), ON2(test_behind_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
