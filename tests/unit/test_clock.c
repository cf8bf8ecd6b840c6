// SPDX-License-Identifier: BSD-2-Clause
//
// The VMM's timer list: order, moves, coalescing, and how seldom the kernel is asked.
#include "tests/unit/board.h"

struct alarm {
    struct vtimer timer;
    struct fake_host *host;
    uint64_t period;
    unsigned fired;
    uint64_t fired_at;
    unsigned *order;
    unsigned place;
};

static void alarm_fire(void *ctx, uint64_t now_ns)
{
    struct alarm *a = ctx;

    a->fired++;
    a->fired_at = now_ns;
    if (a->order != NULL)
        a->place = ++*a->order;
    if (a->period != 0)
        vtimer_arm(&a->host->clock, &a->timer, (now_ns / a->period + 1) * a->period);
}

static const struct vtimer_ops alarm_ops = {.fire = alarm_fire};

static struct fake_host host;
static struct alarm alarms[4];
static unsigned order;

static int setup(void **state)
{
    (void)state;
    fake_host_init(&host);
    host.now_ns = 0;
    order = 0;
    memset(alarms, 0, sizeof(alarms));
    for (unsigned i = 0; i < 4; i++) {
        alarms[i].host = &host;
        alarms[i].order = &order;
        vtimer_init(&alarms[i].timer, &alarm_ops, &alarms[i]);
    }
    return 0;
}

static void fires_in_order_of_deadline(void **state)
{
    (void)state;
    vtimer_arm(&host.clock, &alarms[0].timer, 300);
    vtimer_arm(&host.clock, &alarms[1].timer, 100);
    vtimer_arm(&host.clock, &alarms[2].timer, 200);
    vtimer_arm(&host.clock, &alarms[3].timer, 200);
    assert_int_equal(host.armed_ns, 100);
    fake_advance(&host, 99);
    assert_int_equal(order, 0);
    fake_advance(&host, 1000);
    assert_int_equal(alarms[1].place, 1);
    assert_int_equal(alarms[2].place, 2);
    assert_int_equal(alarms[3].place, 3);
    assert_int_equal(alarms[0].place, 4);
    assert_int_equal(alarms[0].fired_at, 300);
    assert_true(host.armed_ns == CLOCK_NEVER);
}

static void cancel_and_move(void **state)
{
    (void)state;
    vtimer_arm(&host.clock, &alarms[0].timer, 100);
    vtimer_arm(&host.clock, &alarms[1].timer, 200);
    vtimer_cancel(&host.clock, &alarms[0].timer);
    assert_int_equal(host.armed_ns, 200);
    vtimer_cancel(&host.clock, &alarms[0].timer);
    vtimer_arm(&host.clock, &alarms[1].timer, 500);
    assert_int_equal(host.armed_ns, 500);
    fake_advance(&host, 400);
    assert_int_equal(order, 0);
    fake_advance(&host, 100);
    assert_int_equal(alarms[0].fired, 0);
    assert_int_equal(alarms[1].fired, 1);
}

static void late_periodic_source_fires_once(void **state)
{
    (void)state;
    alarms[0].period = 100;
    vtimer_arm(&host.clock, &alarms[0].timer, 100);
    fake_sleep(&host, 1050);
    assert_int_equal(alarms[0].fired, 1);
    assert_int_equal(alarms[0].fired_at, 1050);
    assert_int_equal(host.armed_ns, 1100);
}

static void kernel_is_told_changes_only(void **state)
{
    (void)state;
    vtimer_arm(&host.clock, &alarms[0].timer, 100);
    assert_int_equal(host.arms, 1);
    vtimer_arm(&host.clock, &alarms[0].timer, 100);
    vtimer_arm(&host.clock, &alarms[1].timer, 150);
    vtimer_arm(&host.clock, &alarms[1].timer, 180);
    assert_int_equal(host.arms, 1);
    // Two that are due together, of which one goes on: one call.
    alarms[0].period = 200;
    vtimer_arm(&host.clock, &alarms[1].timer, 100);
    fake_advance(&host, 100);
    assert_int_equal(order, 2);
    assert_int_equal(host.arms, 2);
    assert_int_equal(host.armed_ns, 200);
}

static void an_early_run_does_nothing(void **state)
{
    (void)state;
    vtimer_arm(&host.clock, &alarms[0].timer, 100);
    clock_run(&host.clock, 50);
    assert_int_equal(order, 0);
    assert_int_equal(host.arms, 1);
    assert_int_equal(host.armed_ns, 100);
}

static void tick_conversion_is_exact_enough(void **state)
{
    (void)state;
    const uint64_t hz = 1193182;
    const uint64_t year = 31536000ULL * NS_PER_SEC;

    assert_true(clock_ns_to_ticks(NS_PER_SEC, hz) == hz);
    assert_true(clock_ns_to_ticks(100 * year, hz) == 100 * 31536000ULL * hz);
    for (uint64_t tick = 0; tick < 3000; tick++) {
        uint64_t at = 7 * hz + tick * 401;
        uint64_t ns = clock_ticks_to_ns(at, hz);
        assert_true(clock_ns_to_ticks(ns, hz) == at);
        assert_true(clock_ns_to_ticks(ns - 1, hz) == at - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(fires_in_order_of_deadline, setup),
        cmocka_unit_test_setup(cancel_and_move, setup),
        cmocka_unit_test_setup(late_periodic_source_fires_once, setup),
        cmocka_unit_test_setup(kernel_is_told_changes_only, setup),
        cmocka_unit_test_setup(an_early_run_does_nothing, setup),
        cmocka_unit_test_setup(tick_conversion_is_exact_enough, setup),
    };

    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
