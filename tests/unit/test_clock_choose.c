// SPDX-License-Identifier: BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "kernel/arch/x86/clock_choose.h"

static unsigned choose(uint64_t pm, uint64_t c15, uint64_t c16)
{
    const uint64_t hz[CLOCK_SOURCES] = { pm, c15, c16 };
    return clock_choose(hz);
}

#define GHZ 1000000000ull

static void test_choice(void **state)
{
    (void)state;
    // CPUID 15H is taken where the measurement agrees, and not where it does not, as in emulators.
    assert_int_equal(choose(3 * GHZ + 100000, 3 * GHZ, 0), CLOCK_CPUID_15);
    assert_int_equal(choose(3 * GHZ + 1, 3 * GHZ, 2 * GHZ), CLOCK_CPUID_15);
    assert_int_equal(choose(GHZ / 20, 35 * GHZ / 10, 0), CLOCK_PM);
    assert_int_equal(choose(2 * GHZ, 3 * GHZ, 3 * GHZ), CLOCK_PM);
    assert_int_equal(choose(3 * GHZ, 0, 0), CLOCK_PM);
    assert_int_equal(choose(3 * GHZ, 0, 2 * GHZ), CLOCK_PM);
    // There is none, or it does not run.
    assert_int_equal(choose(0, 3 * GHZ, 4 * GHZ), CLOCK_CPUID_15);
    assert_int_equal(choose(0, 0, 4 * GHZ), CLOCK_CPUID_16);
    assert_int_equal(choose(0, 0, 0), CLOCK_SOURCES);
}

static int64_t rounds(int64_t offset, uint64_t there_and_back, unsigned n)
{
    struct tsc_bounds b = TSC_BOUNDS_ALL;
    uint64_t now = 1000000;
    for (unsigned i = 0; i < n; i++) {
        uint64_t way = there_and_back / 2 + i % 7;
        uint64_t there = now + way + (uint64_t)offset;
        tsc_bounds_narrow(&b, now, there, now + there_and_back + i % 11);
        now += 1000;
    }
    return tsc_apart(&b);
}

static void test_tsc_bounds(void **state)
{
    (void)state;
    struct tsc_bounds none = TSC_BOUNDS_ALL;
    assert_int_equal(tsc_apart(&none), 0);
    assert_int_equal(rounds(0, 300, 64), 0);
    assert_int_equal(rounds(100, 300, 64), 0); // less than can be seen
    int64_t ahead = rounds(100000, 300, 64), behind = rounds(-100000, 300, 64);
    assert_true(ahead > 100000 - 400 && ahead <= 100000);
    assert_true(behind < -100000 + 400 && behind >= -100000);
    // A TSC that was reset by a package's power-up: the difference is as large as the uptime.
    assert_true(rounds(-(1ll << 50), 300, 64) < -(1ll << 49));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_tsc_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
