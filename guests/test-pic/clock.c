// SPDX-License-Identifier: BSD-2-Clause
//
// The MC146818 as a clock: formats, the turn of a year, an alarm with fields that always match, the
// flags of register C, a date that is written while the clock runs.

#include <stdbool.h>
#include <stdint.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/pic.h"
#include "guests/test-pic/groups.h"
#include "guests/test-pic/rtc.h"

#define SECOND_NS    NS_PER_SECOND
#define PATIENCE_NS  (3 * SECOND_NS)
#define IRQ_RTC      8

static const uint8_t last_second[][2] = {
    {RTC_SECONDS, 0x59}, {RTC_MINUTES, 0x59}, {RTC_HOURS, 0x23},   {RTC_WEEKDAY, 0x07},
    {RTC_DAY, 0x31},     {RTC_MONTH, 0x12},   {RTC_YEAR, 0x99},    {RTC_CENTURY, 0x20},
};

// Flags of register C that have come meanwhile, until all of `wanted` have.
static uint8_t flags_until(uint8_t wanted)
{
    uint64_t end = clock_uptime_ns() + PATIENCE_NS;
    uint8_t flags = 0;

    while ((flags & wanted) != wanted && clock_uptime_ns() < end)
        flags |= rtc_read(RTC_C);
    return flags;
}

// 2099-12-31 23:59:59, a Saturday to the chip, turns.
static void test_turn(void)
{
    rtc_write(RTC_A, 0x20);
    rtc_write(RTC_B, RTC_SET | RTC_24H);
    for (unsigned int i = 0; i < sizeof(last_second) / sizeof(last_second[0]); i++)
        rtc_write(last_second[i][0], last_second[i][1]);
    rtc_write(RTC_SECONDS_ALARM, 0x00);
    rtc_write(RTC_MINUTES_ALARM, RTC_ANY);
    rtc_write(RTC_HOURS_ALARM, 0xFF);
    clock_spin_ns(SECOND_NS + SECOND_NS / 10);
    check(rtc_read(RTC_SECONDS) == 0x59, "rtc.set", "%x", rtc_read(RTC_SECONDS));
    rtc_read(RTC_C);
    rtc_write(RTC_B, RTC_24H);
    uint8_t flags = flags_until(RTC_UIE);
    check((flags & (RTC_UIE | RTC_AIE)) == (RTC_UIE | RTC_AIE) && !(flags & RTC_IRQF),
          "rtc.flags", "%x", flags);
    uint8_t year = rtc_read(RTC_YEAR), month = rtc_read(RTC_MONTH), day = rtc_read(RTC_DAY);
    check(rtc_read(RTC_HOURS) == 0 && rtc_read(RTC_MINUTES) == 0 && rtc_read(RTC_WEEKDAY) == 1 &&
              day == 1 && month == 1 && year == 0 && rtc_read(RTC_CENTURY) == 0x21,
          "rtc.turn", "%x-%x-%x", year, month, day);
}

// The same moment in the other formats; it is too early in the day for the seconds to carry.
static void test_formats(void)
{
    rtc_write(RTC_B, RTC_SET | RTC_24H);
    rtc_write(RTC_HOURS, 0x12);
    rtc_write(RTC_MINUTES, 0x34);
    rtc_write(RTC_SECONDS, 0x10);
    rtc_write(RTC_B, RTC_24H);
    uint8_t bcd = rtc_read(RTC_MINUTES);
    rtc_write(RTC_B, RTC_24H | RTC_BINARY);
    rtc_write(RTC_HOURS, 21); // while it runs
    uint8_t binary = rtc_read(RTC_MINUTES), hours = rtc_read(RTC_HOURS);
    check(bcd == 0x34 && hours == 21, "rtc.unset", "%x, hour %d", bcd, hours);
    check(rtc_read(RTC_SECONDS) >= 10 && rtc_read(RTC_SECONDS) < 20, "rtc.phase", "%d",
          rtc_read(RTC_SECONDS));
    if (cpu_on_bulkhead())
        check(binary == 34, "rtc.binary", "%d", binary);
    rtc_write(RTC_B, RTC_SET | RTC_BINARY);
    rtc_write(RTC_HOURS, 0x80 | 12); // noon
    rtc_write(RTC_B, RTC_BINARY);
    uint8_t noon = rtc_read(RTC_HOURS);
    rtc_write(RTC_HOURS, 12); // midnight
    uint8_t midnight = rtc_read(RTC_HOURS);
    check(noon == (0x80 | 12) && midnight == 12, "rtc.12-hours", "%x, %x", noon, midnight);
}

// The alarm and the update each raise IRQ 8, which falls when register C is read.
static void test_interrupts(void)
{
    static const struct {
        uint8_t enable;
        const char *name;
    } kinds[] = {{RTC_UIE, "rtc.update-irq"}, {RTC_AIE, "rtc.alarm-irq"}};

    for (unsigned int i = 0; i < 2; i++) {
        rtc_write(RTC_SECONDS_ALARM, RTC_ANY);
        rtc_write(RTC_MINUTES_ALARM, RTC_ANY);
        rtc_write(RTC_HOURS_ALARM, RTC_ANY);
        rtc_read(RTC_C);
        uint16_t before = pic_irr();
        rtc_write(RTC_B, RTC_24H | kinds[i].enable);
        uint64_t end = clock_uptime_ns() + PATIENCE_NS;
        while (!(pic_irr() & 1u << IRQ_RTC) && clock_uptime_ns() < end)
            cpu_pause();
        uint16_t raised = pic_irr();
        uint8_t flags = rtc_read(RTC_C);
        uint16_t after = pic_irr();
        rtc_write(RTC_B, RTC_24H);
        check((flags & (RTC_IRQF | kinds[i].enable)) == (RTC_IRQF | kinds[i].enable) &&
                  !(before & 1u << IRQ_RTC) && (raised & 1u << IRQ_RTC) && !(after & 1u << IRQ_RTC),
              kinds[i].name, "C %x, IRR %x, %x, %x", flags, before, raised, after);
    }
}

void test_rtc_clock(void)
{
    pic_init();
    test_turn();
    test_formats();
    test_interrupts();
    pic_init();
}
