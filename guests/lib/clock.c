// SPDX-License-Identifier: BSD-2-Clause
//
// The TSC as a clock. State: the frequencies and the zero, written once by clock_init().

#include "guests/lib/clock.h"

#include "guests/lib/cpu.h"
#include "guests/lib/pit.h"

#define CPUID_TSC_CRYSTAL 0x15u
#define CALIBRATION_NS    (50 * NS_PER_MS)
#define WAIT_WINDOW_NS    20000

static uint64_t tsc_hz;
static uint64_t crystal_hz;
static uint64_t entry;

// a * b / c without overflow; the result must fit.
static uint64_t scale(uint64_t a, uint64_t b, uint64_t c)
{
    return (uint64_t)((unsigned __int128)a * b / c);
}

// "Time Stamp Counter and Nominal Core Crystal Clock Information Leaf": TSC = crystal * EBX / EAX.
static void read_cpuid_frequency(void)
{
    if (!cpu_on_bulkhead() || cpuid(0, 0).eax < CPUID_TSC_CRYSTAL)
        return;
    struct cpuid_result r = cpuid(CPUID_TSC_CRYSTAL, 0);
    if (r.eax == 0 || r.ebx == 0 || r.ecx == 0)
        return;
    crystal_hz = r.ecx;
    tsc_hz = scale(r.ecx, r.ebx, r.eax);
}

void clock_init(uint64_t entry_tsc)
{
    entry = entry_tsc;
    read_cpuid_frequency();
    if (tsc_hz != 0)
        return;
    uint64_t before = rdtsc();
    pit_wait_ns(CALIBRATION_NS);
    tsc_hz = scale(rdtsc() - before, NS_PER_SECOND, CALIBRATION_NS);
}

uint64_t clock_tsc_hz(void)
{
    return tsc_hz;
}

uint64_t clock_crystal_hz(void)
{
    return crystal_hz;
}

uint64_t clock_entry_tsc(void)
{
    return entry;
}

uint64_t clock_uptime_ns(void)
{
    return clock_ns_of_ticks(rdtsc() - entry);
}

uint64_t clock_ns_of_ticks(uint64_t ticks)
{
    return scale(ticks, NS_PER_SECOND, tsc_hz);
}

uint64_t clock_ticks_of_ns(uint64_t ns)
{
    return scale(ns, tsc_hz, NS_PER_SECOND);
}

void clock_spin_ns(uint64_t ns)
{
    uint64_t start = rdtsc();
    uint64_t ticks = clock_ticks_of_ns(ns);
    while (rdtsc() - start < ticks)
        cpu_pause();
}

bool clock_wait_count(const volatile unsigned int *count, unsigned int wanted, uint64_t ns)
{
    uint64_t end = rdtsc() + clock_ticks_of_ns(ns);
    while (*count < wanted && rdtsc() < end) {
        cpu_irq_enable();
        clock_spin_ns(WAIT_WINDOW_NS);
        cpu_irq_disable();
    }
    return *count >= wanted;
}
