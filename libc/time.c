// SPDX-License-Identifier: BSD-2-Clause
// The scale between TSC ticks and nanoseconds; constant once main() runs.
#include "libc/time.h"

uint64_t time_ns_per_tick;

void time_init(uint64_t tsc_hz)
{
    time_ns_per_tick = (uint64_t)(((unsigned __int128)1000000000 << 48) / tsc_hz);
}

uint64_t ns_to_tsc(uint64_t ns)
{
    // The quotient has to fit 64 bits.
    if (ns >> 16 >= time_ns_per_tick) {
        return UINT64_MAX;
    }
    unsigned __int128 scaled = (unsigned __int128)ns << 48;
    return (uint64_t)((scaled + time_ns_per_tick - 1) / time_ns_per_tick);
}
