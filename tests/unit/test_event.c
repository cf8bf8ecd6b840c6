// SPDX-License-Identifier: BSD-2-Clause
// Events: signal and wait, deadlines, one waiter, other cores, the end of the event.
#include "kernel.h"

static struct event *event_of(struct process *p, int64_t h)
{
    return object_to(fake_object(p, h), event);
}

static void test_bits_wait(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    assert_int_equal(CALL(0, event_signal, e, 0xf0), OK);
    assert_int_equal(CALL(0, event_wait, e, 0x30, 0), OK);
    assert_int_equal(fake_thread->arch.value, 0x30);
    assert_int_equal(event_of(fake_manager, e)->bits, 0xc0); // the others stay
    assert_int_equal(CALL(0, event_wait, e, ~0ull, 0), OK);
    assert_int_equal(fake_thread->arch.value, 0xc0);
    assert_int_equal(CALL(0, event_wait, e, 0, 0), ERR_RANGE);
}

static void test_block_and_wake(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    int64_t e = CALL(0, event_create, 0);
    CALL(0, handle_copy, p.handle, e, RIGHT_WAIT, 40);
    assert_true(CALL(1, event_wait, 40, 6, 0) == FAKE_BLOCKED);
    assert_int_equal(fake.state[1], FAKE_IDLE);
    assert_int_equal(CALL(0, event_signal, e, 1), OK); // not in its mask
    fake_interrupts(1);
    assert_int_equal(fake.state[1], FAKE_IDLE);
    assert_int_equal(CALL(0, event_signal, e, 2), OK);
    assert_int_equal(fake.state[1], FAKE_IDLE); // until it takes the interrupt
    fake_interrupts(1);
    assert_int_equal(fake.state[1], FAKE_USER);
    assert_ptr_equal(cpus[1]->current, p.thread);
    assert_int_equal(p.thread->arch.status, OK);
    assert_int_equal(p.thread->arch.value, 2);
    assert_int_equal(event_of(fake_manager, e)->bits, 1);
}

static void test_one_waiter(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    int64_t e = CALL(0, event_create, 0);
    CALL(0, handle_copy, p.handle, e, RIGHT_WAIT, 40);
    assert_true(CALL(1, event_wait, 40, 1, 0) == FAKE_BLOCKED);
    assert_int_equal(CALL(0, event_wait, e, 1, 0), ERR_BUSY);
}

static void test_deadline(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    assert_int_equal(CALL(0, event_wait, e, 1, fake.now - 1), ERR_TIMEOUT);
    uint64_t deadline = fake.now + 5 * MS;
    assert_true(CALL(0, event_wait, e, 1, deadline) == FAKE_BLOCKED);
    assert_int_equal(fake.deadline[0], deadline);
    fake_advance(5 * MS - 1);
    assert_int_equal(fake.state[0], FAKE_IDLE);
    fake_advance(1);
    assert_int_equal(fake.state[0], FAKE_USER);
    assert_int_equal(fake_thread->arch.status, ERR_TIMEOUT);
    assert_null(event_of(fake_manager, e)->waiter);
    // A signal in time disarms the timer.
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    CALL(0, handle_copy, p.handle, e, RIGHT_WAIT, 40);
    assert_true(CALL(1, event_wait, 40, 1, fake.now + 5 * MS) == FAKE_BLOCKED);
    CALL(0, event_signal, e, 1);
    fake_interrupts(1);
    assert_int_equal(p.thread->arch.status, OK);
    assert_null(cpus[1]->alarms);
    fake_advance(10 * MS);
    assert_int_equal(p.thread->arch.status, OK);
}

// The deadline passes while the signal's wake-up is still on its way: the signal came first.
static void test_signal_meets_deadline(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    int64_t e = CALL(0, event_create, 0);
    CALL(0, handle_copy, p.handle, e, RIGHT_WAIT, 40);
    assert_true(CALL(1, event_wait, 40, 1, fake.now + MS) == FAKE_BLOCKED);
    fake.hold[1] = true;
    CALL(0, event_signal, e, 1);
    fake_advance(2 * MS);
    fake.hold[1] = false;
    fake_interrupts(1);
    assert_int_equal(p.thread->arch.status, OK);
    assert_int_equal(p.thread->arch.value, 1);
}

static void test_destroy_wakes(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    int64_t e = CALL(0, event_create, 0);
    CALL(0, handle_copy, p.handle, e, RIGHT_WAIT, 40);
    assert_true(CALL(1, event_wait, 40, 1, fake.now + MS) == FAKE_BLOCKED);
    assert_int_equal(FINISH(0, object_destroy, e), OK);
    assert_int_equal(p.thread->arch.status, ERR_DEAD);
    assert_int_equal(fake.state[1], FAKE_USER);
    assert_null(cpus[1]->alarms);
}

// A waiter that is killed leaves the event usable.
static void test_kill_waiter(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    int64_t e = CALL(0, event_create, 0);
    CALL(0, handle_copy, p.handle, e, RIGHT_WAIT, 40);
    assert_true(CALL(1, event_wait, 40, 1, fake.now + MS) == FAKE_BLOCKED);
    fake_kill(p.thread_h);
    fake_interrupts(1);
    assert_int_equal(p.thread->state, THREAD_DEAD);
    assert_true(p.thread->arch.gone);
    assert_null(event_of(fake_manager, e)->waiter);
    assert_int_equal(CALL(0, event_signal, e, 1), OK);
    assert_int_equal(CALL(0, event_wait, e, 1, 0), OK);
}

static void test_irq(void **state)
{
    (void)state;
    enum status status;
    int64_t e = CALL(0, event_create, 0);
    struct irq *irq = irq_make(fake_manager, 4, &status);
    int64_t h = handle_set(fake_manager, 0, &irq->object, RIGHT_ALL);
    fake.irq_masked[4] = true;
    irq_fired(4); // before it is bound
    assert_int_equal(CALL(0, irq_ack, h), ERR_STATE);
    assert_int_equal(CALL(0, irq_bind, h, e, 8), OK);
    assert_false(fake.irq_masked[4]);
    fake.irq_masked[4] = true; // as the arch does
    irq_fired(4);
    assert_int_equal(event_of(fake_manager, e)->bits, 8);
    assert_int_equal(CALL(0, irq_ack, h), OK);
    assert_false(fake.irq_masked[4]);
    assert_int_equal(FINISH(0, object_destroy, e), OK);
    irq_fired(4); // its event is gone
    irq_fired(5);
    irq_fired(IRQ_MAX);
    assert_int_equal(CALL(0, object_destroy, h), ERR_STATE); // the kernel's own
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON1(test_bits_wait), ON2(test_block_and_wake), ON2(test_one_waiter), ON2(test_deadline),
        ON2(test_signal_meets_deadline), ON2(test_destroy_wakes), ON2(test_kill_waiter),
        ON1(test_irq),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
