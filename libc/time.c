// SPDX-License-Identifier: BSD-2-Clause
// The scale between TSC ticks and nanoseconds; constant once main() runs.
#include "libc/time.h"
#include <stdbool.h>

uint64_t time_ns_per_tick;

void time_init(uint64_t tsc_hz)
{
    time_ns_per_tick = (uint64_t)(((unsigned __int128)1000000000 << 48) / tsc_hz);
}

uint64_t ns_to_tsc(uint64_t ns)
{
    // The quotient has to fit 64 bits.
    if (ns >> 16 >= time_ns_per_tick) {
        return UINT64_MAX;
    }
    unsigned __int128 scaled = (unsigned __int128)ns << 48;
    return (uint64_t)((scaled + time_ns_per_tick - 1) / time_ns_per_tick);
}

// Days since 1970, for the years up to 2069: every fourth is a leap year.
static uint64_t days_from_civil(uint64_t year, uint64_t month, uint64_t day)
{
    // Years that begin in March put the leap day at the end.
    year -= month <= 2;
    uint64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return (year - 1970) * 365 + year / 4 - 1970 / 4 + day_of_year + 59;
}

// Status B of the MC146818: bit 2, the numbers are binary, else BCD; bit 1, 24 hours, else bit 7 of
// the hours is PM.
uint64_t time_wall_seconds(const uint8_t *rtc)
{
    uint8_t t[6], status = rtc[6];
    bool pm = rtc[2] & 0x80;
    for (unsigned i = 0; i < sizeof(t); i++) {
        uint8_t value = i == 2 ? rtc[i] & 0x7f : rtc[i];
        t[i] = (status & 4) != 0 ? value : (uint8_t)((value >> 4) * 10 + (value & 15));
    }
    if ((status & 2) == 0) {
        t[2] = (uint8_t)(t[2] % 12 + (pm ? 12 : 0));
    }
    uint64_t year = t[5] + (t[5] < 70 ? 2000u : 1900u);
    return ((days_from_civil(year, t[4], t[3]) * 24 + t[2]) * 60 + t[1]) * 60 + t[0];
}
