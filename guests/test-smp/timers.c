// SPDX-License-Identifier: BSD-2-Clause
//
// The local APICs' timers: all at once, each with a period of its own, each interrupting its own
// processor.

#include <stddef.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/timer.h"
#include "guests/test-smp/groups.h"

#define VEC_OWN 0x90 // and the id
#define UNIT_NS NS_PER_MS
#define UNITS   12 // that all run for
#define PERIODS 4  // of 1 to 4 units

static volatile unsigned int begun;

static unsigned int period_units(unsigned int id)
{
    return id % PERIODS + 1;
}

static void run_timer(void *argument)
{
    (void)argument;
    unsigned int id = smp_id();
    uint64_t count = timer_hz() * period_units(id) * UNIT_NS / NS_PER_SECOND;
    apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, APIC_TIMER_PERIODIC | (VEC_OWN + id));
    meet(&begun, cpus, 1);
    apic_write(APIC_TIMER_INITIAL, (uint32_t)count);
    uint64_t end = rdtsc() + clock_ticks_of_ns(UNITS * UNIT_NS + UNIT_NS / 2);
    cpu_irq_enable();
    while (rdtsc() < end)
        cpu_pause();
    cpu_irq_disable();
    apic_write(APIC_TIMER_INITIAL, 0);
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
    cpu_irq_window();
}

// What comes due while others have the core comes as one (docs/virtual-pc.md, "Ticks"), and QEMU's
// own timers are late on a busy machine.
static bool is_right(unsigned int id)
{
    unsigned int expected = UNITS / period_units(id), count = taken[id][VEC_OWN + id];
    if (shared || cpu_on_tcg())
        return count >= 1 && count <= expected + 1;
    return count + 1 >= expected && count <= expected + 1;
}

void test_timers(void)
{
    for (unsigned int id = 0; id < cpus; id++)
        trap_set_handler((uint8_t)(VEC_OWN + id), on_ipi);
    taken_reset();
    begun = 0;
    crew_post(run_timer, NULL);
    run_timer(NULL);
    bool back = crew_wait();
    uint32_t wrong = 0, astray = 0;
    for (unsigned int id = 0; id < cpus; id++) {
        wrong |= is_right(id) ? 0 : 1u << id;
        for (unsigned int other = 0; other < cpus; other++)
            astray |= other != id && taken[id][VEC_OWN + other] != 0 ? 1u << id : 0;
    }
    check(back && wrong == 0, named("timers"), "back %d, wrong %x; counts %u %u", back,
          (unsigned int)wrong, taken[0][VEC_OWN], taken[1][VEC_OWN + 1]);
    check(astray == 0, named("timers-own"), "another's came to %x", (unsigned int)astray);
}
