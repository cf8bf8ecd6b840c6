// SPDX-License-Identifier: BSD-2-Clause
// The host's time: the TSC, measured once by the boot core against ACPI's PM timer. The 8254, which
// may be gated or absent, is left alone: where ACPI does not promise the PM timer, it does not
// promise that one either. CPUID leaf 15H is wrong on some CPUs and in every emulator
// (clock_choose.h). Every wait has an end.
#include "kernel/arch/x86/clock_choose.h"
#include "kernel/arch/x86/x86.h"

#define PM_TIMER_HZ 3579545ull
#define WAIT_TSC 300000000ull // no wait for 20 ms is longer: 30 ms at 10 GHz

uint64_t clock_tsc_hz;
uint64_t clock_calibration; // ticks that it took
const char *clock_source;

uint64_t arch_now(void) { return rdtsc(); }
uint64_t arch_tsc_hz(void) { return clock_tsc_hz; }

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

// 0: it does not count.
static uint64_t pm_hz(void)
{
    struct reading first = clock_reading(acpi.pm_timer), now;
    do {
        now = clock_reading(acpi.pm_timer);
        uint32_t passed = (now.value - first.value) & 0xffffff;
        if (passed >= PM_TIMER_HZ / 50)
            return (now.tsc - first.tsc) * PM_TIMER_HZ / passed;
    } while (now.tsc - first.tsc < WAIT_TSC);
    return 0;
}

void clock_calibrate(void)
{
    static const char *const names[CLOCK_SOURCES] = { "PM timer", "CPUID 15H", "CPUID 16H" };
    uint64_t start = rdtsc(), hz[CLOCK_SOURCES];
    uint64_t below = cpuid_word(0x15, 0, 0), above = cpuid_word(0x15, 0, 1);
    hz[CLOCK_CPUID_15] = below ? cpuid_word(0x15, 0, 2) * above / below : 0;
    hz[CLOCK_PM] = acpi.pm_timer ? pm_hz() : 0;
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
