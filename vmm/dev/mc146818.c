// SPDX-License-Identifier: BSD-2-Clause
//
// MC146818. Owned by the VMM's only thread; no lock.
//
// The clock is a pair (base_sec, base_ns) from which the date follows. Only while it is stopped
// (SET, or the divider in reset) do the date registers live in ram[]. The flags of register C are
// computed from the span of host time since they were last looked at, so nothing has to tick.
//
// A date that is written without SET, byte by byte, is put right after each byte (31 February is 3
// March), where the chip would show nonsense for a while. Drivers use SET.
#include "vmm/dev/mc146818.h"

#include <string.h>

enum {
    PORT_RTC = 0x70,

    REG_SECONDS = 0x00,
    REG_SECONDS_ALARM = 0x01,
    REG_MINUTES = 0x02,
    REG_MINUTES_ALARM = 0x03,
    REG_HOURS = 0x04,
    REG_HOURS_ALARM = 0x05,
    REG_WEEKDAY = 0x06,
    REG_DAY = 0x07,
    REG_MONTH = 0x08,
    REG_YEAR = 0x09,
    REG_A = 0x0A,
    REG_B = 0x0B,
    REG_C = 0x0C,
    REG_D = 0x0D,
    NVRAM_FIRST = 0x0E,

    A_RATE = 0x0F,
    A_DIVIDER = 0x70,
    A_DIVIDER_RESET = 0x60, // both bits set: held in reset
    A_UIP = 0x80,
    A_BIOS = 0x26, // 32.768 kHz, 1024 Hz

    B_SET = 0x80,
    B_PERIODIC = 0x40,
    B_ALARM = 0x20,
    B_UPDATE = 0x10,
    B_SQUARE_WAVE = 0x08,
    B_BINARY = 0x04,
    B_24H = 0x02,
    B_INTERRUPTS = B_PERIODIC | B_ALARM | B_UPDATE,

    C_IRQF = 0x80, // the other flags sit where register B enables them

    D_VALID = 0x80,

    HOUR_PM = 0x80,
    ALARM_ANY = 0xC0, // both bits set: matches always
};

#define CRYSTAL_HZ      32768ULL
#define UIP_NS          (244000 + 1984000) // "Update Cycle": UIP comes 244 us ahead of it
#define FIRST_UPDATE_NS (NS_PER_SEC / 2)   // after the divider leaves reset
#define SEC_PER_DAY     86400

struct rtc_date {
    int64_t year;
    unsigned month; // 1 to 12
    unsigned day;   // 1 to 31
};

// The calendar is easy in years that begin in March: the leap day comes last. Eras of 400 years.
static struct rtc_date date_from_days(int64_t days)
{
    int64_t shifted = days + 719468; // days from 0000-03-01 to 1970-01-01
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t in_era = shifted - era * 146097;
    int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * in_year + 2) / 153; // 0 is March

    return (struct rtc_date){
        .year = year + era * 400 + (month >= 10),
        .month = (unsigned)(month < 10 ? month + 3 : month - 9),
        .day = (unsigned)(in_year - (153 * month + 2) / 5 + 1),
    };
}

static int64_t date_to_days(struct rtc_date date)
{
    int64_t year = date.year - (date.month <= 2);
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t in_era = year - era * 400;
    int64_t month = date.month > 2 ? date.month - 3 : date.month + 9;
    int64_t in_year = (153 * month + 2) / 5 + date.day - 1;

    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

static bool rtc_in_reset(const struct mc146818 *rtc)
{
    return (rtc->ram[REG_A] & A_DIVIDER_RESET) == A_DIVIDER_RESET;
}

static bool rtc_stopped(const struct mc146818 *rtc)
{
    return rtc_in_reset(rtc) || (rtc->ram[REG_B] & B_SET) != 0;
}

static int64_t rtc_now(const struct mc146818 *rtc)
{
    return (int64_t)clock_now(rtc->clock);
}

static int64_t rtc_seconds_at(const struct mc146818 *rtc, int64_t ns)
{
    return rtc->base_sec + (ns - rtc->base_ns) / (int64_t)NS_PER_SEC;
}

static uint8_t rtc_encode(const struct mc146818 *rtc, unsigned value)
{
    if ((rtc->ram[REG_B] & B_BINARY) != 0)
        return (uint8_t)value;
    return (uint8_t)(value / 10 % 10 << 4 | value % 10);
}

static unsigned rtc_decode(const struct mc146818 *rtc, uint8_t raw)
{
    if ((rtc->ram[REG_B] & B_BINARY) != 0)
        return raw;
    return (raw >> 4) * 10U + (raw & 15U);
}

static uint8_t rtc_encode_hour(const struct mc146818 *rtc, unsigned hour)
{
    if ((rtc->ram[REG_B] & B_24H) != 0)
        return rtc_encode(rtc, hour);
    uint8_t raw = rtc_encode(rtc, hour % 12 == 0 ? 12 : hour % 12);
    return hour >= 12 ? raw | HOUR_PM : raw;
}

static unsigned rtc_decode_hour(const struct mc146818 *rtc, uint8_t raw)
{
    if ((rtc->ram[REG_B] & B_24H) != 0)
        return rtc_decode(rtc, raw);
    unsigned hour = rtc_decode(rtc, raw & (uint8_t)~HOUR_PM) % 12;
    return (raw & HOUR_PM) != 0 ? hour + 12 : hour;
}

// 0 is Sunday. 1970-01-01 was a Thursday.
static unsigned weekday_of(int64_t days)
{
    return (unsigned)(((days + 4) % 7 + 7) % 7);
}

static int64_t floor_days(int64_t sec)
{
    return (sec >= 0 ? sec : sec - (SEC_PER_DAY - 1)) / SEC_PER_DAY;
}

// Write the date into the registers.
static void rtc_show(struct mc146818 *rtc, int64_t sec)
{
    int64_t days = floor_days(sec);
    unsigned of_day = (unsigned)(sec - days * SEC_PER_DAY);
    struct rtc_date date = date_from_days(days);
    uint8_t *ram = rtc->ram;

    ram[REG_SECONDS] = rtc_encode(rtc, of_day % 60);
    ram[REG_MINUTES] = rtc_encode(rtc, of_day / 60 % 60);
    ram[REG_HOURS] = rtc_encode_hour(rtc, of_day / 3600);
    ram[REG_WEEKDAY] = rtc_encode(rtc, (weekday_of(days) + rtc->weekday_bias) % 7 + 1);
    ram[REG_DAY] = rtc_encode(rtc, date.day);
    ram[REG_MONTH] = rtc_encode(rtc, date.month);
    ram[REG_YEAR] = rtc_encode(rtc, (unsigned)(date.year % 100));
    ram[RTC_CENTURY] = rtc_encode(rtc, (unsigned)(date.year / 100));
}

// Read the date back out of the registers, whatever a guest has left there.
static int64_t rtc_parse(struct mc146818 *rtc)
{
    const uint8_t *ram = rtc->ram;
    unsigned month = rtc_decode(rtc, ram[REG_MONTH]);
    struct rtc_date date = {
        .year = rtc_decode(rtc, ram[RTC_CENTURY]) * 100 + rtc_decode(rtc, ram[REG_YEAR]),
        .month = month >= 1 && month <= 12 ? month : 1,
        .day = rtc_decode(rtc, ram[REG_DAY]),
    };
    int64_t days = date_to_days(date);

    unsigned weekday = rtc_decode(rtc, ram[REG_WEEKDAY]) + 6; // 0 is Sunday, plus a week
    rtc->weekday_bias = (uint8_t)((weekday + 7 - weekday_of(days)) % 7);
    return days * SEC_PER_DAY + rtc_decode_hour(rtc, ram[REG_HOURS]) * 3600LL +
           rtc_decode(rtc, ram[REG_MINUTES]) * 60LL + rtc_decode(rtc, ram[REG_SECONDS]);
}

// One alarm field against the time: its byte matches always if both top bits are set.
static bool alarm_matches(uint8_t raw, unsigned alarm, unsigned value)
{
    return (raw & ALARM_ANY) == ALARM_ANY || alarm == value;
}

// The first second after `sec` at which the alarm goes off, or INT64_MAX if it never does. Skips
// whole hours and minutes, so that a day takes at most 24 + 60 + 60 steps, twice for the wrap.
static int64_t rtc_next_alarm(const struct mc146818 *rtc, int64_t sec)
{
    const uint8_t *ram = rtc->ram;
    unsigned hour = rtc_decode_hour(rtc, ram[REG_HOURS_ALARM]);
    unsigned minute = rtc_decode(rtc, ram[REG_MINUTES_ALARM]);
    unsigned second = rtc_decode(rtc, ram[REG_SECONDS_ALARM]);
    int64_t limit = sec + SEC_PER_DAY;

    for (int64_t at = sec + 1; at <= limit;) {
        unsigned of_day = (unsigned)(at - floor_days(at) * SEC_PER_DAY);
        if (!alarm_matches(ram[REG_HOURS_ALARM], hour, of_day / 3600))
            at += 3600 - of_day % 3600;
        else if (!alarm_matches(ram[REG_MINUTES_ALARM], minute, of_day / 60 % 60))
            at += 60 - of_day % 60;
        else if (!alarm_matches(ram[REG_SECONDS_ALARM], second, of_day % 60))
            at++;
        else
            return at;
    }
    return INT64_MAX;
}

// Period of the periodic interrupt in crystal ticks; 0 if there is none.
static uint64_t rtc_period_ticks(const struct mc146818 *rtc)
{
    unsigned rate = rtc->ram[REG_A] & A_RATE;

    if (rate == 0 || rtc_in_reset(rtc))
        return 0;
    return rate <= 2 ? 1ULL << (rate + 6) : 1ULL << (rate - 1);
}

static uint64_t rtc_crystal_ticks(const struct mc146818 *rtc, int64_t ns)
{
    return clock_ns_to_ticks((uint64_t)(ns - rtc->base_ns), CRYSTAL_HZ);
}

// Set the flags of all that has happened since the last look.
static void rtc_sync(struct mc146818 *rtc)
{
    int64_t now = rtc_now(rtc);
    int64_t then = rtc->synced_ns;
    uint64_t period = rtc_period_ticks(rtc);

    if (period != 0) {
        uint64_t before = rtc_crystal_ticks(rtc, then) / period;
        uint64_t ended = rtc_crystal_ticks(rtc, now) / period - before;
        if ((rtc->ram[REG_B] & B_PERIODIC) != 0)
            ticks_due(&rtc->ticks, ended, CRYSTAL_HZ / period);
        if (ended != 0 || (rtc->ticks.owed > 0 && rtc->ticks.again_ns <= (uint64_t)now))
            rtc->ram[REG_C] |= B_PERIODIC;
    }
    if (!rtc_stopped(rtc)) {
        int64_t sec = rtc_seconds_at(rtc, now);
        int64_t last = rtc_seconds_at(rtc, then);
        if (sec != last)
            rtc->ram[REG_C] |= B_UPDATE;
        if (sec != last && rtc_next_alarm(rtc, last) <= sec)
            rtc->ram[REG_C] |= B_ALARM;
    }
    rtc->synced_ns = now;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// Host time of the next event whose interrupt is enabled, or INT64_MAX.
static int64_t rtc_next_event(const struct mc146818 *rtc)
{
    uint8_t enabled = rtc->ram[REG_B] & B_INTERRUPTS;
    uint64_t period = rtc_period_ticks(rtc);
    int64_t now = rtc->synced_ns;
    int64_t next = INT64_MAX;

    if ((enabled & B_PERIODIC) != 0 && period != 0) {
        uint64_t tick = (rtc_crystal_ticks(rtc, now) / period + 1) * period;
        next = rtc->base_ns + (int64_t)clock_ticks_to_ns(tick, CRYSTAL_HZ);
        if (rtc->ticks.owed > 0)
            next = earlier(next, (int64_t)rtc->ticks.again_ns);
    }
    if (rtc_stopped(rtc))
        return next;
    int64_t sec = rtc_seconds_at(rtc, now);
    int64_t at = INT64_MAX;
    if ((enabled & B_UPDATE) != 0)
        at = sec + 1;
    else if ((enabled & B_ALARM) != 0)
        at = rtc_next_alarm(rtc, sec);
    if (at != INT64_MAX)
        next = earlier(next, rtc->base_ns + (at - rtc->base_sec) * (int64_t)NS_PER_SEC);
    return next;
}

// Drive IRQ 8. Once it is asserted nothing more can happen until register C is read, so a guest
// that does not look costs no timer: its missed periods are one interrupt.
static void rtc_update(struct mc146818 *rtc)
{
    bool level = (rtc->ram[REG_C] & rtc->ram[REG_B] & B_INTERRUPTS) != 0;
    int64_t next = level ? INT64_MAX : rtc_next_event(rtc);

    if (level)
        rtc->ram[REG_C] |= C_IRQF;
    else
        rtc->ram[REG_C] &= (uint8_t)~C_IRQF;
    irq_set(&rtc->irq, level);
    vtimer_arm(rtc->clock, &rtc->timer, next == INT64_MAX ? CLOCK_NEVER : (uint64_t)next);
}

static void rtc_fire(void *ctx, uint64_t now_ns)
{
    struct mc146818 *rtc = ctx;

    (void)now_ns;
    rtc_sync(rtc);
    rtc_update(rtc);
}

static const struct vtimer_ops rtc_timer_ops = {.fire = rtc_fire};

static bool reg_is_date(uint8_t index)
{
    switch (index) {
    case REG_SECONDS:
    case REG_MINUTES:
    case REG_HOURS:
    case REG_WEEKDAY:
    case REG_DAY:
    case REG_MONTH:
    case REG_YEAR:
    case RTC_CENTURY:
        return true;
    default:
        return false;
    }
}

// Put the registers' date into the clock, to go on from the phase that the second now has.
static void rtc_adopt(struct mc146818 *rtc, int64_t now)
{
    int64_t sec = rtc_parse(rtc);

    rtc->base_sec += sec - rtc_seconds_at(rtc, now);
}

// Registers A and B decide whether the clock runs: freeze or start it as they change.
static void rtc_write_control(struct mc146818 *rtc, uint8_t index, uint8_t value)
{
    int64_t now = rtc_now(rtc);
    bool was_stopped = rtc_stopped(rtc);
    bool was_reset = rtc_in_reset(rtc);

    if (!was_stopped)
        rtc_show(rtc, rtc_seconds_at(rtc, now));
    if (index == REG_A) {
        rtc->ram[REG_A] = value & (A_DIVIDER | A_RATE);
    } else {
        // "SET": its rising clears the update interrupt.
        if ((value & B_SET) != 0)
            value &= (uint8_t)~B_UPDATE;
        rtc->ram[REG_B] = value;
    }
    if (index == REG_A || (value & B_PERIODIC) == 0) // another timer from now on
        ticks_forget(&rtc->ticks);
    if (was_reset && !rtc_in_reset(rtc))
        rtc->base_ns = now - (int64_t)(NS_PER_SEC - FIRST_UPDATE_NS);
    if (was_stopped && !rtc_stopped(rtc))
        rtc_adopt(rtc, now);
}

static uint8_t rtc_read_register(struct mc146818 *rtc, uint8_t index)
{
    int64_t now = rtc->synced_ns;
    uint8_t value;

    switch (index) {
    case REG_A:
        value = rtc->ram[REG_A];
        if (!rtc_stopped(rtc) &&
            (now - rtc->base_ns) % (int64_t)NS_PER_SEC >= (int64_t)NS_PER_SEC - UIP_NS)
            value |= A_UIP;
        return value;
    case REG_C:
        value = rtc->ram[REG_C];
        rtc->ram[REG_C] = 0;
        if ((value & B_PERIODIC) != 0)
            ticks_asked(&rtc->ticks, true, (uint64_t)now,
                        clock_ticks_to_ns(rtc_period_ticks(rtc), CRYSTAL_HZ));
        return value;
    case REG_D:
        return D_VALID;
    default:
        if (reg_is_date(index) && !rtc_stopped(rtc))
            rtc_show(rtc, rtc_seconds_at(rtc, now));
        return rtc->ram[index];
    }
}

static void rtc_write_register(struct mc146818 *rtc, uint8_t index, uint8_t value)
{
    bool live = reg_is_date(index) && !rtc_stopped(rtc);

    switch (index) {
    case REG_A:
    case REG_B:
        rtc_write_control(rtc, index, value);
        break;
    case REG_C:
    case REG_D:
        break;
    default:
        if (live)
            rtc_show(rtc, rtc_seconds_at(rtc, rtc->synced_ns));
        rtc->ram[index] = value;
        if (live)
            rtc_adopt(rtc, rtc->synced_ns);
        break;
    }
}

static uint64_t mc146818_read(void *dev, uint64_t offset, unsigned size)
{
    struct mc146818 *rtc = dev;

    (void)size;
    if (offset == 0)
        return UINT64_MAX; // the index is write-only
    rtc_sync(rtc);
    uint8_t value = rtc_read_register(rtc, rtc->index);
    rtc_update(rtc);
    return value;
}

static enum bus_result mc146818_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct mc146818 *rtc = dev;

    (void)size;
    if (offset == 0) {
        rtc->index = value & (RTC_NVRAM_SIZE - 1);
        return BUS_OK;
    }
    rtc_sync(rtc);
    rtc_write_register(rtc, rtc->index, (uint8_t)value);
    rtc_update(rtc);
    return BUS_OK;
}

static const struct device_ops mc146818_ops = {
    .name = "mc146818",
    .max_size = 1,
    .read = mc146818_read,
    .write = mc146818_write,
};

void mc146818_init(struct mc146818 *rtc, struct clock *clock, int64_t wall_sec, struct irq_line irq)
{
    memset(rtc, 0, sizeof(*rtc));
    rtc->clock = clock;
    rtc->irq = irq;
    rtc->base_sec = wall_sec;
    rtc->base_ns = rtc_now(rtc);
    rtc->synced_ns = rtc->base_ns;
    rtc->ram[REG_A] = A_BIOS;
    rtc->ram[REG_B] = B_24H;
    vtimer_init(&rtc->timer, &rtc_timer_ops, rtc);
    rtc_show(rtc, wall_sec);
}

void mc146818_reset(struct mc146818 *rtc)
{
    rtc_sync(rtc);
    rtc->ram[REG_B] &= (uint8_t) ~(B_INTERRUPTS | B_SQUARE_WAVE);
    rtc->ram[REG_C] = 0;
    ticks_forget(&rtc->ticks);
    rtc->index = 0;
    rtc_update(rtc);
}

bool mc146818_register(struct mc146818 *rtc, struct bus *bus)
{
    return bus_add_ports(bus, &mc146818_ops, rtc, PORT_RTC, 2);
}

void mc146818_set_nvram(struct mc146818 *rtc, uint8_t index, uint8_t value)
{
    if (index >= NVRAM_FIRST && index < RTC_NVRAM_SIZE && index != RTC_CENTURY)
        rtc->ram[index] = value;
}
