// SPDX-License-Identifier: BSD-2-Clause
// The host's time: the TSC, measured once against the PIT by the boot core, and what the RTC
// says. CPUID leaf 15h is believed only where it agrees: some CPUs and every emulator get it wrong.
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

void clock_read_rtc(uint8_t rtc[RTC_BYTES], uint64_t *tsc)
{
    static const uint8_t index[RTC_BYTES] = { 0, 2, 4, 7, 8, 9, 0x0b };
    out8(0x70, 0x0a);
    for (unsigned tries = 0; (in8(0x71) & 0x80) && tries < 100000; tries++) // it is being updated
        ;
    for (unsigned i = 0; i < RTC_BYTES; i++) {
        out8(0x70, index[i]);
        rtc[i] = in8(0x71);
    }
    *tsc = rdtsc();
}
