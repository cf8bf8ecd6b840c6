// SPDX-License-Identifier: BSD-2-Clause
//
// Test guest: the local APIC in both modes, its timer, and the I/O APIC's way to it.

#include "guests/test-apic/groups.h"

#include <stdio.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/timer.h"

struct record record;

static const char *mode_name = "";

const char *named(const char *name)
{
    static char text[64];
    snprintf(text, sizeof(text), "%s.%s", mode_name, name);
    return text;
}

void record_reset(void)
{
    record.count = 0;
}

void record_add(const struct trap_frame *frame)
{
    if (record.count < RECORD_MAX) {
        record.vector[record.count] = (uint8_t)frame->vector;
        record.tsc[record.count] = rdtsc();
        record.count++;
    }
}

void on_interrupt(struct trap_frame *frame)
{
    record_add(frame);
    apic_eoi();
}

bool wait_for(unsigned int count, uint64_t ns)
{
    return clock_wait_count(&record.count, count, ns);
}

uint64_t lateness(void)
{
    return cpu_by_tcg() ? 50 * NS_PER_MS : NS_PER_MS;
}

void apic_quiet(void)
{
    apic_write(APIC_SVR, APIC_SVR_ENABLE | VEC_SPURIOUS);
    apic_write(APIC_TPR, 0);
    apic_write(APIC_TIMER_INITIAL, 0);
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED | VEC_TIMER);
    apic_write(APIC_LVT_LINT0, APIC_LVT_MASKED | APIC_LVT_EXTINT);
    apic_write(APIC_ESR, 0);
}

static void test_mode(enum apic_mode mode, const char *name)
{
    mode_name = name;
    apic_enable(mode);
    apic_quiet();
    test_basic(mode);
    test_interrupts();
    test_timers();
    test_board();
    test_lint();
    apic_quiet();
}

int main(void)
{
    timer_hz(); // measured once, in the mode that the library likes best
    bool both_ways = cpu_on_bulkhead();
    if (both_ways)
        test_transitions();
    else
        check_skip("transitions", "only Bulkhead lets the APIC be enabled again");
    if (both_ways || !apic_has_x2apic())
        test_mode(APIC_MODE_XAPIC, "xapic");
    if (apic_has_x2apic())
        test_mode(APIC_MODE_X2APIC, "x2apic");
    else
        check_skip("x2apic", "not in CPUID");
    return check_done();
}
