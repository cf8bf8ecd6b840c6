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

// The registers of the clock in all their forms. The figures are `date -u -d ... +%s`'s.
static void test_wall(void **state)
{
    (void)state;
    static const struct { uint8_t rtc[7]; uint64_t seconds; } cases[] = {
        {{0x00, 0x00, 0x00, 0x01, 0x01, 0x70, 0x02}, 0},                 // BCD, 24 hours
        {{0x56, 0x34, 0x12, 0x29, 0x02, 0x00, 0x02}, 951827696},         // a leap day
        {{56, 34, 12, 29, 2, 0, 0x06}, 951827696},                       // binary
        {{0x59, 0x59, 0x91, 0x31, 0x12, 0x99, 0x00}, 946684799},         // BCD, 11 PM
        {{0x00, 0x00, 0x12, 0x01, 0x03, 0x24, 0x00}, 1709251200},        // 12 AM is midnight
        {{0x00, 0x00, 0x92, 0x01, 0x03, 0x24, 0x00}, 1709251200 + 43200}, // 12 PM is noon
        {{59, 59, 0x80 | 11, 31, 12, 69, 0x04}, 3155759999},             // the last one
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(time_wall_seconds(cases[i].rtc), cases[i].seconds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scale), cmocka_unit_test(test_never), cmocka_unit_test(test_wall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
