// SPDX-License-Identifier: BSD-2-Clause
//
// A periodic task: sleeps by HLT, and at each deadline of the local APIC's TSC-deadline timer its
// handler notes how late it is: TSC minus deadline. The TSC is the host's.
// Options: period=US (1000), warm=N periods that are not counted (1000), count=N that are (5000).
// Prints a histogram, in ticks and in microseconds of the TSC's frequency, then powers off.

#include <stdint.h>
#include <stdio.h>

#include "guests/lib/apic.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/layout.h"
#include "guests/lib/options.h"
#include "guests/lib/power.h"
#include "guests/lib/timer.h"
#include "guests/lib/trap.h"

static const unsigned int edge_us[] = {2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000};
#define EDGES (sizeof(edge_us) / sizeof(edge_us[0]))

static uint64_t deadline, late; // written by the handler: late
static volatile uint64_t fired;

static void latency_interrupt(struct trap_frame *frame)
{
    (void)frame;
    late = rdtsc() - deadline;
    fired++;
    apic_eoi();
}

// Sleeps until the timer has fired once more. -> how late that was, in ticks
static uint64_t latency_next(uint64_t period)
{
    uint64_t before = fired;
    deadline += period;
    timer_arm(deadline);
    while (fired == before)
        cpu_wait_for_irq();
    return late;
}

int main(void)
{
    uint64_t period = clock_ticks_of_ns(option_number("period", 1000, 50, 1000000) * NS_PER_US);
    uint64_t warm = option_number("warm", 1000, 0, 1000000);
    uint64_t count = option_number("count", 5000, 1, 1000000);
    uint64_t histogram[EDGES + 1] = {0}, sum = 0, most = 0;

    timer_init();
    if (!timer_has_deadline())
        guest_die("there is no TSC-deadline timer");
    trap_set_handler(VEC_TIMER, latency_interrupt);
    printf("latency: %llu periods of %llu ticks\n", (unsigned long long)count,
           (unsigned long long)period);
    deadline = rdtsc() + period;
    for (uint64_t i = 0; i < warm; i++)
        latency_next(period);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t ticks = latency_next(period), us = clock_ns_of_ticks(ticks) / NS_PER_US;
        unsigned int at = 0;
        while (at < EDGES && us >= edge_us[at])
            at++;
        histogram[at]++;
        sum += ticks;
        most = ticks > most ? ticks : most;
    }
    for (unsigned int at = 0; at <= EDGES; at++)
        if (histogram[at] != 0)
            printf("latency %s %u us: %llu\n", at < EDGES ? "below" : "above",
                   edge_us[at < EDGES ? at : EDGES - 1], (unsigned long long)histogram[at]);
    printf("latency: mean %llu ticks, max %llu ticks, %llu ns\n", (unsigned long long)(sum / count),
           (unsigned long long)most, (unsigned long long)clock_ns_of_ticks(most));
    guest_poweroff(0);
}
