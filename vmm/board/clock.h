// SPDX-License-Identifier: BSD-2-Clause
//
// Time for devices: the host clock in nanoseconds, and a list of timers of which only the earliest
// is armed in the kernel.
//
// Owned by the VMM's only thread; no lock. Nothing here waits: the VMM calls clock_run() when the
// kernel's timer has fired. A timer that is late fires once, however many periods have passed; its
// owner computes the next deadline from `now`. (What it makes of the periods: dev/ticks.h.)
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_NEVER UINT64_MAX
#define NS_PER_SEC  1000000000ULL

struct clock_ops {
    // Host time in ns since an arbitrary origin; never runs backwards.
    uint64_t (*now_ns)(void *ctx);
    // Make the kernel call back at `deadline_ns` (CLOCK_NEVER: not at all). Replaces the previous
    // deadline. One that has passed already must call back at once.
    void (*arm)(void *ctx, uint64_t deadline_ns);
};

struct vtimer;

struct vtimer_ops {
    // The deadline has passed and the timer is off the list; the owner may arm it again.
    void (*fire)(void *ctx, uint64_t now_ns);
};

struct vtimer {
    const struct vtimer_ops *ops;
    void *ctx;
    uint64_t deadline_ns; // CLOCK_NEVER when not on the list
    struct vtimer *next;
};

struct clock {
    const struct clock_ops *ops;
    void *ctx;
    struct vtimer *head; // sorted by deadline
    uint64_t armed_ns;   // what the kernel has been told
    bool running;        // inside clock_run(): arm the kernel once, at its end
};

void clock_init(struct clock *clock, const struct clock_ops *ops, void *ctx);

static inline uint64_t clock_now(const struct clock *clock)
{
    return clock->ops->now_ns(clock->ctx);
}

// Fire every timer whose deadline is not after `now_ns`, in order, and arm the next one.
void clock_run(struct clock *clock, uint64_t now_ns);

void vtimer_init(struct vtimer *timer, const struct vtimer_ops *ops, void *ctx);

// Put the timer on the list for `deadline_ns`, or move it. CLOCK_NEVER cancels.
void vtimer_arm(struct clock *clock, struct vtimer *timer, uint64_t deadline_ns);
void vtimer_cancel(struct clock *clock, struct vtimer *timer);

// ticks = ns * hz / 10^9, and back (rounded up, so that the tick has certainly come by then),
// without overflow for hz below 2^32 and results below 2^64.
static inline uint64_t clock_ns_to_ticks(uint64_t ns, uint64_t hz)
{
    return ns / NS_PER_SEC * hz + ns % NS_PER_SEC * hz / NS_PER_SEC;
}

static inline uint64_t clock_ticks_to_ns(uint64_t ticks, uint64_t hz)
{
    return ticks / hz * NS_PER_SEC + (ticks % hz * NS_PER_SEC + hz - 1) / hz;
}
