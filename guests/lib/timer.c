// SPDX-License-Identifier: BSD-2-Clause
//
// Sleep on the local APIC timer. State: the timer's frequency and kind, written by timer_init().
// Runs on the guest's only processor; the interrupt handler only ends the interrupt.

#include "guests/lib/timer.h"

#include "guests/lib/apic.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/trap.h"

#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)
#define CALIBRATION_NS           (10 * NS_PER_MS)
#define COUNT_MAX                0xFFFFFFFFu

static bool ready;
static bool deadline_mode;
static uint64_t frequency;

static void timer_interrupt(struct trap_frame *frame)
{
    (void)frame;
    apic_eoi();
}

static uint64_t measure_frequency(void)
{
    apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED | VEC_TIMER);
    uint64_t start = rdtsc();
    apic_write(APIC_TIMER_INITIAL, COUNT_MAX);
    clock_spin_ns(CALIBRATION_NS);
    uint64_t counted = COUNT_MAX - apic_read(APIC_TIMER_COUNT);
    uint64_t ns = clock_ns_of_ticks(rdtsc() - start);
    apic_write(APIC_TIMER_INITIAL, 0);
    return counted * NS_PER_SECOND / ns;
}

void timer_init(void)
{
    bool enabled = apic_mode() == APIC_MODE_X2APIC;
    if (!enabled)
        apic_enable(apic_has_x2apic() ? APIC_MODE_X2APIC : APIC_MODE_XAPIC);
    trap_set_handler(VEC_TIMER, timer_interrupt);
    deadline_mode = cpuid(1, 0).ecx & CPUID_1_ECX_TSC_DEADLINE;
    frequency = clock_crystal_hz();
    if (frequency == 0)
        frequency = measure_frequency();
    apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER,
               VEC_TIMER | (deadline_mode ? APIC_TIMER_DEADLINE : APIC_TIMER_ONE_SHOT));
    // In xAPIC mode the LVT is written by a memory access, which the WRMSR of a deadline may pass.
    __asm__ volatile("mfence" ::: "memory");
    ready = true;
}

uint64_t timer_hz(void)
{
    if (!ready)
        timer_init();
    return frequency;
}

bool timer_has_deadline(void)
{
    return cpuid(1, 0).ecx & CPUID_1_ECX_TSC_DEADLINE;
}

void timer_arm(uint64_t deadline_tsc)
{
    if (!ready)
        timer_init();
    if (deadline_mode) {
        wrmsr(MSR_TSC_DEADLINE, deadline_tsc);
        return;
    }
    uint64_t now = rdtsc();
    uint64_t ticks = deadline_tsc > now ? deadline_tsc - now : 1;
    uint64_t count = (uint64_t)((unsigned __int128)ticks * frequency / clock_tsc_hz()) + 1;
    apic_write(APIC_TIMER_INITIAL, count > COUNT_MAX ? COUNT_MAX : (uint32_t)count);
}

void timer_disarm(void)
{
    if (!ready)
        return;
    if (deadline_mode)
        wrmsr(MSR_TSC_DEADLINE, 0);
    else
        apic_write(APIC_TIMER_INITIAL, 0);
}

void sleep_until_tsc(uint64_t deadline_tsc)
{
    bool irqs_on = read_flags() & RFLAGS_IF;
    cpu_irq_disable();
    while (rdtsc() < deadline_tsc) {
        timer_arm(deadline_tsc);
        cpu_wait_for_irq();
    }
    timer_disarm();
    if (irqs_on)
        cpu_irq_enable();
}

void sleep_ns(uint64_t ns)
{
    sleep_until_tsc(rdtsc() + clock_ticks_of_ns(ns));
}
