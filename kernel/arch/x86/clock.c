// SPDX-License-Identifier: BSD-2-Clause
// The host's time: the TSC, measured once by the boot core against what timers the board has. No
// timer is trusted alone: the 8254 may be gated or absent, CPUID leaf 15H is wrong on some CPUs and
// in every emulator (clock_choose.h). Every wait has an end.
#include "kernel/arch/x86/clock_choose.h"
#include "kernel/arch/x86/x86.h"

#define PIT_HZ 1193182ull
#define PM_TIMER_HZ 3579545ull
#define WAIT_TSC 150000000ull // no wait for 10 ms is longer: 15 ms at 10 GHz

uint64_t clock_tsc_hz;
uint64_t clock_calibration; // ticks that it took
const char *clock_source;

uint64_t arch_now(void) { return rdtsc(); }
uint64_t arch_tsc_hz(void) { return clock_tsc_hz; }

// TSC ticks in `count` PIT periods: channel 2 in mode 0, its output seen at port 0x61. 0: it does
// not run. The first reading is taken before the gate opens, so that an SMI anywhere makes the
// count larger, never smaller.
static uint64_t pit_measure(uint16_t count)
{
    uint8_t gate = (in8(0x61) & ~2u) | 1; // speaker off, gate on
    out8(0x61, gate & ~1u);
    out8(0x43, 0xb0);
    out8(0x42, (uint8_t)count);
    out8(0x42, (uint8_t)(count >> 8));
    uint64_t start = rdtsc();
    out8(0x61, gate);
    while (!(in8(0x61) & 0x20))
        if (rdtsc() - start > WAIT_TSC)
            return 0;
    return rdtsc() - start;
}

// Two lengths, so that what starting and stopping costs falls out of the difference; the shortest
// of two counts each. An output that is stuck, at either level, is no clock.
static uint64_t pit_hz(void)
{
    const uint64_t n_long = 11932, n_short = 1193; // 10 ms and 1 ms
    uint64_t best_long = UINT64_MAX, best_short = UINT64_MAX;
    for (int i = 0; i < 2; i++) {
        uint64_t took_short = pit_measure((uint16_t)n_short);
        uint64_t took_long = took_short ? pit_measure((uint16_t)n_long) : 0;
        if (took_long < 4 * took_short || !took_long)
            return 0;
        best_short = min_u64(best_short, took_short);
        best_long = min_u64(best_long, took_long);
    }
    return best_long > best_short ? (best_long - best_short) * PIT_HZ / (n_long - n_short) : 0;
}

struct reading clock_reading(uint16_t port)
{
    struct reading best = { 0, 0 };
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 4; i++) {
        uint64_t before = rdtsc();
        uint32_t value = port ? in32(port) : apic_timer_count();
        uint64_t took = rdtsc() - before;
        if (took < least)
            best = (struct reading){ before + took / 2, value };
        least = min_u64(least, took);
    }
    return best;
}

// The PM timer counts all the time: it is read before and behind the measurement with the PIT.
// Waits until 5 ms at least have passed since `first`; 0: it does not count.
static uint64_t pm_hz(struct reading first)
{
    uint64_t start = rdtsc();
    do {
        struct reading now = clock_reading(acpi.pm_timer);
        uint32_t passed = (now.value - first.value) & 0xffffff;
        if (passed >= PM_TIMER_HZ / 200)
            return (now.tsc - first.tsc) * PM_TIMER_HZ / passed;
    } while (rdtsc() - start < WAIT_TSC);
    return 0;
}

void clock_calibrate(void)
{
    static const char *const names[CLOCK_SOURCES] = { "PIT", "PM timer", "CPUID 15H", "CPUID 16H" };
    uint64_t start = rdtsc(), hz[CLOCK_SOURCES];
    uint64_t below = cpuid_word(0x15, 0, 0), above = cpuid_word(0x15, 0, 1);
    hz[CLOCK_CPUID_15] = below ? cpuid_word(0x15, 0, 2) * above / below : 0;
    struct reading first = acpi.pm_timer ? clock_reading(acpi.pm_timer) : (struct reading){ 0, 0 };
    // Reduced hardware promises no PIT: it is asked where the CPU does not say.
    hz[CLOCK_PIT] = (acpi.fadt.flags & FADT_HW_REDUCED) && hz[CLOCK_CPUID_15] ? 0 : pit_hz();
    hz[CLOCK_PM] = acpi.pm_timer ? pm_hz(first) : 0;
    hz[CLOCK_CPUID_16] = (cpuid_word(0x16, 0, 0) & 0xffff) * 1000000ull;
    unsigned best = clock_choose(hz);
    if (best == CLOCK_SOURCES)
        panic("no timer of this machine runs, and CPUID does not tell the TSC's frequency");
    clock_tsc_hz = hz[best];
    clock_source = names[best];
    clock_calibration = rdtsc() - start;
}

void clock_delay_us(uint64_t us)
{
    uint64_t end = rdtsc() + us * clock_tsc_hz / 1000000;
    while (rdtsc() < end)
        __builtin_ia32_pause();
}
