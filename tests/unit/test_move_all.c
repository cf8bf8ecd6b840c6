// SPDX-License-Identifier: BSD-2-Clause
// What goes along when the threads of a context go to another one: all of them, and what is theirs.
#include "move_scene.h"

// Threads leave and arrive one in each interrupt.
static void interrupts(unsigned core)
{
    do
        fake_interrupts(core);
    while (cpus[core]->arch.ipis);
}

// All that runs on a context goes: the threads of its process and of its children,
// and one that is made while the others are on their way. It is empty only behind the last.
static void test_all_of_them(void **state)
{
    (void)state;
    struct scene s = best_effort();
    struct thread *t[4];
    CALL(1, timer_arm, s.timer, fake.now + 5 * MS);
    int64_t child = CALL(1, process_create, 1 * MB, 0, 0), h[4];
    fake_grant(object_to(fake_object(s.p.process, child), process));
    for (unsigned i = 0; i < 3; i++) {
        h[i] = CALL(1, thread_create, i < 2 ? HANDLE_SELF : child, 0, 0x400000, 0, 0);
        t[i] = object_to(fake_object(s.p.process, h[i]), thread);
    }
    fake.hold[1] = true;
    assert_int_equal(CALL(0, sc_move, home[1], home[2]), 4);
    h[3] = CALL(1, thread_create, HANDLE_SELF, 0, 0x400000, 0, 0);
    t[3] = object_to(fake_object(s.p.process, h[3]), thread);
    fake.hold[1] = false;
    fake_interrupts(1);
    assert_int_equal((t[0]->core == 2) + (t[1]->core == 2) + (t[2]->core == 2), 1);
    interrupts(1);
    interrupts(2);
    assert_int_equal(t[3]->core, 1);
    assert_int_equal(CALL(0, object_destroy, home[1]), ERR_BUSY);
    assert_int_equal(CALL(0, sc_move, home[1], home[2]), 1);
    interrupts(1);
    interrupts(2);
    assert_int_equal(CALL(0, sc_move, home[1], home[2]), 0);
    assert_int_equal(FINISH(0, object_destroy, home[1]), OK);
    assert_int_equal(fake.state[1], FAKE_IDLE);
    assert_null(cpus[1]->alarms);
    assert_int_equal(s.v->core, 2);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(t[i]->core, 2);
        assert_int_equal(t[i]->asked, 0);
        assert_ptr_equal(t[i]->sc, s.p.thread->sc);
    }
    assert_int_equal(t[0]->state, THREAD_RUNNABLE);
    assert_int_equal(t[2]->state, THREAD_RUNNABLE);
}

// One thread of several, with its vCPU; the context lives on with the others.
static void test_one_of_them(void **state)
{
    (void)state;
    struct scene s = best_effort();
    int64_t h = CALL(1, thread_create, HANDLE_SELF, 0, 0x400000, 0, 0);
    struct thread *other = object_to(fake_object(s.p.process, h), thread);
    assert_int_equal(CALL(0, sc_move, home[1], home[2], home[2]), ERR_HANDLE);
    assert_int_equal(CALL(0, sc_move, home[2], home[3], s.p.thread_h), 0); // it is not there
    assert_int_equal(CALL(0, sc_move, home[1], home[2], s.p.thread_h), 1);
    interrupts(1);
    interrupts(2);
    assert_int_equal(s.p.thread->core, 2);
    assert_int_equal(s.v->core, 2);
    assert_int_equal(other->core, 1);
    assert_int_equal(CALL(0, sc_move, home[1], home[2], s.p.thread_h), 0);
    assert_int_equal(CALL(0, object_destroy, home[1]), ERR_BUSY);
    assert_int_equal(CALL(0, sc_move, home[1], home[2]), 1);
    interrupts(1);
    assert_int_equal(FINISH(0, object_destroy, home[1]), OK);
}

// What another thread made stays with that one: only what is a thread's own goes with it.
static void test_takes_only_its_own(void **state)
{
    (void)state;
    struct scene s = best_effort();
    int64_t h = CALL(0, thread_create, s.p.handle, home[3], 0x400000, 0, 0);
    fake_interrupts(3);
    int64_t timer = CALL(3, timer_create, s.event, 2);
    uint64_t start = fake.now;
    assert_int_equal(CALL(3, timer_arm, timer, start + 2 * MS), OK);
    assert_int_equal(CALL(1, timer_arm, timer, start + 2 * MS), ERR_STATE);
    CALL(1, timer_arm, s.timer, start + 4 * MS);
    move(&s, 1, 2);
    assert_int_equal(CALL(2, timer_arm, timer, start + 2 * MS), ERR_STATE);
    assert_int_equal(CALL(2, timer_arm, s.timer, start + 4 * MS), OK);
    assert_int_equal(CALL(3, vcpu_run, s.h), ERR_STATE);
    // One whose thread has ended is for any that arms it.
    fake_kill(h);
    fake_interrupts(3);
    assert_int_equal(CALL(2, timer_arm, timer, start + 2 * MS), OK);
    assert_true(CALL(2, event_wait, s.event, 3, 0) == FAKE_BLOCKED);
    fake_advance(2 * MS);
    fake_interrupts(2);
    assert_int_equal(s.p.thread->arch.value, 2);
    assert_int_equal(FINISH(0, object_destroy, s.p.handle), OK);
}

// A vCPU goes with the thread that ran it last.
static void test_vcpu_goes_with_its_runner(void **state)
{
    (void)state;
    struct scene s = best_effort();
    int64_t h = CALL(1, thread_create, HANDLE_SELF, 0, 0x400000, 0, 0);
    struct thread *t = object_to(fake_object(s.p.process, h), thread);
    assert_ptr_equal(s.v->home, s.p.thread);
    fake_yield(1);
    assert_ptr_equal(cpus[1]->current, t);
    CALL(1, vcpu_run, s.h);
    assert_ptr_equal(s.v->home, t);
    fake_kill(s.p.thread_h);
    fake_interrupts(1);
    assert_int_equal(CALL(0, sc_move, home[1], home[2]), 1);
    fake_interrupts(1);
    fake_interrupts(2);
    assert_int_equal(s.v->core, 2);
    assert_int_equal(fake.state[2], FAKE_GUEST);
    assert_int_equal(FINISH(0, object_destroy, s.p.handle), OK);
}

// To another context of the same core, as the manager goes to the one that the config gives it.
static void test_same_core(void **state)
{
    (void)state;
    struct scene s = best_effort();
    int64_t to = fake_sc(1, 500, 1000);
    CALL(1, timer_arm, s.timer, fake.now + 2 * MS);
    assert_int_equal(CALL(0, sc_move, home[1], to), 1);
    fake_interrupts(1);
    assert_ptr_equal(cpus[1]->current, s.p.thread);
    assert_int_equal(s.p.thread->sc->level, LEVEL_1MS);
    assert_int_equal(FINISH(0, object_destroy, home[1]), OK);
    fake_advance(3 * MS);
    while (cpus[1]->current != s.p.thread)
        fake_advance(MS / 10);
    assert_int_equal(CALL(1, event_wait, s.event, 1, 0), OK);
    // And the caller itself.
    int64_t mine = CALL(0, sc_create, BOOT_HANDLE_SYSTEM, 0, 100, 1000, SC_SOFT);
    struct sc *before = fake_thread->sc;
    handle_set(fake_manager, 120, &before->object, RIGHT_ALL);
    assert_int_equal(CALL(0, sc_move, 120, mine), 1);
    assert_ptr_equal(cpus[0]->current, fake_thread);
    assert_ptr_not_equal(fake_thread->sc, before);
    assert_int_equal(before->users, 0);
    assert_int_equal(CALL(0, sc_move, 120, mine), 0);
}

// What a VM has run is told as one sum, wherever it ran.
static void test_run_time_goes_along(void **state)
{
    (void)state;
    struct scene s = best_effort();
    struct vcpu_stats *stats = user_page(0);
    CALL(1, vcpu_run, s.h);
    fake_advance(3 * MS);
    move(&s, 1, 2);
    fake_advance(2 * MS);
    assert_int_equal(CALL(0, system_stats, BOOT_HANDLE_SYSTEM, 0, USER_PAGE), 1);
    assert_in_range(stats->run_tsc, 5 * MS, 5 * MS + 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON4(test_all_of_them), ON4(test_one_of_them),
        ON4(test_takes_only_its_own), ON4(test_vcpu_goes_with_its_runner),
        ON4(test_same_core), ON4(test_run_time_goes_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
