// SPDX-License-Identifier: BSD-2-Clause
// Grace periods: what proves that a core is outside of the kernel, what asking it costs it, and
// that an object's memory waits for it.
#include "kernel.h"
#include "kernel/core/grace.h"

// Lets all cores run for a while, in steps; counts the interrupts that core 2 is sent.
static unsigned run(uint64_t ticks, uint64_t step)
{
    unsigned sent = 0;
    for (uint64_t end = fake.now + ticks; fake.now < end; fake.now += step)
        for (uint32_t core = 0; core < 4; core++) {
            sent += core == 2 && cpus[2]->arch.ipis;
            fake_interrupts(core);
        }
    return sent;
}

static void test_idle_core_is_not_asked(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    struct object *o = fake_object(fake_manager, e);
    for (uint32_t core = 1; core < 4; core++)
        fake.hold[core] = true;
    assert_int_equal(FINISH(0, object_destroy, e), OK); // all others halt: it is over at once
    assert_int_equal(o->dying, OBJECT_FREE);
    for (uint32_t core = 1; core < 4; core++)
        assert_int_equal(cpus[core]->arch.ipis, 0);
}

// A core in ring 3 may hold a pointer as far as anybody knows, until it has been in the kernel.
static void test_waits_for_ring3(void **state)
{
    (void)state;
    fake_spawn(2, 1 * MB, 0);
    int64_t e = CALL(0, event_create, 0);
    struct object *o = fake_object(fake_manager, e);
    fake.hold[2] = true;
    CALL(0, object_destroy, e);
    run(MS, 20000);
    assert_int_equal(o->dying, OBJECT_DYING);
    assert_int_equal(cpus[2]->arch.ipis > 0, 1); // it has been asked
    fake.hold[2] = false;
    fake_interrupts(2);
    assert_int_equal(o->dying, OBJECT_DYING); // the second one has not begun
    run(MS, 20000);
    assert_int_equal(o->dying, OBJECT_FREE);
    assert_int_equal(fake_thread->arch.status, OK);
}

// A look into the kernel by its own choice is as good.
static void test_natural_note(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(2, 1 * MB, 0);
    fake_spawn(2, 1 * MB, 0);
    uint64_t number = grace_begin();
    cpus[2]->grace_asked = fake.now; // not to be asked again soon
    assert_false(grace_over(number));
    assert_int_equal(cpus[2]->arch.ipis, 0);
    fake_yield(2);
    assert_ptr_not_equal(cpus[2]->current, p.thread);
    assert_true(grace_over(number));
    assert_false(grace_over(grace_begin())); // of the next one it knows nothing
    // From idle back in ring 3 it is inside again.
    uint64_t now = grace_begin();
    CALL(2, thread_exit, 0);
    CALL(2, thread_exit, 0);
    assert_int_equal(fake.state[2], FAKE_IDLE);
    assert_true(grace_over(now));
    fake_spawn(2, 1 * MB, 0);
    assert_int_equal(cpus[2]->outside, 0);
    cpus[2]->grace_asked = fake.now;
    assert_false(grace_over(grace_begin()));
}

// Whoever destroys, and however often: a bystander is interrupted once in 100 us at most.
static void test_bystander(void **state)
{
    (void)state;
    struct fake_process p[2] = { fake_spawn(1, 1 * MB, 0),
                                 fake_spawn(3, 1 * MB, 0) };
    struct fake_process by = fake_spawn(2, 1 * MB, 0);
    unsigned sent = 0, destroyed = 0;
    uint64_t start = fake.now;
    while (fake.now < start + 20 * MS) {
        for (unsigned i = 0; i < 2; i++) {
            uint32_t core = p[i].thread->core;
            if (cpus[core]->current != p[i].thread || p[i].thread->mode != THREAD_USER)
                continue;
            int64_t e = CALL(core, event_create, 0);
            assert_true(e > 0);
            CALL(core, object_destroy, e);
            destroyed++;
        }
        sent += run(5000, 5000);
    }
    assert_ptr_equal(cpus[2]->current, by.thread);
    assert_in_range(sent, 1, 201);
    assert_true(destroyed > 100);
}

// The end of a process with many objects takes two grace periods per batch.
static void test_many_objects(void **state)
{
    (void)state;
    fake_spawn(2, 1 * MB, 0);
    uint64_t used = fake_manager->used, frames = frames_count_free();
    struct fake_process a = fake_spawn(1, 4 * MB, 0);
    unsigned n = 0;
    int64_t e = CALL(1, event_create, 0);
    for (; n < 2000; n++) {
        int64_t h = n % 2 ? CALL(1, timer_create, e, 1) : CALL(1, event_create, 0);
        assert_true(h > 0);
        if (n % 2 && n < 2 * THREAD_TIMERS)
            assert_int_equal(CALL(1, timer_arm, h, fake.now + 1000 * MS), OK);
        assert_int_equal(CALL(1, handle_close, h), OK);
    }
    uint64_t start = fake.now;
    unsigned sent = 0;
    CALL(0, object_destroy, a.handle);
    while (fake_thread->op != OP_NONE)
        sent += run(5000, 5000);
    assert_int_equal(fake_thread->arch.status, OK);
    uint64_t end = fake.now;
    assert_int_equal(FINISH(0, object_destroy, a.sc), OK);
    assert_int_equal(fake_manager->used, used);
    assert_true(frames_count_free() <= frames);
    assert_in_range(sent, 1, 2 * (n / 64 + 3));
    assert_in_range(end - start, 1, 10 * MS); // 100,000 of them: half a second
    assert_null(cpus[1]->alarms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON4(test_idle_core_is_not_asked), ON4(test_waits_for_ring3), ON4(test_natural_note),
        ON4(test_bystander), ON4(test_many_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
