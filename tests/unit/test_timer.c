// SPDX-License-Identifier: BSD-2-Clause
// Timers: order, disarming, their event's bits, and how often the hardware is written.
#include "kernel.h"

static uint64_t event_bits(int64_t e)
{
    return object_to(fake_object(fake_manager, e), event)->bits;
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
    assert_true(list_empty(&cpus[0]->timers));
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
    assert_true(list_empty(&cpus[1]->timers));
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
    for (unsigned i = 0; i < 64; i++) {
        int64_t t = CALL(0, timer_create, e, 1ull << i);
        CALL(0, timer_arm, t, start + MS + (i * 37 % 64) * 1000);
    }
    for (unsigned step = 0; step < 64; step++) {
        fake_advance(start + MS + step * 1000 - fake.now);
        assert_int_equal(__builtin_popcountll(event_bits(e)), step + 1);
    }
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
        assert_int_equal(CALL(1, timer_arm, t, due - n), OK);
    }
    fake.now = due;
    unsigned left = 400, entries = 0;
    for (; left; entries++) {
        unsigned armed = 0;
        fake_interrupts(1);
        list_for_each(l, &cpus[1]->timers)
            armed++;
        assert_true(left - armed <= 64);
        left = armed;
        assert_true(!left || fake.deadline[1] <= fake.now); // the rest at once
    }
    assert_in_range(entries, 400 / 64, 400);
    assert_ptr_equal(cpus[1]->current, p.thread);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON2(test_some_at_a_time),
        ON1(test_order), ON1(test_rearm_and_disarm), ON1(test_hardware_writes),
        ON1(test_wakes_waiter), ON2(test_other_core), ON1(test_event_gone), ON1(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
