// SPDX-License-Identifier: BSD-2-Clause
// The run queue: priorities, round robin, wake-ups, other cores, the hardware timer, kills.
#include "kernel.h"

#define QUANTUM (QUANTUM_US * 1000ull)

static void test_alone(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    assert_ptr_equal(cpus[1]->current, p.thread);
    assert_int_equal(p.thread->arch.argument, 7);
    assert_true(cpus[1]->deadline == UINT64_MAX); // nobody else: no timer at all
    fake_advance(100 * MS);
    assert_int_equal(fake_yield(1), OK);
    assert_ptr_equal(cpus[1]->current, p.thread);
}

static void test_priorities(void **state)
{
    (void)state;
    struct fake_process low = fake_spawn(1, 1 * MB, 0);
    int64_t e = CALL(0, event_create, 0);
    struct fake_process high = fake_spawn(1, 1 * MB, fake_sc(1, 1000, 1000));
    assert_ptr_equal(cpus[1]->current, high.thread); // at once
    fake_advance(10 * QUANTUM);
    assert_ptr_equal(cpus[1]->current, high.thread);
    assert_int_equal(fake_yield(1), OK); // only to its equals
    CALL(0, handle_copy, high.handle, e, RIGHT_WAIT, 40);
    assert_true(CALL(1, event_wait, 40, 1, 0) == FAKE_BLOCKED);
    assert_ptr_equal(cpus[1]->current, low.thread);
    CALL(0, event_signal, e, 1);
    fake_interrupts(1);
    assert_ptr_equal(cpus[1]->current, high.thread);
    assert_int_equal(low.thread->state, THREAD_RUNNABLE);
}

static void test_round_robin(void **state)
{
    (void)state;
    struct fake_process p[3];
    uint64_t ran[3];
    for (unsigned i = 0; i < 3; i++)
        p[i] = fake_spawn(1, 1 * MB, 0);
    for (unsigned i = 0; i < 3; i++)
        ran[i] = thread_run_tsc(p[i].thread, fake.now);
    for (unsigned i = 0; i < 300; i++)
        fake_advance(QUANTUM);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t quanta = (thread_run_tsc(p[i].thread, fake.now) - ran[i]) / QUANTUM;
        assert_in_range(quanta, 99, 101);
    }
}

// A thread that is preempted by a higher one goes on with the rest of its quantum.
static void test_preempted_keeps_quantum(void **state)
{
    (void)state;
    struct fake_process a = fake_spawn(1, 1 * MB, 0);
    struct fake_process b = fake_spawn(1, 1 * MB, 0);
    fake_advance(QUANTUM);
    struct thread *first = cpus[1]->current;
    fake_advance(QUANTUM / 2);
    struct fake_process high = fake_spawn(1, 1 * MB, fake_sc(1, 1000, 1000));
    assert_ptr_equal(cpus[1]->current, high.thread);
    fake.core = 1;
    CALL(1, thread_exit, 0);
    assert_ptr_equal(cpus[1]->current, first);
    fake_advance(QUANTUM / 2);
    assert_ptr_not_equal(cpus[1]->current, first);
    assert_true(first == a.thread || first == b.thread);
}

static void test_yield_is_cheap(void **state)
{
    (void)state;
    struct fake_process a = fake_spawn(1, 1 * MB, 0);
    struct fake_process b = fake_spawn(1, 1 * MB, 0);
    assert_ptr_equal(cpus[1]->current, a.thread);
    assert_true(fake_yield(1) == FAKE_BLOCKED);
    assert_ptr_equal(cpus[1]->current, b.thread);
    uint32_t writes = fake.deadline_writes[1];
    for (unsigned i = 0; i < 100; i++) {
        fake.now += 1000;
        fake_yield(1);
        assert_ptr_equal(cpus[1]->current, i % 2 ? b.thread : a.thread);
    }
    assert_int_equal(fake.deadline_writes[1], writes); // the timer was set early enough before
    // It fires for a deadline that has moved on, finds nothing, and is set again.
    fake_advance(QUANTUM);
    assert_true(fake.deadline[1] <= fake.now + QUANTUM);
    assert_true(fake.deadline[1] > fake.now);
}

static void test_idle_time(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    uint64_t idle = cpus[0]->idle_tsc, run = thread_run_tsc(fake_thread, fake.now);
    fake_advance(3 * MS);
    CALL(0, event_wait, e, 1, fake.now + 7 * MS);
    fake_advance(7 * MS);
    assert_int_equal(cpus[0]->idle_tsc - idle, 7 * MS);
    // And the call's own time.
    assert_in_range(thread_run_tsc(fake_thread, fake.now) - run, 3 * MS, 3 * MS + 1000);
}

static void test_kill_running_elsewhere(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    int64_t p = CALL(0, process_create, 1 * MB, e, 4);
    fake_grant(object_to(fake_object(fake_manager, p), process));
    int64_t t = CALL(0, thread_create, p, fake_sc(1, 0, 0), 0x400000, 0x800000, 0);
    struct thread *thread = object_to(fake_object(fake_manager, t), thread);
    fake_interrupts(1);
    assert_ptr_equal(cpus[1]->current, thread);
    fake_kill(t);
    assert_ptr_equal(cpus[1]->current, thread); // until its core takes the interrupt
    fake_interrupts(1);
    assert_null(cpus[1]->current);
    assert_int_equal(fake.state[1], FAKE_IDLE);
    assert_int_equal(thread->state, THREAD_DEAD);
    assert_int_equal(CALL(0, event_wait, e, 4, 0), OK); // its process told of its end
    assert_int_equal(thread->process->status.end, PROCESS_KILLED);
    fake_kill(t); // again: nothing
    fake_interrupts(1);
}

static void test_kill_others(void **state)
{
    (void)state;
    struct fake_process a = fake_spawn(1, 1 * MB, 0);
    struct fake_process b = fake_spawn(1, 1 * MB, 0);
    assert_ptr_equal(cpus[1]->current, a.thread);
    fake_kill(b.thread_h); // in the queue
    fake_interrupts(1);
    assert_int_equal(b.thread->state, THREAD_DEAD);
    assert_ptr_equal(cpus[1]->current, a.thread);
    assert_int_equal(fake_yield(1), OK); // alone there
    int64_t fresh = CALL(0, thread_create, a.handle, a.sc, 0x400000, 0, 0); // it has yet to run
    struct thread *t = object_to(fake_object(fake_manager, fresh), thread);
    fake_kill(fresh);
    fake_interrupts(1);
    assert_int_equal(t->state, THREAD_DEAD);
    assert_int_equal(a.process->threads_alive, 1);
}

// A process of many threads faults: each batch of them that ends asks the next one, and nothing but
// that makes the core look.
static void test_fault_of_many(void **state)
{
    (void)state;
    struct fake_process a = fake_spawn(1, 1 * MB, 0);
    for (unsigned i = 0; i < 60; i++)
        assert_true(CALL(1, thread_create, HANDLE_SELF, 0, 0x400000, 0, 0) > 0);
    fake_fault(1, 14);
    for (unsigned i = 0; i < 100 && cpus[1]->arch.ipis; i++)
        fake_interrupts(1);
    assert_int_equal(a.process->threads_alive, 0);
}

// Time is given out by who has the system object; others pass on what they were given.
static void test_authority(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    int64_t elsewhere = fake_sc(0, 100, 10000);
    assert_int_equal(CALL(1, sc_create, BOOT_HANDLE_SYSTEM, 1, 500, 10000, 0), ERR_HANDLE);
    CALL(0, handle_copy, p.handle, BOOT_HANDLE_SYSTEM, RIGHT_READ | RIGHT_USE, 40);
    assert_int_equal(CALL(1, sc_create, 40, 1, 500, 10000, 0), ERR_RIGHTS);
    CALL(0, handle_copy, p.handle, elsewhere, RIGHT_READ, 41);
    assert_int_equal(CALL(1, thread_create, HANDLE_SELF, 41, 0x400000, 0, 0), ERR_RIGHTS);
    assert_int_equal(CALL(1, thread_create, HANDLE_SELF, 40, 0x400000, 0, 0), ERR_HANDLE);
    int64_t t = CALL(1, thread_create, HANDLE_SELF, 0, 0x400000, 0, 0);
    assert_true(t > 0);
    struct thread *made = object_to(fake_object(p.process, t), thread);
    assert_ptr_equal(made->sc, p.thread->sc); // and so has no time of its own
    CALL(0, handle_copy, p.handle, elsewhere, RIGHT_USE, 42);
    t = CALL(1, thread_create, HANDLE_SELF, 42, 0x400000, 0, 0);
    made = object_to(fake_object(p.process, t), thread);
    assert_int_equal(made->core, 0);
    assert_int_equal(CALL(0, thread_create, p.handle, p.sc, USER_END, 0, 0), ERR_RANGE);
}

static void test_process_ends_with_last_thread(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    CALL(1, thread_create, HANDLE_SELF, 0, 0x400000, 0, 0);
    CALL(1, thread_exit, 5);
    assert_int_equal(p.process->status.end, PROCESS_ALIVE);
    CALL(1, thread_exit, 6);
    assert_int_equal(p.process->status.end, PROCESS_EXITED);
    assert_int_equal(p.process->status.status, 6);
    assert_int_equal(fake.state[1], FAKE_IDLE);
    assert_int_equal(CALL(0, thread_create, p.handle, p.sc, 0x400000, 0, 0), ERR_STATE);
}

static void test_fault_ends_all_threads(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    CALL(0, thread_create, p.handle, fake_sc(2, 0, 0), 0x400000, 0, 0);
    fake_interrupts(2);
    fake_fault(1, 13);
    assert_int_equal(p.process->threads_alive, 1);
    fake_interrupts(2);
    assert_int_equal(p.process->threads_alive, 0);
    assert_int_equal(p.process->status.end, PROCESS_FAULT);
    assert_int_equal(p.process->status.status, 13);
    assert_int_equal(p.process->status.rip, 0x1234);
    assert_int_equal(fake.state[2], FAKE_IDLE);
}

// A thread's end wakes another on its core: nothing may be left to do when that one goes on. (The
// fake looks at cpu->work whenever a thread is resumed.)
static void test_end_wakes_on_same_core(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 4 * MB, 0);
    struct fake_process other = fake_spawn(1, 1 * MB, 0);
    int64_t e = CALL(1, event_create, 0), child = CALL(1, process_create, 1 * MB, e, 1);
    fake_grant(object_to(fake_object(p.process, child), process));
    CALL(1, thread_create, child, 0, 0x400000, 0, 0);
    CALL(1, event_wait, e, 1, 0);
    while (cpus[1]->current == other.thread)
        fake_yield(1);
    CALL(1, thread_exit, 0);
    assert_int_equal(cpus[1]->work, 0);
    assert_true(p.thread->arch.status == OK && p.thread->arch.value == 1);
    assert_true(cpus[1]->deadline <= fake.now + QUANTUM); // two are ready, so there is a quantum
}

// A process with many threads ends some at a time, and its core takes interrupts in between.
static void test_many_threads_end(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 8 * MB, 0);
    for (unsigned i = 0; i < 300; i++) {
        int64_t t = CALL(0, thread_create, p.handle, p.sc, 0x400000, 0, 0);
        assert_true(t > 0);
        if (i < 40) // has ended before, and is in the list of threads still
            fake_kill(t);
        CALL(0, handle_close, t);
    }
    while (p.process->threads_alive > 261)
        fake_interrupts(1);
    fake_fault(1, 14);
    uint32_t left = p.process->threads_alive, entries = 0;
    while (left) {
        fake_interrupts(1);
        assert_true(left - p.process->threads_alive <= 32);
        left = p.process->threads_alive;
        assert_true(++entries < 1000);
    }
    assert_int_equal(p.process->status.end, PROCESS_FAULT);
    assert_int_equal(FINISH(0, object_destroy, p.handle), OK);
}

// The end of a context takes its threads along, and leaves the others of their process to that
// one's destroyer.
static void test_ends_with_its_threads(void **state)
{
    (void)state;
    int64_t a = fake_sc(1, 0, 0);
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    int64_t t = CALL(0, thread_create, p.handle, a, 0x400000, 0, 0);
    assert_true(t > 0);
    fake.core = 0;
    spin_lock(&kernel_lock);
    assert_false(sc_end(object_to(fake_object(fake_manager, a), sc)));
    spin_unlock(&kernel_lock);
    fake_interrupts(1);
    assert_int_equal(object_to(fake_object(fake_manager, t), thread)->state, THREAD_DEAD);
    assert_int_equal(p.thread->state, THREAD_RUNNABLE);
    assert_int_equal(FINISH(0, object_destroy, p.handle), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON2(test_many_threads_end),
        ON2(test_alone), ON2(test_priorities), ON2(test_round_robin),
        ON2(test_preempted_keeps_quantum), ON2(test_yield_is_cheap), ON1(test_idle_time),
        ON2(test_kill_running_elsewhere), ON2(test_kill_others), ON2(test_fault_of_many),
        ON2(test_authority),
        ON2(test_process_ends_with_last_thread), ON4(test_fault_ends_all_threads),
        ON2(test_end_wakes_on_same_core), ON2(test_ends_with_its_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
