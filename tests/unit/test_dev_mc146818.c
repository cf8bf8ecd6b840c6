// SPDX-License-Identifier: BSD-2-Clause
//
// MC146818: date formats, setting, update cycle, the three interrupts, NVRAM.
// ("MC146818A data sheet")
#include "tests/unit/board.h"

#include <time.h>

#include "vmm/dev/mc146818.h"

static struct fake_host host;
static struct mc146818 rtc;

enum { SEC, SEC_AL, MIN, MIN_AL, HOUR, HOUR_AL, WDAY, DAY, MON, YEAR, A, B, C, D };

// Thursday 2024-02-29 23:59:58 UTC
#define LEAP_NIGHT 1709251198LL

static int setup(void **state)
{
    (void)state;
    fake_host_init(&host);
    mc146818_init(&rtc, &host.clock, LEAP_NIGHT, fake_line(&host));
    return mc146818_register(&rtc, &host.bus) ? 0 : -1;
}

static uint8_t get(uint8_t reg)
{
    out8(&host, 0x70, reg);
    return in8(&host, 0x71);
}

static void put(uint8_t reg, uint8_t value)
{
    out8(&host, 0x70, reg);
    out8(&host, 0x71, value);
}

static void assert_date(unsigned century, unsigned year, unsigned mon, unsigned day, unsigned hour,
                        unsigned min, unsigned sec)
{
    assert_int_equal(get(RTC_CENTURY), century);
    assert_int_equal(get(YEAR), year);
    assert_int_equal(get(MON), mon);
    assert_int_equal(get(DAY), day);
    assert_int_equal(get(HOUR), hour);
    assert_int_equal(get(MIN), min);
    assert_int_equal(get(SEC), sec);
}

static void bios_state(void **state)
{
    (void)state;
    assert_int_equal(get(A), 0x26);
    assert_int_equal(get(B), 0x02);
    assert_int_equal(get(C), 0x00);
    assert_int_equal(get(D), 0x80);
    assert_int_equal(in8(&host, 0x70), 0xFF);
    assert_date(0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58);
    assert_int_equal(get(WDAY), 5);
    out8(&host, 0x70, 0x80 | D); // bit 7 is the NMI mask
    assert_int_equal(in8(&host, 0x71), 0x80);
}

static void time_passes(void **state)
{
    (void)state;
    host.now_ns += NS_PER_SEC - 1;
    assert_int_equal(get(SEC), 0x58);
    host.now_ns += 1;
    assert_int_equal(get(SEC), 0x59);
    host.now_ns += NS_PER_SEC;
    assert_date(0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00);
    assert_int_equal(get(WDAY), 6);
    host.now_ns += 366 * 86400 * NS_PER_SEC;
    assert_date(0x20, 0x25, 0x03, 0x02, 0x00, 0x00, 0x00);
}

static void formats(void **state)
{
    (void)state;
    put(B, 0x06);
    assert_date(20, 24, 2, 29, 23, 59, 58);
    put(B, 0x04);
    assert_date(20, 24, 2, 29, 0x80 | 11, 59, 58);
    put(B, 0x00);
    assert_date(0x20, 0x24, 0x02, 0x29, 0x91, 0x59, 0x58);
    host.now_ns += 2 * NS_PER_SEC;
    assert_int_equal(get(HOUR), 0x12); // midnight is 12 AM
    host.now_ns += 12 * 3600 * NS_PER_SEC;
    assert_int_equal(get(HOUR), 0x92);
    put(B, 0x02);
    assert_int_equal(get(HOUR), 0x12);
}

static void any_date_agrees_with_the_library(void **state)
{
    (void)state;
    put(B, 0x06);
    for (int64_t sec = -86400LL * 365 * 200; sec < 86400LL * 365 * 400; sec += 86400 * 17 + 4321) {
        time_t t = (time_t)sec;
        struct tm tm;
        gmtime_r(&t, &tm);
        mc146818_init(&rtc, &host.clock, sec, fake_line(&host));
        put(B, 0x06);
        unsigned year = (unsigned)tm.tm_year + 1900;
        assert_date(year / 100, year % 100, (unsigned)tm.tm_mon + 1, (unsigned)tm.tm_mday,
                    (unsigned)tm.tm_hour, (unsigned)tm.tm_min, (unsigned)tm.tm_sec);
        assert_int_equal(get(WDAY), tm.tm_wday + 1);
        // There and back: stop the clock, start it again.
        put(B, 0x86);
        put(B, 0x06);
        assert_true(rtc.base_sec == sec);
    }
}

static void set_stops_the_clock_and_starts_from_what_was_written(void **state)
{
    (void)state;
    host.now_ns += NS_PER_SEC / 4;
    put(B, 0x82);
    host.now_ns += 10 * NS_PER_SEC;
    assert_int_equal(get(SEC), 0x58);
    put(YEAR, 0x99);
    put(RTC_CENTURY, 0x19);
    put(MON, 0x12);
    put(DAY, 0x31);
    put(HOUR, 0x23);
    put(MIN, 0x59);
    put(SEC, 0x59);
    put(WDAY, 3); // not what the calendar says, but the chip only counts it
    assert_int_equal(get(A) & 0x80, 0);
    put(B, 0x02);
    assert_date(0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59);
    assert_int_equal(get(WDAY), 3);
    host.now_ns += NS_PER_SEC * 3 / 4; // the phase of the second has stayed
    assert_date(0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00);
    assert_int_equal(get(WDAY), 4);
    put(MIN, 0x30); // while it runs
    assert_date(0x20, 0x00, 0x01, 0x01, 0x00, 0x30, 0x00);
}

static void nonsense_in_the_registers_is_harmless(void **state)
{
    (void)state;
    put(B, 0x82);
    for (unsigned reg = 0; reg < 10; reg++)
        put((uint8_t)reg, 0xFF);
    put(RTC_CENTURY, 0xFF);
    put(B, 0x06);
    for (unsigned reg = 0; reg < 128; reg++)
        get((uint8_t)reg);
    put(B, 0x82);
    for (unsigned reg = 0; reg < 10; reg++)
        put((uint8_t)reg, 0);
    put(RTC_CENTURY, 0);
    put(B, 0x72);
    host.now_ns += NS_PER_SEC;
    assert_int_equal(get(SEC), 0x01);
}

static void divider_reset_starts_half_a_second_early(void **state)
{
    (void)state;
    host.now_ns += NS_PER_SEC / 10;
    put(A, 0x70);
    host.now_ns += 5 * NS_PER_SEC;
    assert_int_equal(get(SEC), 0x58);
    assert_int_equal(get(A), 0x70);
    put(A, 0x26);
    host.now_ns += NS_PER_SEC / 2 - 1;
    assert_int_equal(get(SEC), 0x58);
    host.now_ns += 1;
    assert_int_equal(get(SEC), 0x59);
}

static void update_in_progress(void **state)
{
    (void)state;
    assert_int_equal(get(A), 0x26);
    host.now_ns += NS_PER_SEC - 2229 * US;
    assert_int_equal(get(A), 0x26);
    host.now_ns += US;
    assert_int_equal(get(A), 0xA6);
    host.now_ns += 2228 * US;
    assert_int_equal(get(A), 0x26);
    put(A, 0xFF);
    assert_int_equal(get(A), 0x7F);
}

static void update_interrupt(void **state)
{
    (void)state;
    put(HOUR_AL, 0x12); // well away from midnight
    put(B, 0x12);
    assert_false(host.level);
    fake_advance(&host, NS_PER_SEC - 1);
    assert_false(host.level);
    fake_advance(&host, 1);
    assert_true(host.level);
    fake_advance(&host, 3 * NS_PER_SEC);
    assert_int_equal(host.rises, 1);
    assert_int_equal(get(C), 0xD0); // UF, and PF that was not enabled
    assert_false(host.level);
    assert_int_equal(get(C), 0x00);
    fake_advance(&host, NS_PER_SEC);
    assert_int_equal(host.rises, 2);
    // SET switches it off.
    put(B, 0x92);
    assert_int_equal(get(B), 0x82);
    assert_false(host.level);
}

static void periodic_interrupt(void **state)
{
    (void)state;
    put(A, 0x26);
    put(B, 0x42);
    for (unsigned i = 0; i < 1024; i++) {
        fake_advance(&host, 976563);
        assert_int_equal(host.rises, i + 1);
        assert_int_equal(get(C) & 0xC0, 0xC0);
    }
    // Not served: one stays pending, and there is no timer meanwhile.
    host.fires = 0;
    fake_advance(&host, NS_PER_SEC);
    assert_int_equal(host.fires, 1);
    assert_int_equal(host.rises, 1025);
    get(C);
    put(A, 0x2F); // 2 Hz
    fake_advance(&host, 501 * MS);
    assert_int_equal(host.rises, 1026);
    get(C);
    put(A, 0x21); // 256 Hz
    fake_advance(&host, 4 * MS);
    assert_int_equal(host.rises, 1027);
    get(C);
    put(A, 0x20); // none
    fake_advance(&host, 10 * NS_PER_SEC);
    assert_int_equal(host.rises, 1027);
}

static void flags_come_without_interrupts(void **state)
{
    (void)state;
    host.now_ns += 2 * MS;
    assert_int_equal(get(C), 0x40);
    host.now_ns += NS_PER_SEC;
    assert_int_equal(get(C), 0x50);
    assert_true(host.armed_ns == CLOCK_NEVER);
    // A flag that is set already asks as soon as its interrupt is enabled.
    host.now_ns += NS_PER_SEC;
    put(B, 0x12);
    assert_true(host.level);
}

static void alarm_rings_at_its_time(void **state)
{
    (void)state;
    put(HOUR_AL, 0x06);
    put(MIN_AL, 0x30);
    put(SEC_AL, 0x15);
    put(B, 0x22);
    fake_advance(&host, (6 * 3600 + 30 * 60 + 15 + 2) * NS_PER_SEC - 1);
    assert_false(host.level);
    fake_advance(&host, 1);
    assert_true(host.level);
    assert_int_equal(get(C) & 0xA0, 0xA0);
    assert_int_equal(host.fires, 1);
    fake_advance(&host, 86400 * NS_PER_SEC);
    assert_int_equal(host.rises, 2);
}

static void alarm_wildcards(void **state)
{
    (void)state;
    put(HOUR_AL, 0xC0);
    put(MIN_AL, 0xFF);
    put(SEC_AL, 0x10);
    put(B, 0x22);
    for (unsigned i = 0; i < 10; i++) {
        fake_advance(&host, 60 * NS_PER_SEC);
        assert_int_equal(host.rises, i + 1);
        assert_int_equal(get(C) & 0xA0, 0xA0);
    }
    put(SEC_AL, 0xFF); // each second
    fake_advance(&host, NS_PER_SEC);
    assert_int_equal(host.rises, 11);
    get(C);
    put(SEC_AL, 0x75); // never
    fake_advance(&host, 86400 * NS_PER_SEC);
    assert_int_equal(host.rises, 11);
    assert_true(host.armed_ns == CLOCK_NEVER);
    // 12-hour format: 1 PM.
    put(B, 0x20);
    put(HOUR_AL, 0x81);
    put(MIN_AL, 0x00);
    put(SEC_AL, 0x00);
    fake_advance(&host, 86400 * NS_PER_SEC);
    assert_int_equal(host.rises, 12);
}

static void nvram_and_reset(void **state)
{
    (void)state;
    put(0x10, 0x5A);
    put(0x7F, 0xA5);
    mc146818_set_nvram(&rtc, 0x34, 0x77);
    mc146818_set_nvram(&rtc, 0x0D, 0x00);
    mc146818_set_nvram(&rtc, 0xFF, 0x00);
    put(B, 0x7A);
    fake_advance(&host, NS_PER_SEC);
    assert_true(host.level);
    mc146818_reset(&rtc);
    assert_false(host.level);
    assert_int_equal(get(B), 0x02);
    assert_int_equal(get(C), 0x00);
    assert_int_equal(get(D), 0x80);
    assert_int_equal(get(0x10), 0x5A);
    assert_int_equal(get(0x7F), 0xA5);
    assert_int_equal(get(0x34), 0x77);
    assert_int_equal(get(SEC), 0x59);
    put(C, 0xFF);
    put(D, 0xFF);
    assert_int_equal(get(C), 0x00);
    assert_int_equal(get(D), 0x80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(bios_state, setup),
        cmocka_unit_test_setup(time_passes, setup),
        cmocka_unit_test_setup(formats, setup),
        cmocka_unit_test_setup(any_date_agrees_with_the_library, setup),
        cmocka_unit_test_setup(set_stops_the_clock_and_starts_from_what_was_written, setup),
        cmocka_unit_test_setup(nonsense_in_the_registers_is_harmless, setup),
        cmocka_unit_test_setup(divider_reset_starts_half_a_second_early, setup),
        cmocka_unit_test_setup(update_in_progress, setup),
        cmocka_unit_test_setup(update_interrupt, setup),
        cmocka_unit_test_setup(periodic_interrupt, setup),
        cmocka_unit_test_setup(flags_come_without_interrupts, setup),
        cmocka_unit_test_setup(alarm_rings_at_its_time, setup),
        cmocka_unit_test_setup(alarm_wildcards, setup),
        cmocka_unit_test_setup(nvram_and_reset, setup),
    };

    return cmocka_run_group_tests_name("mc146818", tests, NULL, NULL);
}
