// SPDX-License-Identifier: BSD-2-Clause
// Which of several claims about the TSC's frequency to believe, and whether two cores' TSCs agree.
// Pure arithmetic, tested on the host (tests/unit/test_clock_choose.c).
#pragma once
#include "kernel/lib/types.h"

// In the order of trust. The first is measured.
enum { CLOCK_PM, CLOCK_CPUID_15, CLOCK_CPUID_16, CLOCK_SOURCES };

static inline bool clock_agree(uint64_t a, uint64_t b) // within 0.2%
{
    return a && b && (a > b ? a - b : b - a) <= a / 500;
}

// hz[source]: 0 where there is none, or it does not run. Leaf 15H is exact, so its figure is taken
// where the measurement agrees. Leaf 16H has a nominal figure, better than nothing. CLOCK_SOURCES:
// none.
static inline unsigned clock_choose(const uint64_t hz[CLOCK_SOURCES])
{
    unsigned first = clock_agree(hz[CLOCK_PM], hz[CLOCK_CPUID_15]) ? CLOCK_CPUID_15 : CLOCK_PM;
    while (first < CLOCK_SOURCES && !hz[first])
        first++;
    return first;
}

// What is known of (another core's TSC - ours): it lies in [low, high]. Start with all.
struct tsc_bounds { int64_t low, high; };
#define TSC_BOUNDS_ALL ((struct tsc_bounds){ INT64_MIN, INT64_MAX })

// We read `before`, then the other core read `there`, then we read `after`.
static inline void tsc_bounds_narrow(struct tsc_bounds *b, uint64_t before, uint64_t there,
                                     uint64_t after)
{
    int64_t low = (int64_t)(there - after), high = (int64_t)(there - before);
    b->low = low > b->low ? low : b->low;
    b->high = high < b->high ? high : b->high;
}

// By how many ticks it differs at least; 0: nothing speaks against the two being equal.
static inline int64_t tsc_apart(const struct tsc_bounds *b)
{
    return b->low > 0 ? b->low : b->high < 0 ? b->high : 0;
}
