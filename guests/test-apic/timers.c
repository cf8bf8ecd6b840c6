// SPDX-License-Identifier: BSD-2-Clause
//
// The local APIC timer: one-shot, periodic and TSC-deadline, its counters, and its mask. Times are
// judged by the TSC.

#include <stdbool.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/timer.h"
#include "guests/test-apic/groups.h"

#define VEC_TEST    0x71
#define ALARM_NS    (5 * NS_PER_MS)
#define PERIOD_NS   (2 * NS_PER_MS)
#define PERIODS     10
#define EARLY_NS    20000 // rounding of the calibrated frequency
#define PATIENCE_NS (200 * NS_PER_MS)

static uint32_t counts(uint64_t ns, unsigned int divide)
{
    return (uint32_t)(timer_hz() / divide * ns / NS_PER_SECOND);
}

static void expect_time(const char *name, uint64_t start, uint64_t end, uint64_t want)
{
    uint64_t ns = clock_ns_of_ticks(end - start);
    check(ns + EARLY_NS >= want && ns <= want + lateness(), named(name), "%lu ns instead of %lu",
          (unsigned long)ns, (unsigned long)want);
}

static void test_one_shot(unsigned int divide, uint32_t code, const char *name)
{
    record_reset();
    apic_write(APIC_TIMER_DIVIDE, code);
    apic_write(APIC_LVT_TIMER, APIC_TIMER_ONE_SHOT | VEC_TEST);
    uint64_t start = rdtsc();
    apic_write(APIC_TIMER_INITIAL, counts(ALARM_NS, divide));
    uint32_t first = apic_read(APIC_TIMER_COUNT);
    clock_spin_ns(ALARM_NS / 2);
    uint32_t half = apic_read(APIC_TIMER_COUNT);
    if (check(wait_for(1, PATIENCE_NS), named(name), "no interrupt"))
        expect_time("one-shot-time", start, record.tsc[0], ALARM_NS);
    check(first > half && half > 0 && half < counts(ALARM_NS, divide), named("one-shot-counts"),
          "%u, then %u of %u", (unsigned int)first, (unsigned int)half,
          (unsigned int)counts(ALARM_NS, divide));
    wait_for(2, ALARM_NS * 2);
    check(record.count == 1 && apic_read(APIC_TIMER_COUNT) == 0, named("one-shot-once"),
          "%u interrupts, count %u", record.count, (unsigned int)apic_read(APIC_TIMER_COUNT));
    apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_BY_1);
}

// One reading of the count, between two of the TSC.
struct reading {
    uint64_t before, after;
    uint32_t count;
};

static struct reading read_count(void)
{
    struct reading r;
    r.before = rdtsc();
    r.count = apic_read(APIC_TIMER_COUNT);
    r.after = rdtsc();
    return r;
}

// "Divide Configuration Register": each value, against the TSC. The count may be wrong by one at
// either end.
static void test_dividers(void)
{
    static const struct { uint32_t code, by; } rows[] = {
        {0x0, 2}, {0x1, 4}, {0x2, 8}, {0x3, 16}, {0x8, 32}, {0x9, 64}, {0xA, 128}, {0xB, 1},
    };
    uint32_t wrong = 0;
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED | APIC_TIMER_ONE_SHOT | VEC_TEST);
    for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        apic_write(APIC_TIMER_DIVIDE, rows[i].code);
        apic_write(APIC_TIMER_INITIAL, UINT32_MAX);
        struct reading from = read_count();
        clock_spin_ns(NS_PER_MS);
        struct reading to = read_count();
        uint64_t step = clock_tsc_hz() / timer_hz() * rows[i].by;
        uint64_t passed = (from.count - to.count) * step;
        if (passed + step < to.before - from.after || passed > to.after - from.before + step)
            wrong |= 1u << i;
        if (apic_read(APIC_TIMER_DIVIDE) != rows[i].code)
            wrong |= 0x100u << i;
    }
    apic_write(APIC_TIMER_INITIAL, 0);
    apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_BY_1);
    check(wrong == 0, named("timer-dividers"), "wrong are %x", (unsigned int)wrong);
}

// A mode is the entry's: from one count-down mode to the other the count goes on; to and from TSC
// deadlines it stops, and there is none in that mode.
static void test_mode_changes(void)
{
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED | APIC_TIMER_ONE_SHOT | VEC_TEST);
    apic_write(APIC_TIMER_INITIAL, UINT32_MAX);
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED | APIC_TIMER_PERIODIC | VEC_TEST);
    uint32_t goes_on = apic_read(APIC_TIMER_COUNT);
    check(goes_on > UINT32_MAX / 2 && apic_read(APIC_TIMER_INITIAL) == UINT32_MAX,
          named("timer-mode-change"), "%x", (unsigned int)goes_on);
    if (!timer_has_deadline())
        return;
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED | APIC_TIMER_DEADLINE | VEC_TEST);
    apic_write(APIC_TIMER_INITIAL, 1000);
    uint32_t initial = apic_read(APIC_TIMER_INITIAL), count = apic_read(APIC_TIMER_COUNT);
    check(initial == 0 && count == 0, named("timer-deadline-counts"), "%x, %x",
          (unsigned int)initial, (unsigned int)count);
    wrmsr(MSR_TSC_DEADLINE, UINT64_MAX);
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED | APIC_TIMER_ONE_SHOT | VEC_TEST);
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED | APIC_TIMER_DEADLINE | VEC_TEST);
    check(rdmsr(MSR_TSC_DEADLINE) == 0, named("timer-deadline-disarms"), "%lx",
          (unsigned long)rdmsr(MSR_TSC_DEADLINE));
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED | VEC_TEST);
}

// The deadline is one of the guest's TSC: moved, that passes it sooner or later; the counting modes
// do not look at it.
static void test_adjusted(void)
{
    uint64_t step = clock_ticks_of_ns(ALARM_NS / 2), adjust = rdmsr(MSR_TSC_ADJUST);
    for (int way = 0; way < 2; way++) {
        record_reset();
        apic_write(APIC_LVT_TIMER, APIC_TIMER_DEADLINE | VEC_TEST);
        __asm__ volatile("mfence" ::: "memory");
        uint64_t start = rdtsc(), deadline = start + clock_ticks_of_ns(ALARM_NS);
        wrmsr(MSR_TSC_DEADLINE, deadline);
        if (way == 0)
            wrmsr(MSR_TSC_ADJUST, adjust + step);
        else
            wrmsr(MSR_TSC, rdtsc() + step);
        bool came = wait_for(1, PATIENCE_NS);
        uint64_t moved = rdmsr(MSR_TSC_ADJUST) - adjust;
        wrmsr(MSR_TSC_ADJUST, adjust);
        if (check(came && record.tsc[0] >= deadline,
                  named(way == 0 ? "deadline-adjusted" : "deadline-tsc-written"),
                  "%u interrupts, %ld ticks early", record.count,
                  (long)(deadline - record.tsc[0])))
            expect_time(way == 0 ? "deadline-adjusted-time" : "deadline-tsc-written-time",
                        start + moved, record.tsc[0], ALARM_NS / 2);
    }
    record_reset();
    apic_write(APIC_LVT_TIMER, APIC_TIMER_ONE_SHOT | VEC_TEST);
    uint64_t start = rdtsc();
    apic_write(APIC_TIMER_INITIAL, counts(ALARM_NS, 1));
    wrmsr(MSR_TSC_ADJUST, adjust + step);
    bool came = wait_for(1, PATIENCE_NS);
    wrmsr(MSR_TSC_ADJUST, adjust);
    if (check(came, named("one-shot-adjusted"), "no interrupt"))
        expect_time("one-shot-adjusted-time", start + step, record.tsc[0], ALARM_NS);
}

static void test_hlt(void)
{
    record_reset();
    apic_write(APIC_LVT_TIMER, APIC_TIMER_ONE_SHOT | VEC_TEST);
    uint64_t start = rdtsc();
    apic_write(APIC_TIMER_INITIAL, counts(ALARM_NS, 1));
    cpu_wait_for_irq();
    uint64_t end = rdtsc();
    check(record.count == 1, named("one-shot-hlt"), "%u interrupts", record.count);
    expect_time("one-shot-hlt-time", start, end, ALARM_NS);
}

static void test_periodic(void)
{
    record_reset();
    apic_write(APIC_LVT_TIMER, APIC_TIMER_PERIODIC | VEC_TEST);
    uint64_t start = rdtsc();
    apic_write(APIC_TIMER_INITIAL, counts(PERIOD_NS, 1));
    if (check(wait_for(PERIODS, PATIENCE_NS), named("periodic"), "%u interrupts", record.count))
        expect_time("periodic-time", start, record.tsc[PERIODS - 1], PERIODS * PERIOD_NS);
    apic_write(APIC_TIMER_INITIAL, 0);
    cpu_irq_window();
    record_reset();
    wait_for(1, 2 * PERIOD_NS);
    check(record.count == 0, named("periodic-stopped"), "%u interrupts", record.count);
}

static void test_masked(void)
{
    record_reset();
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED | VEC_TEST);
    apic_write(APIC_TIMER_INITIAL, counts(NS_PER_MS, 1));
    wait_for(1, 3 * NS_PER_MS);
    bool requested = apic_bit(APIC_IRR(0), VEC_TEST);
    apic_write(APIC_LVT_TIMER, VEC_TEST);
    wait_for(1, 3 * NS_PER_MS);
    check(record.count == 0 && !requested, named("timer-masked"), "%u interrupts, IRR %d",
          record.count, requested);
}

static void test_deadline(void)
{
    record_reset();
    apic_write(APIC_LVT_TIMER, APIC_TIMER_DEADLINE | VEC_TEST);
    __asm__ volatile("mfence" ::: "memory");
    uint64_t start = rdtsc();
    uint64_t deadline = start + clock_ticks_of_ns(ALARM_NS);
    wrmsr(MSR_TSC_DEADLINE, deadline);
    uint64_t armed = rdmsr(MSR_TSC_DEADLINE);
    if (check(wait_for(1, PATIENCE_NS), named("deadline"), "no interrupt")) {
        expect_time("deadline-time", start, record.tsc[0], ALARM_NS);
        check(record.tsc[0] >= deadline, named("deadline-not-early"), "%lu ticks early",
              (unsigned long)(deadline - record.tsc[0]));
    }
    // Bochs leaves the old deadline in the MSR.
    uint64_t after = cpu_on_bulkhead() ? rdmsr(MSR_TSC_DEADLINE) : 0;
    check(armed == deadline && after == 0, named("deadline-msr"), "armed %lx, after %lx",
          (unsigned long)armed, (unsigned long)after);

    record_reset();
    wrmsr(MSR_TSC_DEADLINE, rdtsc() - 1);
    check(wait_for(1, NS_PER_MS), named("deadline-past"), "no interrupt");
    record_reset();
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + clock_ticks_of_ns(NS_PER_MS));
    wrmsr(MSR_TSC_DEADLINE, 0);
    wait_for(1, 3 * NS_PER_MS);
    check(record.count == 0, named("deadline-disarmed"), "%u interrupts", record.count);

    apic_write(APIC_LVT_TIMER, APIC_TIMER_ONE_SHOT | VEC_TEST);
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + clock_ticks_of_ns(NS_PER_MS));
    wait_for(1, 3 * NS_PER_MS);
    check(record.count == 0 && rdmsr(MSR_TSC_DEADLINE) == 0, named("deadline-other-mode"),
          "%u interrupts, MSR %lx", record.count, (unsigned long)rdmsr(MSR_TSC_DEADLINE));
}

void test_timers(void)
{
    trap_set_handler(VEC_TEST, on_interrupt);
    test_one_shot(1, APIC_DIVIDE_BY_1, "one-shot");
    test_one_shot(16, APIC_DIVIDE_BY_16, "one-shot-divide-16");
    test_hlt();
    test_periodic();
    test_masked();
    if (cpu_on_bulkhead()) {
        test_dividers();
        test_mode_changes();
        test_adjusted();
    } else {
        check_skip(named("timer-dividers"), "not on Bulkhead");
    }
    if (timer_has_deadline())
        test_deadline();
    else
        check_skip(named("deadline"), "not in CPUID");
    apic_quiet();
}
