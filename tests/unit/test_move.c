// SPDX-License-Identifier: BSD-2-Clause
// A thread that goes to another core, with its vCPU and its timers: from every state that it can be
// in, while others wake it, and while it is killed. The manager is on core 0; the VMM starts on 1.
#include <stdlib.h>
#include "move_scene.h"

static void test_running(void **state)
{
    (void)state;
    struct scene s = best_effort();
    move(&s, 1, 2);
    assert_ptr_equal(cpus[2]->current, s.p.thread);
    assert_int_equal(fake.state[1], FAKE_IDLE);
    assert_int_equal(s.p.thread->arch.argument, 7);
    assert_true(CALL(2, vcpu_run, s.h) == FAKE_BLOCKED); // the vCPU came with it
    assert_int_equal(fake.state[2], FAKE_GUEST);
    move(&s, 2, 3);
    assert_int_equal(fake.state[3], FAKE_GUEST);
    move(&s, 3, 1);
    fake_exit(1, fake_return_fast);
    assert_int_equal(s.p.thread->arch.status, VM_EXIT_PIO);
    move(&s, 1, 2); // bound to its vCPU, which is not inside
    assert_true(fake_call(2, SYS_vcpu_run | SYSCALL_RUN_ON, (uint64_t)s.h, 0, 0, 0, 0, 0) ==
                FAKE_BLOCKED);
    assert_int_equal(fake.state[2], FAKE_GUEST);
    assert_int_equal(s.v->arch.host_core, 2);
}

// It leaves while another process is in ring 3 there, which goes on with what is loaded.
static void test_beside_ring3(void **state)
{
    (void)state;
    struct fake_process b = fake_spawn(1, 1 * MB, 0);
    struct fake_process a = fake_spawn(1, 1 * MB, 0);
    fake_yield(1);
    assert_ptr_equal(cpus[1]->current, a.thread);
    assert_int_equal(CALL(0, sc_move, b.sc, fake_sc(2, 0, 0)), 1);
    fake_interrupts(1);
    assert_int_equal(b.thread->core, 2);
    assert_ptr_equal(cpus[1]->current, a.thread);
    assert_ptr_equal(cpus[1]->space, &a.process->space);
}

// A timer of its process that a thread armed on the core where it goes, and that is nobody's when
// that has ended.
static void test_timer_ahead(void **state)
{
    (void)state;
    struct scene s = best_effort();
    CALL(0, thread_create, s.p.handle, home[2], 0x400000, 0, 0);
    fake_interrupts(2);
    int64_t timer = CALL(2, timer_create, s.event, 1);
    assert_int_equal(CALL(2, timer_arm, timer, fake.now + 5 * MS), OK);
    const struct timer_object *t = object_to(fake_object(s.p.process, timer), timer_object);
    assert_int_equal(CALL(1, timer_arm, timer, fake.now + 3 * MS), ERR_STATE);
    CALL(2, thread_exit, 0);
    assert_true(!t->home && !t->timer.deadline);
    assert_int_equal(CALL(1, timer_arm, timer, fake.now + 3 * MS), OK);
    move(&s, 1, 2);
    assert_ptr_equal(t->home, s.p.thread);
    assert_ptr_equal(s.p.thread->sc->timers, &t->timer);
    assert_int_equal(fake.deadline[2], fake.now + 3 * MS);
}

static void test_refused(void **state)
{
    (void)state;
    struct scene s = best_effort();
    assert_int_equal(CALL(0, sc_move, home[1], home[1]), ERR_RANGE);
    assert_int_equal(CALL(0, sc_move, home[1], s.p.thread_h), ERR_HANDLE);
    assert_int_equal(CALL(0, sc_move, s.p.thread_h, home[1]), ERR_HANDLE);
    int64_t weak = CALL(0, handle_copy, HANDLE_SELF, home[1], RIGHT_USE, 0);
    assert_int_equal(CALL(0, sc_move, weak, home[2]), ERR_RIGHTS);
    weak = CALL(0, handle_copy, HANDLE_SELF, home[2], RIGHT_CONTROL, 0);
    assert_int_equal(CALL(0, sc_move, home[1], weak), ERR_RIGHTS);
    assert_int_equal(CALL(0, sc_move, home[3], home[2]), 0); // nobody is there
}

static void test_queued(void **state)
{
    (void)state;
    struct scene s = best_effort();
    struct fake_process other = fake_spawn(1, 1 * MB, 0);
    fake_yield(1);
    assert_ptr_equal(cpus[1]->current, other.thread);
    move(&s, 1, 2);
    assert_ptr_equal(cpus[2]->current, s.p.thread);
    assert_ptr_equal(cpus[1]->current, other.thread);
    assert_int_equal(fake_yield(1), OK);
}

static void test_shares(void **state)
{
    (void)state;
    int64_t from = fake_sc(1, 100, 10000);
    int64_t to = fake_sc(2, 500, 10000);
    struct scene s = make_scene(from);
    fake_advance(2 * MS);
    assert_int_equal(fake.state[1], FAKE_IDLE); // its time is used up
    assert_int_equal(CALL(0, sc_move, from, to), 1);
    fake_interrupts(1);
    fake_interrupts(2);
    assert_ptr_equal(cpus[2]->current, s.p.thread); // there it has time
    uint64_t before = 0;
    for (unsigned i = 0; i < 1080; i++) {
        if (i == 80) // from here on in whole periods of the share
            before = thread_run_tsc(s.p.thread, fake.now);
        fake_advance(MS / 10);
    }
    assert_in_range((thread_run_tsc(s.p.thread, fake.now) - before) / MS, 49, 51);
    // Without one it is best effort.
    assert_int_equal(CALL(0, sc_move, to, home[3]), 1);
    fake_interrupts(2);
    fake_interrupts(3);
    assert_int_equal(s.p.thread->sc->level, LEVEL_BEST_EFFORT);
    assert_int_equal(FINISH(0, object_destroy, from), OK);
    assert_int_equal(FINISH(0, object_destroy, to), OK);
}

// Deadlines go with it: of its wait, its timer and its local APIC's timer.
static void test_deadlines(void **state)
{
    (void)state;
    struct scene s = best_effort();
    uint64_t start = fake.now;
    CALL(1, timer_arm, s.timer, start + 5 * MS);
    assert_true(CALL(1, event_wait, s.event, 2, start + 3 * MS) == FAKE_BLOCKED);
    move(&s, 1, 2);
    assert_null(cpus[2]->current);
    assert_null(sc_of(home[1])->timers);
    fake_advance(2 * MS);
    assert_null(cpus[2]->current);
    fake_advance(MS);
    assert_ptr_equal(cpus[2]->current, s.p.thread);
    assert_int_equal(s.p.thread->arch.status, ERR_TIMEOUT);
    assert_int_equal(CALL(2, event_wait, s.event, 1, start + 9 * MS), FAKE_BLOCKED);
    fake_advance(2 * MS);
    assert_int_equal(s.p.thread->arch.status, OK);
    assert_int_equal(CALL(2, timer_arm, s.timer, 0), OK); // it is this core's now
}

static void arm_and_halt(struct vcpu *v)
{
    timer_arm(&v->apic_timer, v->home->sc, fake.now + 4 * MS);
    vcpu_halt(v);
}

static void test_halted(void **state)
{
    (void)state;
    struct scene s = best_effort();
    CALL(1, vcpu_run, s.h);
    fake_exit(1, arm_and_halt);
    assert_int_equal(s.p.thread->state, THREAD_BLOCKED);
    move(&s, 1, 3);
    assert_int_equal(s.p.thread->state, THREAD_BLOCKED);
    fake_advance(4 * MS);
    assert_ptr_equal(cpus[3]->current, s.p.thread);
    assert_int_equal(fake.state[3], FAKE_GUEST);
    assert_int_equal(s.v->halt_tsc, 4 * MS);
}

// What wakes it comes while it is between two cores, or is pushed to the old one.
static void test_woken_in_between(void **state)
{
    (void)state;
    struct scene s = best_effort();
    assert_true(CALL(1, event_wait, s.event, 4, 0) == FAKE_BLOCKED);
    assert_int_equal(ask(&s, 2), OK);
    fake_interrupts(1);
    assert_int_equal(s.p.thread->state, THREAD_MOVING);
    CALL(0, event_signal, MANAGER_EVENT, 4);
    assert_int_equal(s.p.thread->state, THREAD_MOVING);
    fake_interrupts(2);
    assert_ptr_equal(cpus[2]->current, s.p.thread);
    assert_int_equal(s.p.thread->arch.value, 4);
    // And on the new core itself, before it has taken its interrupt.
    struct fake_process other = fake_spawn(3, 1 * MB, 0);
    memcpy(&other.process->handles[60], &s.p.process->handles[s.event], 8);
    assert_true(CALL(2, event_wait, s.event, 4, 0) == FAKE_BLOCKED);
    fake.hold[3] = true;
    assert_int_equal(ask(&s, 3), OK);
    fake_interrupts(2);
    CALL(3, event_signal, 60, 4);
    assert_int_equal(s.p.thread->state, THREAD_MOVING);
    assert_ptr_equal(cpus[3]->current, other.thread);
    fake.hold[3] = false;
    fake_interrupts(3);
    assert_int_equal(s.p.thread->state, THREAD_RUNNABLE);
    assert_int_equal(s.p.thread->arch.value, 4);
}

// It is on the old core's list of those to look at, and leaves before that core looks.
static void test_found_on_old_list(void **state)
{
    (void)state;
    struct scene s = best_effort();
    assert_int_equal(ask(&s, 2), OK);
    cpus[1]->remote_wake = NULL; // as if taken, and pushed again behind the look at `asked`
    s.p.thread->remote_pending = 0;
    cpus[1]->work |= CPU_WORK_RESCHED;
    fake.core = 1;
    s.p.thread->remote_pending = 1;
    s.p.thread->remote_next = NULL;
    fake_yield(1); // leaves; its own push finds it pending
    assert_int_equal(s.p.thread->state, THREAD_MOVING);
    cpus[1]->remote_wake = s.p.thread;
    cpus[1]->arch.ipis++;
    fake_interrupts(2);
    assert_int_equal(s.p.thread->state, THREAD_MOVING);
    fake_interrupts(1); // passes it on
    fake_interrupts(2);
    assert_ptr_equal(cpus[2]->current, s.p.thread);
    assert_int_equal(s.p.thread->remote_pending, 0);
}

static void test_killed_in_between(void **state)
{
    (void)state;
    struct scene s = best_effort();
    CALL(1, vcpu_run, s.h);
    fake_exit(1, arm_and_halt);
    assert_int_equal(ask(&s, 2), OK);
    fake_interrupts(1);
    fake_kill(s.p.thread_h);
    assert_int_equal(s.p.thread->state, THREAD_MOVING);
    fake_interrupts(2);
    assert_int_equal(s.p.thread->state, THREAD_DEAD);
    assert_int_equal(FINISH(0, object_destroy, s.p.handle), OK);
    assert_null(sc_of(home[1])->timers);
    assert_null(sc_of(home[2])->timers);
    // Asked for both at once: it ends where it is.
    s = best_effort();
    fake.hold[1] = true;
    ask(&s, 2);
    fake_kill(s.p.thread_h);
    fake.hold[1] = false;
    fake_interrupts(1);
    assert_int_equal(s.p.thread->state, THREAD_DEAD);
    assert_int_equal(s.p.thread->core, 1);
    assert_int_equal(FINISH(0, object_destroy, s.p.handle), OK);
}

// Somebody else destroys what the VMM made, in any step of a move, at any step of the destroying:
// the core that was asked to stop it may not have it any more.
static void destroy_while_moving(unsigned step, bool vcpu, bool back)
{
    struct scene s = best_effort();
    struct fake_process other = fake_spawn(3, 1 * MB, 0);
    memcpy(&other.process->handles[60], &s.p.process->handles[vcpu ? s.h : s.timer], 8);
    CALL(1, timer_arm, s.timer, fake.now + 100 * MS);
    if (vcpu)
        CALL(1, vcpu_run, s.h);
    else
        CALL(1, event_wait, s.event, 2, 0);
    CALL(3, object_destroy, 60);
    for (unsigned i = 0; i < 200; i++) {
        if (i == step) {
            fake.hold[1] = true;
            (void)ask(&s, 2);
        }
        if (i == step + 3) {
            fake.hold[1] = false;
            fake_interrupts(1);
        }
        if (i == step + 5 && back)
            (void)ask(&s, 1);
        for (uint32_t core = 0; core < 4; core++)
            fake_interrupts(core);
        fake.now += 5000;
    }
    assert_int_equal(other.thread->arch.status, OK);
    assert_int_equal(other.thread->op, OP_NONE);
    assert_int_equal(s.p.thread->core, back ? 1 : 2);
    assert_int_equal(FINISH(0, object_destroy, s.p.handle), OK);
    assert_int_equal(FINISH(0, object_destroy, other.handle), OK);
    assert_int_equal(FINISH(0, object_destroy, other.sc), OK);
    for (uint32_t core = 0; core < 4; core++) {
        assert_int_equal(FINISH(0, object_destroy, home[core]), OK);
        assert_null(cpus[core]->alarms);
    }
}

static void test_destroyed_while_moving(void **state)
{
    (void)state;
    for (unsigned step = 0; step < 30; step++)
        for (unsigned kind = 0; kind < 4; kind++)
            destroy_while_moving(step, kind & 1, kind & 2);
}

// A core is asked to stop what leaves it before it takes the interrupt, and has arrived elsewhere
// by then.
static void test_asked_too_late(void **state)
{
    (void)state;
    struct scene s = best_effort();
    CALL(1, timer_arm, s.timer, fake.now + 100 * MS);
    CALL(1, vcpu_run, s.h);
    move(&s, 1, 2);
    struct object *asked[] = { fake_object(s.p.process, s.timer), fake_object(s.p.process, s.h) };
    for (unsigned i = 0; i < ARRAY_SIZE(asked); i++) {
        asked[i]->stop = STOP_WANTED;
        fake.core = 3;
        assert_false(cpu_stop(asked[i], 1));
        fake_interrupts(1);
        assert_null(cpus[1]->stop_request);
        assert_int_equal(asked[i]->stop, STOP_WANTED);
    }
    assert_ptr_equal(s.p.thread->sc->timers, &object_to(asked[0], timer_object)->timer);
    assert_ptr_equal(s.v->home, s.p.thread);
    assert_int_equal(FINISH(0, object_destroy, s.p.handle), OK);
}

// While the kernel does long work for it, it stays; then it goes.
static void test_long_work(void **state)
{
    (void)state;
    struct scene s = best_effort();
    fake.hold[1] = true;
    assert_int_equal(ask(&s, 2), OK);
    assert_int_equal(s.p.thread->core, 1);
    CALL(1, mem_create, 4 * MB, PAGE_SIZE, 0);
    fake.hold[1] = false;
    for (unsigned i = 0; i < 1000 && s.p.thread->core == 1; i++) {
        assert_int_equal(s.p.thread->state, THREAD_RUNNABLE);
        fake_interrupts(1);
    }
    fake_interrupts(2);
    assert_ptr_equal(cpus[2]->current, s.p.thread);
    assert_true(s.p.thread->arch.status > 0); // the handle of what it made
}

// Asked to leave in the middle of long work, and then its quantum ends, again and again: it stands
// in the queue once, and when it has gone it is on one core.
static void test_long_work_beside_another(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 60 * MB, 0);
    struct fake_process other = fake_spawn(1, 1 * MB, 0);
    int64_t e = CALL(0, event_create, 0);
    CALL(0, handle_copy, other.handle, e, RIGHT_WAIT, 40);
    assert_ptr_equal(cpus[1]->current, p.thread);
    assert_int_equal(CALL(0, sc_move, p.sc, fake_sc(2, 0, 0)), 1);
    CALL(1, mem_create, 32 * MB, PAGE_SIZE, 0); // its quantum ends in the middle
    assert_ptr_equal(cpus[1]->current, other.thread);
    CALL(1, event_wait, 40, 1, 0); // now it goes on, ends its work and leaves
    for (unsigned i = 0; i < 200 && p.thread->core == 1; i++)
        fake_interrupts(1);
    fake_interrupts(2);
    assert_ptr_equal(cpus[2]->current, p.thread);
    assert_int_equal(fake.state[1], FAKE_IDLE);
    CALL(0, event_signal, e, 1);
    fake_interrupts(1);
    assert_ptr_equal(cpus[1]->current, other.thread);
    assert_int_equal(fake_yield(1), OK);
    assert_ptr_equal(cpus[2]->current, p.thread);
}

// Thousands of moves at arbitrary moments: nothing is lost, no deadline is missed.
static void test_many(void **state)
{
    (void)state;
    struct scene s = best_effort();
    uint64_t due = 0, fired = 0, waits = 0;
    srand(7);
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t core = s.p.thread->core;
        if (rand() % 4 == 0)
            (void)ask(&s, (uint32_t)rand() % 4);
        if (fake.state[core] == FAKE_USER && cpus[core]->current == s.p.thread) {
            if (waits && s.p.thread->arch.status == OK) {
                assert_true(fake.now >= due);
                fired++;
            }
            due = fake.now + (uint64_t)(rand() % 3 + 1) * MS;
            waits++;
            if (CALL(core, timer_arm, s.timer, due) == OK)
                CALL(core, event_wait, s.event, 1, 0);
        }
        fake_interrupts((uint32_t)rand() % 4);
        if (rand() % 3 == 0)
            fake_advance(MS / 2);
    }
    assert_true(fired > 1000);
    assert_true(s.v->arch.left > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON4(test_running), ON4(test_timer_ahead), ON4(test_beside_ring3), ON4(test_refused),
        ON4(test_queued),
        ON4(test_shares), ON4(test_deadlines), ON4(test_halted), ON4(test_woken_in_between),
        ON4(test_found_on_old_list), ON4(test_killed_in_between), ON4(test_long_work),
        ON4(test_long_work_beside_another), ON4(test_destroyed_while_moving), ON4(test_many),
        ON4(test_asked_too_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
