// SPDX-License-Identifier: BSD-2-Clause
//
// Test guest: the HPET. Its counter; one-shot and periodic comparators, by edge and by level,
// through the I/O APIC, while the guest runs and while it sleeps; legacy replacement through the
// PICs, and the PIT cut off by it.

#include <stddef.h>
#include <stdio.h>

#include "guests/lib/apic.h"
#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/pic.h"
#include "guests/lib/pit.h"
#include "guests/lib/trap.h"

#define HPET             0xFED00000ul
#define HPET_ID          (HPET + 0x000)
#define HPET_PERIOD      (HPET + 0x004) // in femtoseconds
#define HPET_CONFIG      (HPET + 0x010)
#define HPET_STATUS      (HPET + 0x020)
#define HPET_COUNTER     (HPET + 0x0F0)
#define TIMER_CONFIG(n)  (HPET + 0x100 + 0x20ul * (n))
#define TIMER_ROUTES(n)  (HPET + 0x104 + 0x20ul * (n))
#define TIMER_COMPARE(n) (HPET + 0x108 + 0x20ul * (n))

#define ENABLE       1u
#define LEGACY       2u
#define LEVEL        (1u << 1)
#define INTERRUPT    (1u << 2)
#define PERIODIC     (1u << 3)
#define CAN_PERIODIC (1u << 4)
#define CAN_64       (1u << 5)
#define SET_VALUE    (1u << 6)
#define ONLY_32      (1u << 8)
#define ROUTE(pin)   ((uint32_t)(pin) << 9)

#define VEC_HPET    0x76
#define IRQ_PIT     0
#define IRQ_RTC     8
#define PIN         21
#define PIN_LEVEL   22
#define TICKS       10
#define LEVELS      3 // how often the level interrupt comes before its status is cleared
#define PERIOD_NS   (2 * NS_PER_MS)
#define PATIENCE_NS (200 * NS_PER_MS)
#define QUIET_NS    (10 * NS_PER_MS)

static volatile unsigned int count;
static uint64_t times[TICKS + 1];
static uint32_t fs_per_tick;
static uint32_t status_inside, redirection_inside;

static uint64_t read64(uintptr_t address)
{
    uint64_t value;
    __asm__ volatile("movq (%1), %0" : "=r"(value) : "r"(address) : "memory");
    return value;
}

static void write64(uintptr_t address, uint64_t value)
{
    __asm__ volatile("movq %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

static uint64_t ticks_of(uint64_t ns)
{
    return ns * 1000000 / fs_per_tick;
}

static uint64_t lateness(void)
{
    return cpu_by_tcg() ? 50 * NS_PER_MS : NS_PER_MS;
}

static void note(void)
{
    if (count <= TICKS)
        times[count] = rdtsc();
    count = count + 1;
}

static void on_edge(struct trap_frame *frame)
{
    (void)frame;
    note();
    apic_eoi();
}

static void on_level(struct trap_frame *frame)
{
    (void)frame;
    note();
    status_inside = mmio_read32(HPET_STATUS);
    redirection_inside = ioapic_read((uint8_t)IOAPIC_REG_REDIR(PIN_LEVEL));
    if (count == LEVELS)
        mmio_write32(HPET_STATUS, status_inside);
    apic_eoi();
}

static void on_irq(struct trap_frame *frame)
{
    note();
    pic_eoi((unsigned int)frame->vector - VEC_PIC);
}

static bool wait_for(unsigned int wanted, uint64_t ns)
{
    return clock_wait_count(&count, wanted, ns);
}

// Everything off, the counter at `start`, halted.
static void stop(uint64_t start)
{
    mmio_write32(HPET_CONFIG, 0);
    for (unsigned int n = 0; n < 3; n++)
        mmio_write32(TIMER_CONFIG(n), 0);
    mmio_write32(HPET_STATUS, 7);
    write64(HPET_COUNTER, start);
    ioapic_mask(PIN);
    ioapic_mask(PIN_LEVEL);
    cpu_irq_window();
    count = 0;
}

static void route(unsigned int pin, trap_handler *handler, uint32_t flags)
{
    trap_set_handler(VEC_HPET, handler);
    ioapic_route(pin, VEC_HPET, (uint8_t)apic_id(), flags);
}

static void periodic(unsigned int n, uint32_t config, uint64_t ticks)
{
    mmio_write32(TIMER_CONFIG(n), config | INTERRUPT | PERIODIC | SET_VALUE);
    write64(TIMER_COMPARE(n), ticks);
}

static bool near(uint64_t ns, uint64_t want)
{
    return ns + lateness() >= want && ns <= want + lateness();
}

static void test_identity(void)
{
    uint32_t id = mmio_read32(HPET_ID);
    fs_per_tick = mmio_read32(HPET_PERIOD);
    check((id & 0xFF) != 0 && (id >> 8 & 31) >= 2 && (id & 1u << 13) && (id & 1u << 15),
          "identity", "%x", (unsigned int)id);
    check(fs_per_tick != 0 && fs_per_tick <= 100000000, "period", "%u fs", (unsigned)fs_per_tick);
    stop(0);
    for (unsigned int n = 0; n < 3; n++) {
        uint32_t config = mmio_read32(TIMER_CONFIG(n)), routes = mmio_read32(TIMER_ROUTES(n));
        mmio_write32(TIMER_CONFIG(n), ROUTE(PIN) | SET_VALUE | PERIODIC | LEVEL);
        uint32_t after = mmio_read32(TIMER_CONFIG(n));
        mmio_write32(TIMER_CONFIG(n), ROUTE(PIN) | ROUTE(8)); // 29
        uint32_t kept = mmio_read32(TIMER_CONFIG(n)) >> 9 & 31;
        check((config & (CAN_PERIODIC | CAN_64)) == (CAN_PERIODIC | CAN_64) &&
                  (routes & 1u << PIN) && (routes & 1u << PIN_LEVEL) &&
                  after == (config | ROUTE(PIN) | PERIODIC | LEVEL) && kept == PIN,
              "timer", "%u: %x, routes %x, then %x, pin %u", n, (unsigned int)config,
              (unsigned int)routes, (unsigned int)after, (unsigned int)kept);
    }
}

static void test_counter(void)
{
    const uint64_t start = 0xFFFFFFFFFFFF0000;
    stop(start);
    clock_spin_ns(NS_PER_MS);
    check(read64(HPET_COUNTER) == start, "counter.halted", "%lx", read64(HPET_COUNTER));
    mmio_write32(HPET_CONFIG, ENABLE);
    uint64_t tsc = rdtsc(), first = read64(HPET_COUNTER), last = first;
    bool ahead = true;
    while (clock_ns_of_ticks(rdtsc() - tsc) < 5 * NS_PER_MS) {
        uint64_t next = read64(HPET_COUNTER);
        ahead = ahead && next - last < 1ull << 32;
        last = next;
    }
    uint64_t ns = (last - first) * fs_per_tick / 1000000;
    uint64_t want = clock_ns_of_ticks(rdtsc() - tsc);
    check(near(ns, want), "counter.rate", "%lu ns in %lu", ns, want);
    check(ahead && last < 1ull << 32, "counter.wraps", "%lx", last);
    uint32_t low = mmio_read32(HPET_COUNTER), high = mmio_read32(HPET_COUNTER + 4);
    check(high == 0 && low >= (uint32_t)last, "counter.halves", "%x %x after %lx",
          (unsigned int)high, (unsigned int)low, last);
    mmio_write32(HPET_CONFIG, 0);
    last = read64(HPET_COUNTER);
    clock_spin_ns(NS_PER_MS);
    check(read64(HPET_COUNTER) == last, "counter.stopped", "%lx, then %lx", last,
          read64(HPET_COUNTER));
}

static void test_one_shot(void)
{
    stop(0);
    route(PIN, on_edge, 0);
    mmio_write32(HPET_CONFIG, ENABLE);
    mmio_write32(TIMER_CONFIG(2), INTERRUPT | ROUTE(PIN));
    uint64_t tsc = rdtsc(), when = read64(HPET_COUNTER) + ticks_of(PERIOD_NS);
    write64(TIMER_COMPARE(2), when);
    bool came = wait_for(1, PATIENCE_NS);
    uint64_t ns = clock_ns_of_ticks(times[0] - tsc);
    wait_for(2, QUIET_NS);
    check(came && near(ns, PERIOD_NS), "one-shot", "%u interrupts, %lu ns", count, ns);
    check(count == 1 && read64(TIMER_COMPARE(2)) == when && mmio_read32(HPET_STATUS) == 0,
          "one-shot.once", "%u interrupts, comparator %lx of %lx", count,
          read64(TIMER_COMPARE(2)), when);

    // What has passed does not come, unless the lower half comes round.
    count = 0;
    write64(TIMER_COMPARE(2), when - 1);
    wait_for(1, QUIET_NS);
    check(count == 0, "one-shot.past", "%u interrupts", count);
    stop(0xFFFFFFFF - ticks_of(NS_PER_MS));
    route(PIN, on_edge, 0);
    mmio_write32(TIMER_CONFIG(2), INTERRUPT | ROUTE(PIN) | ONLY_32);
    write64(TIMER_COMPARE(2), 0xABCD00001000);
    check(read64(TIMER_COMPARE(2)) == 0x1000, "one-shot.32-bit", "%lx", read64(TIMER_COMPARE(2)));
    mmio_write32(HPET_CONFIG, ENABLE);
    wait_for(1, PATIENCE_NS);
    check(count == 1 && read64(HPET_COUNTER) >= 0x100001000, "one-shot.wraps",
          "%u interrupts, counter %lx", count, read64(HPET_COUNTER));

    // With its interrupt disabled, or all of them.
    stop(0);
    route(PIN, on_edge, 0);
    mmio_write32(TIMER_CONFIG(2), ROUTE(PIN));
    write64(TIMER_COMPARE(2), 0x100);
    mmio_write32(HPET_CONFIG, ENABLE);
    wait_for(1, QUIET_NS);
    check(count == 0, "one-shot.disabled", "%u interrupts", count);
}

static void test_periodic(void)
{
    stop(0);
    route(PIN, on_edge, 0);
    periodic(0, ROUTE(PIN), ticks_of(PERIOD_NS));
    mmio_write32(HPET_CONFIG, ENABLE);
    bool came = wait_for(TICKS + 1, PATIENCE_NS);
    uint64_t ns = clock_ns_of_ticks(times[TICKS] - times[0]);
    check(came && near(ns, TICKS * PERIOD_NS), "periodic", "%u interrupts, %lu ns", count, ns);
    uint64_t next = read64(TIMER_COMPARE(0)), now = read64(HPET_COUNTER);
    check(next % ticks_of(PERIOD_NS) == 0 && next - now <= ticks_of(PERIOD_NS),
          "periodic.accumulator", "%lx at %lx", next, now);
    count = 0;
    for (unsigned int i = 0; i < TICKS; i++)
        cpu_wait_for_irq();
    check(count == TICKS, "periodic.hlt", "%u interrupts in %d sleeps", count, TICKS);

    // Another first one: the comparator, then the period. And another period while it runs.
    stop(0);
    route(PIN, on_edge, 0);
    mmio_write32(HPET_CONFIG, ENABLE);
    uint64_t first = read64(HPET_COUNTER) + ticks_of(3 * PERIOD_NS);
    periodic(1, ROUTE(PIN), first);
    write64(TIMER_COMPARE(1), ticks_of(PERIOD_NS));
    uint64_t set = read64(TIMER_COMPARE(1));
    wait_for(1, PATIENCE_NS);
    uint64_t second = read64(TIMER_COMPARE(1));
    check(set == first && (second - first) % ticks_of(PERIOD_NS) == 0, "periodic.set-value",
          "%lx, then %lx, for %lx", set, second, first);
    mmio_write32(HPET_CONFIG, 0);
    count = 0;
    wait_for(1, QUIET_NS);
    check(count == 0, "periodic.halted", "%u interrupts", count);
}

static void test_level(void)
{
    stop(0);
    route(PIN_LEVEL, on_level, IOAPIC_LEVEL);
    mmio_write32(TIMER_CONFIG(1), INTERRUPT | LEVEL | ROUTE(PIN_LEVEL));
    write64(TIMER_COMPARE(1), ticks_of(PERIOD_NS));
    mmio_write32(HPET_CONFIG, ENABLE);
    wait_for(LEVELS, PATIENCE_NS);
    wait_for(LEVELS + 1, QUIET_NS);
    check(count == LEVELS, "level", "%u interrupts, expected %d", count, LEVELS);
    check(status_inside == 2 && mmio_read32(HPET_STATUS) == 0, "level.status", "%x, then %x",
          (unsigned int)status_inside, (unsigned int)mmio_read32(HPET_STATUS));
    check((redirection_inside & IOAPIC_REMOTE_IRR) != 0, "level.remote-irr", "%x",
          (unsigned int)redirection_inside);
}

// At what rate IRQ `irq` comes, in interrupts in 100 ms.
static unsigned int rate_of(unsigned int irq)
{
    pic_init();
    pic_unmask(irq);
    cpu_irq_window();
    count = 0;
    wait_for(1000, 100 * NS_PER_MS);
    pic_mask(irq);
    return count;
}

// The PIT's 1000 Hz at IRQ 0 give way to the HPET's 200 Hz, and come back.
static void test_legacy(void)
{
    stop(0);
    trap_set_handler(VEC_PIC + IRQ_PIT, on_irq);
    trap_set_handler(VEC_PIC + IRQ_RTC, on_irq);
    pit_set(0, PIT_RATE, PIT_HZ / 1000);
    unsigned int before = rate_of(IRQ_PIT);
    periodic(0, 0, ticks_of(5 * NS_PER_MS));
    periodic(1, 0, ticks_of(4 * NS_PER_MS));
    mmio_write32(HPET_CONFIG, ENABLE | LEGACY);
    unsigned int timer = rate_of(IRQ_PIT), rtc = rate_of(IRQ_RTC);
    // Without both bits the timers have no pin.
    mmio_write32(HPET_CONFIG, ENABLE);
    unsigned int after = rate_of(IRQ_PIT), nobody = rate_of(IRQ_RTC);
    check(before > 50 && after > 50, "legacy.pit", "%u, then %u", before, after);
    check(timer >= 15 && timer <= 25, "legacy.irq-0", "%u interrupts in 100 ms", timer);
    check(rtc >= 19 && rtc <= 31, "legacy.irq-8", "%u interrupts in 100 ms", rtc);
    check(nobody == 0, "legacy.off", "%u interrupts", nobody);

    // IRQ 0 is the I/O APIC's pin 2.
    mmio_write32(HPET_CONFIG, ENABLE | LEGACY);
    route(GSI_PIT, on_edge, 0);
    count = 0;
    wait_for(1000, 100 * NS_PER_MS);
    ioapic_mask(GSI_PIT);
    check(count >= 15 && count <= 25, "legacy.pin-2", "%u interrupts in 100 ms", count);
    stop(0);
    pit_set(0, PIT_ONE_SHOT, 0);
}

int main(void)
{
    apic_enable(APIC_MODE_XAPIC);
    apic_write(APIC_LVT_LINT0, APIC_LVT_EXTINT);
    pic_init();
    test_identity();
    test_counter();
    test_one_shot();
    test_periodic();
    test_level();
    test_legacy();
    return check_done();
}
