// SPDX-License-Identifier: BSD-2-Clause
// Budgets: a share is what its threads get, no more and no less, beside any neighbour.
#include "kernel.h"
#include "kernel/core/yield.h"

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
    struct fake_process greedy = fake_spawn(1, 1 * MB, PRIO_BEST_EFFORT, 0);
    int64_t b = CALL(0, budget_create, 1, 250, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, PRIO_BUDGET, (uint64_t)b);
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
    int64_t b = CALL(0, budget_create, 1, 100, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, PRIO_BUDGET, (uint64_t)b);
    uint64_t before = thread_run_tsc(p.thread, fake.now);
    run(100 * PERIOD);
    assert_int_equal(percent_of(p.thread, before, 100 * PERIOD), 10);
    assert_true(cpus[1]->idle_tsc > 85 * PERIOD);
}

static void test_full_core(void **state)
{
    (void)state;
    int64_t a = CALL(0, budget_create, 1, 600, PERIOD_US);
    int64_t b = CALL(0, budget_create, 1, 400, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, PRIO_BUDGET, (uint64_t)a);
    struct fake_process q = fake_spawn(1, 1 * MB, PRIO_BUDGET, (uint64_t)b);
    struct fake_process r = fake_spawn(1, 1 * MB, PRIO_BEST_EFFORT, 0);
    uint64_t before[3] = { thread_run_tsc(p.thread, fake.now), thread_run_tsc(q.thread, fake.now),
                           thread_run_tsc(r.thread, fake.now) };
    run(100 * PERIOD);
    assert_int_equal(percent_of(p.thread, before[0], 100 * PERIOD), 60);
    assert_int_equal(percent_of(q.thread, before[1], 100 * PERIOD), 40);
    assert_int_equal(percent_of(r.thread, before[2], 100 * PERIOD), 0);
}

// Budgets that were made at different moments, as VMs are, and that promise the whole core: all of
// it is given, in each second.
static void test_full_core_of_three(void **state)
{
    (void)state;
    static const uint64_t share[3] = { 200, 300, 500 };
    struct fake_process p[3];
    uint64_t before[3];
    for (unsigned i = 0; i < 3; i++) {
        int64_t b = CALL(0, budget_create, 1, share[i], PERIOD_US);
        p[i] = fake_spawn(1, 1 * MB, PRIO_BUDGET, (uint64_t)b);
        run(PERIOD * 7 / 3);
    }
    fake_spawn(1, 1 * MB, PRIO_BEST_EFFORT, 0);
    for (unsigned second = 0; second < 3; second++) {
        for (unsigned i = 0; i < 3; i++)
            before[i] = thread_run_tsc(p[i].thread, fake.now);
        run(100 * PERIOD);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(percent_of(p[i].thread, before[i], 100 * PERIOD), share[i] / 10);
    }
}

// One that wakes does not wait for the quantum of another with a budget, and takes nothing from it.
static void test_wakes_before_its_equals(void **state)
{
    (void)state;
    int64_t a = CALL(0, budget_create, 1, 900, PERIOD_US);
    struct fake_process spinner = fake_spawn(1, 1 * MB, PRIO_BUDGET, (uint64_t)a);
    fake_spawn(1, 1 * MB, PRIO_BEST_EFFORT, 0);
    int64_t b = CALL(0, budget_create, 1, 100, PERIOD_US);
    int64_t e = CALL(0, event_create, 0);
    struct fake_process p = fake_spawn(1, 1 * MB, PRIO_BUDGET, (uint64_t)b);
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

// Threads of one budget share it; one that was made by another inherits it.
static void test_shared(void **state)
{
    (void)state;
    int64_t b = CALL(0, budget_create, 1, 500, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, PRIO_BUDGET, (uint64_t)b);
    int64_t h = CALL(1, thread_create, HANDLE_SELF, 1, 0x400000, 0, 0);
    struct thread *second = object_to(fake_object(p.process, h), thread);
    CALL(1, thread_start, h);
    uint64_t before = thread_run_tsc(p.thread, fake.now) + thread_run_tsc(second, fake.now);
    run(100 * PERIOD);
    uint64_t both = thread_run_tsc(p.thread, fake.now) + thread_run_tsc(second, fake.now) - before;
    assert_int_equal((both + PERIOD / 2) * 100 / (100 * PERIOD), 50);
    assert_in_range(thread_run_tsc(second, fake.now) * 100 / both, 45, 55);
}

static void test_wakes_with_budget(void **state)
{
    (void)state;
    fake_spawn(1, 1 * MB, PRIO_BEST_EFFORT, 0);
    int64_t b = CALL(0, budget_create, 1, 250, PERIOD_US);
    int64_t e = CALL(0, event_create, 0);
    struct fake_process p = fake_spawn(1, 1 * MB, PRIO_BUDGET, (uint64_t)b);
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

// What the kernel does for a thread counts: a debt is paid by the next periods.
static void test_debt(void **state)
{
    (void)state;
    int64_t b = CALL(0, budget_create, 1, 100, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, PRIO_BUDGET, (uint64_t)b);
    struct budget *budget = object_to(fake_object(fake_manager, b), budget);
    fake.now += PERIOD / 10 + PERIOD / 20; // the kernel does not look for so long
    fake_interrupts(1);
    assert_int_equal(p.thread->state, THREAD_PARKED);
    assert_int_equal(fake.state[1], FAKE_IDLE);
    uint64_t before = thread_run_tsc(p.thread, fake.now);
    assert_true(budget->left < 0);
    fake_advance(budget->refill.deadline - fake.now);
    assert_ptr_equal(cpus[1]->current, p.thread);
    run(PERIOD - STEP);
    assert_in_range(thread_run_tsc(p.thread, fake.now) - before, PERIOD / 20 - 2 * STEP,
                    PERIOD / 20 + 2 * STEP);
}

// However long it sleeps afterwards, it pays all that it overdrew.
static void test_debt_is_never_forgiven(void **state)
{
    (void)state;
    int64_t b = CALL(0, budget_create, 1, 10, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, PRIO_BUDGET, (uint64_t)b);
    int64_t e = CALL(1, event_create, 0);
    uint64_t start = fake.now, before = thread_run_tsc(p.thread, fake.now);
    while (fake.now - start < 400 * PERIOD) {
        fake.now += PERIOD; // one call that takes that long
        assert_true(CALL(1, event_wait, e, 1, fake.now + 2 * PERIOD) == FAKE_BLOCKED);
        while (cpus[1]->current != p.thread)
            fake_advance(PERIOD / 20);
    }
    uint64_t ran = thread_run_tsc(p.thread, fake.now) - before;
    assert_in_range(ran * 1000 / (fake.now - start), 8, 12);
}

static struct vcpu *guest_here(struct thread *t, uint32_t core)
{
    while (cpus[core]->current != t)
        fake_advance(STEP);
    int64_t vm = CALL(core, vm_create, 0), page = CALL(core, mem_create, PAGE_SIZE, PAGE_SIZE, 0);
    int64_t h = CALL(core, vcpu_create, vm, 0, page, 0);
    struct vcpu *v = object_to(fake_object(t->process, h), vcpu);
    CALL(core, vcpu_run, h);
    return v;
}

// A yield that the short way refuses, and that pick() then does, is charged once.
static void test_refused_yield_is_charged_once(void **state)
{
    (void)state;
    fake_advance(100000 * MS); // the machine has been up for a while
    int64_t h[2];
    struct fake_process p[2];
    for (unsigned i = 0; i < 2; i++) {
        h[i] = CALL(0, budget_create, 1, 400, PERIOD_US);
        p[i] = fake_spawn(1, 8 * MB, PRIO_BUDGET, (uint64_t)h[i]);
        guest_here(p[i].thread, 1);
    }
    while (cpus[1]->current != p[0].thread)
        fake_advance(STEP);
    struct budget *b = object_to(fake_object(fake_manager, h[0]), budget);
    object_to(fake_object(fake_manager, h[1]), budget)->left = -1;
    int64_t ran = p[0].thread->ran, left = b->left;
    uint64_t charged = cpus[1]->switch_tsc;
    fake.core = 1;
    assert_null(sched_yield_to_guest(cpus[1], fake.now));
    fake.core = 0;
    assert_int_equal(p[0].thread->ran, ran);
    assert_int_equal(b->left, left);
    assert_int_equal(cpus[1]->switch_tsc, charged);
}

// The short way runs nobody at a priority that he has lost with his budget.
static void test_yield_without_budget(void **state)
{
    (void)state;
    int64_t h[2];
    struct fake_process p[2];
    for (unsigned i = 0; i < 2; i++) {
        h[i] = CALL(0, budget_create, 1, 400, PERIOD_US);
        p[i] = fake_spawn(1, 8 * MB, PRIO_BUDGET, (uint64_t)h[i]);
        guest_here(p[i].thread, 1);
    }
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(FINISH(0, object_destroy, h[i]), OK);
    fake.core = 1;
    struct thread *next = sched_yield_to_guest(cpus[1], fake.now);
    fake.core = 0;
    assert_true(!next || next->priority == PRIO_BEST_EFFORT);
}

static void test_admission(void **state)
{
    (void)state;
    int64_t a = CALL(0, budget_create, 1, 700, PERIOD_US);
    assert_true(a > 0);
    assert_int_equal(CALL(0, budget_create, 1, 301, PERIOD_US), ERR_BUSY);
    assert_true(CALL(0, budget_create, 0, 301, PERIOD_US) > 0); // another core
    assert_true(CALL(0, budget_create, 1, 300, PERIOD_US) > 0);
    assert_int_equal(FINISH(0, object_destroy, a), OK);
    assert_true(CALL(0, budget_create, 1, 700, PERIOD_US) > 0);
    assert_int_equal(CALL(0, budget_create, 2, 1, PERIOD_US), ERR_RANGE);
    assert_int_equal(CALL(0, budget_create, 1, 0, PERIOD_US), ERR_RANGE);
    assert_int_equal(CALL(0, budget_create, 0, 1001, PERIOD_US), ERR_RANGE);
    assert_int_equal(CALL(0, budget_create, 0, 1, 99), ERR_RANGE);
    assert_int_equal(CALL(0, budget_create, 0, 1, 1000001), ERR_RANGE);
}

// Threads of a destroyed budget go on as best effort, parked ones too.
static void test_destroy(void **state)
{
    (void)state;
    int64_t b = CALL(0, budget_create, 1, 100, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, PRIO_BUDGET, (uint64_t)b);
    run(PERIOD / 2);
    assert_int_equal(p.thread->state, THREAD_PARKED);
    assert_int_equal(FINISH(0, object_destroy, b), OK);
    assert_ptr_equal(cpus[1]->current, p.thread);
    assert_int_equal(p.thread->priority, PRIO_BEST_EFFORT);
    assert_true(list_empty(&cpus[1]->timers));
    run(2 * PERIOD);
    assert_ptr_equal(cpus[1]->current, p.thread);
}

static void test_kill_parked(void **state)
{
    (void)state;
    int64_t b = CALL(0, budget_create, 1, 100, PERIOD_US);
    struct fake_process p = fake_spawn(1, 1 * MB, PRIO_BUDGET, (uint64_t)b);
    run(PERIOD / 2);
    assert_int_equal(p.thread->state, THREAD_PARKED);
    CALL(0, thread_kill, p.thread_h);
    fake_interrupts(1);
    assert_int_equal(p.thread->state, THREAD_DEAD);
    run(2 * PERIOD); // the refill finds nobody
    assert_int_equal(fake.state[1], FAKE_IDLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON2(test_share_beside_best_effort), ON2(test_hard_limit), ON2(test_full_core),
        ON2(test_full_core_of_three), ON2(test_wakes_before_its_equals), ON2(test_shared),
        ON2(test_wakes_with_budget), ON2(test_debt), ON2(test_debt_is_never_forgiven),
        ON2(test_refused_yield_is_charged_once), ON2(test_yield_without_budget),
        ON2(test_admission), ON2(test_destroy), ON2(test_kill_parked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
