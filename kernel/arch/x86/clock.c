// SPDX-License-Identifier: BSD-2-Clause
// The host's time: the TSC, measured once against the PIT by the boot core, and the date from the
// RTC. CPUID leaf 15h is believed only where it agrees: some CPUs and every emulator get it wrong.
#include "kernel/arch/x86/x86.h"

#define PIT_HZ 1193182ull

uint64_t clock_tsc_hz;
uint64_t clock_calibration; // ticks that it took

uint64_t arch_now(void) { return rdtsc(); }
uint64_t arch_tsc_hz(void) { return clock_tsc_hz; }

// TSC ticks in `count` PIT periods: channel 2 in mode 0, its output seen at port 0x61.
static uint64_t pit_measure(uint16_t count)
{
    uint8_t gate = (in8(0x61) & ~2u) | 1; // speaker off, gate on
    out8(0x61, gate & ~1u);
    out8(0x43, 0xb0);
    out8(0x42, (uint8_t)count);
    out8(0x42, (uint8_t)(count >> 8));
    out8(0x61, gate);
    uint64_t start = rdtsc();
    while (!(in8(0x61) & 0x20))
        ;
    return rdtsc() - start;
}

static uint64_t cpuid_hz(void)
{
    uint64_t below = cpuid_word(0x15, 0, 0), above = cpuid_word(0x15, 0, 1);
    return below ? cpuid_word(0x15, 0, 2) * above / below : 0;
}

// An SMI makes a run longer, never shorter: the shortest of three counts. Two lengths, so that
// what starting and stopping costs falls out of the difference.
void clock_calibrate(void)
{
    uint64_t start = rdtsc(), best_long = UINT64_MAX, best_short = UINT64_MAX;
    const uint64_t n_long = 11932, n_short = 1193; // 10 ms and 1 ms
    for (int i = 0; i < 3; i++) {
        best_short = min_u64(best_short, pit_measure((uint16_t)n_short));
        best_long = min_u64(best_long, pit_measure((uint16_t)n_long));
    }
    uint64_t measured = (best_long - best_short) * PIT_HZ / (n_long - n_short);
    uint64_t claimed = cpuid_hz();
    uint64_t off = claimed > measured ? claimed - measured : measured - claimed;
    clock_tsc_hz = claimed && off < measured / 500 ? claimed : measured;
    clock_calibration = rdtsc() - start;
}

void clock_delay_us(uint64_t us)
{
    uint64_t end = rdtsc() + us * clock_tsc_hz / 1000000;
    while (rdtsc() < end)
        __builtin_ia32_pause();
}

static uint8_t cmos(uint8_t index)
{
    out8(0x70, index);
    return in8(0x71);
}

// Days since 1970, for the years up to 2069: every fourth is a leap year.
static uint64_t days_from_civil(uint64_t year, uint64_t month, uint64_t day)
{
    // Years that begin in March put the leap day at the end.
    year -= month <= 2;
    uint64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return (year - 1970) * 365 + year / 4 - 1970 / 4 + day_of_year + 59;
}

// UTC seconds since 1970 from the MC146818; *tsc is the TSC at about that moment.
uint64_t clock_wall_seconds(uint64_t *tsc)
{
    uint8_t t[6];
    static const uint8_t index[6] = { 0, 2, 4, 7, 8, 9 };
    for (unsigned tries = 0; (cmos(0x0a) & 0x80) && tries < 100000; tries++)
        ;
    for (unsigned i = 0; i < 6; i++)
        t[i] = cmos(index[i]);
    *tsc = rdtsc();
    uint8_t status = cmos(0x0b);
    bool pm = t[2] & 0x80;
    t[2] &= 0x7f;
    for (unsigned i = 0; i < 6 && !(status & 4); i++)
        t[i] = (uint8_t)((t[i] >> 4) * 10 + (t[i] & 15));
    if (!(status & 2))
        t[2] = (uint8_t)(t[2] % 12 + (pm ? 12 : 0));
    uint64_t year = t[5] + (t[5] < 70 ? 2000u : 1900u);
    return ((days_from_civil(year, t[4], t[3]) * 24 + t[2]) * 60 + t[1]) * 60 + t[0];
}
