// SPDX-License-Identifier: BSD-2-Clause
// The short way of a yield from guest to guest.
#include "kernel.h"
#include "kernel/core/yield.h"

#define STEP (MS / 100) // time between two looks at the clock

static struct vcpu *guest_here(struct thread *t, uint32_t core)
{
    while (cpus[core]->current != t)
        fake_advance(STEP);
    int64_t vm = CALL(core, vm_create, 0);
    int64_t page = CALL(core, mem_create, PAGE_SIZE, PAGE_SIZE, MEM_KERNEL);
    int64_t h = CALL(core, vcpu_create, vm, 0, page, 0);
    struct vcpu *v = object_to(fake_object(t->process, h), vcpu);
    CALL(core, vcpu_run, h);
    return v;
}

// Two VMs of best effort inside their guests, of which the first runs.
static void two_guests(struct fake_process p[2])
{
    fake_advance(100000 * MS); // the machine has been up for a while
    for (unsigned i = 0; i < 2; i++) {
        p[i] = fake_spawn(1, 8 * MB, 0);
        guest_here(p[i].thread, 1);
    }
    while (cpus[1]->current != p[0].thread)
        fake_advance(STEP);
}

// The short way of a yield, on core 1.
static struct thread *short_yield(void)
{
    fake.now += 1000;
    fake.core = 1;
    struct thread *next = sched_yield_to_guest(cpus[1], fake.now);
    fake.core = 0;
    return next;
}

// A yield that the short way refuses, and that pick() then does, is charged once.
static void test_refused_yield_is_charged_once(void **state)
{
    (void)state;
    struct fake_process p[2];
    two_guests(p);
    struct sc *b = p[0].thread->sc;
    fake.core = 1;
    timer_arm(&p[1].thread->wait_timer, p[1].thread->sc, cpus[1]->deadline - 1);
    fake.core = 0;
    int64_t ran = b->ran;
    uint64_t charged = cpus[1]->switch_tsc;
    assert_null(short_yield());
    assert_int_equal(b->ran, ran);
    assert_int_equal(cpus[1]->switch_tsc, charged);
}

// The short way of a yield does what the long one does.
static void test_short_yield(void **state)
{
    (void)state;
    struct fake_process p[2];
    two_guests(p);
    uint64_t before[2] = { thread_run_tsc(p[0].thread, fake.now),
                           thread_run_tsc(p[1].thread, fake.now) };
    for (unsigned i = 0; i < 100; i++) {
        struct thread *next = short_yield();
        assert_ptr_equal(next, p[(i + 1) % 2].thread);
        assert_ptr_equal(cpus[1]->current, next);
        assert_ptr_equal(cpus[1]->sc, next->sc);
        assert_ptr_equal(cpus[1]->queue[LEVEL_BEST_EFFORT], next->sc);
        assert_true(cpus[1]->deadline <= cpus[1]->switch_tsc + (uint64_t)cpus[1]->quantum_left);
    }
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(thread_run_tsc(p[i].thread, fake.now) - before[i], 50 * 1000);
}

// Two that yielded to each other do not go on so once there is a third one, or a second thread of
// one of them: it is his turn then.
static void test_short_yield_forgets(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        struct fake_process p[2];
        two_guests(p);
        for (unsigned i = 0; i < 10; i++)
            fake_exit(1, fake_exit_yield);
        uint64_t turns = cpus[1]->turns;
        fake_exit(1, fake_exit_yield);
        assert_int_equal(cpus[1]->turns, turns); // they do it the short way
        int64_t h = round ? (int64_t)fake_spawn(1, 1 * MB, 0).thread_h
                          : CALL(0, thread_create, p[1].handle, p[1].sc, 0x400000, 0x800000, 0);
        struct thread *t = object_to(fake_object(fake_manager, h), thread);
        fake_interrupts(1);
        uint64_t before = thread_run_tsc(t, fake.now), start = fake.now;
        while (fake.now < start + 100 * MS) {
            if (fake.state[1] == FAKE_GUEST)
                fake_exit(1, fake_exit_yield);
            fake_advance(STEP);
        }
        assert_true(thread_run_tsc(t, fake.now) - before > 95 * MS);
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(FINISH(0, object_destroy, p[i].handle), OK);
    }
}

// A context whose timer is due stands in the queue before any of its threads is ready. The system's
// has an amount, so what one would take for a thread there looks like one inside a guest.
static void test_next_has_timers_only(void **state)
{
    (void)state;
    fake_advance(100000 * MS);
    int64_t h = CALL(0, sc_create, BOOT_HANDLE_SYSTEM, 1, 10, 1000, SC_SOFT);
    struct fake_process p = fake_spawn(1, 8 * MB, 0);
    guest_here(p.thread, 1);
    struct fake_process q = fake_spawn(1, 8 * MB, h);
    struct sc *s = q.thread->sc;
    while (s->level != LEVEL_BEST_EFFORT || cpus[1]->current != q.thread)
        fake_advance(100);
    int64_t e = CALL(1, event_create, 0);
    assert_int_equal(CALL(1, event_wait, e, 1, fake.now + 2000), FAKE_BLOCKED);
    fake_advance(2100);
    assert_ptr_equal(cpus[1]->current, p.thread);
    assert_true(s->queued && list_empty(&s->ready));
    s->amount = (uint64_t)THREAD_GUEST << 8; // where `mode` would be
    assert_null(short_yield());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON2(test_refused_yield_is_charged_once), ON2(test_short_yield),
        ON2(test_short_yield_forgets), ON2(test_next_has_timers_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
