// SPDX-License-Identifier: BSD-2-Clause
// TSC ticks and nanoseconds: exact where it matters, and a deadline never fires early.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libc/time.h"

static void test_scale(void **state)
{
    (void)state;
    static const uint64_t rates[] = {1000000, 50000000, 999999937, 2400000000, 5123456789};
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        time_init(rates[i]);
        // An hour, to a microsecond.
        uint64_t ns = tsc_to_ns(rates[i] * 3600);
        assert_in_range(ns, 3600ull * 1000000000 - 1000, 3600ull * 1000000000);
        for (uint64_t t = 1; t < 1ull << 62; t = t * 3 + 1) {
            uint64_t tsc = ns_to_tsc(t);
            if (tsc != UINT64_MAX) {
                assert_true(tsc_to_ns(tsc) >= t);
                assert_true(tsc_to_ns(tsc - 1) < t);
            }
        }
    }
}

static void test_never(void **state)
{
    (void)state;
    time_init(2000000000);
    assert_int_equal(ns_to_tsc(0), 0);
    assert_true(ns_to_tsc(UINT64_MAX) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scale), cmocka_unit_test(test_never)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
