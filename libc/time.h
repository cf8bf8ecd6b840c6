// SPDX-License-Identifier: BSD-2-Clause
// Host time of a ring-3 process: TSC ticks and nanoseconds. The host clock is the TSC in
// nanoseconds; it starts near the machine's power-on, never goes back and never stops.
#pragma once
#include <stdint.h>

// Fixed-point nanoseconds per tick, 16.48. Written once, by the start-up code, before main().
extern uint64_t time_ns_per_tick;

// tsc_hz: 1 MHz or more; called by the start-up code.
void time_init(uint64_t tsc_hz);

static inline uint64_t tsc_read(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline uint64_t tsc_to_ns(uint64_t tsc)
{
    return (uint64_t)(((unsigned __int128)tsc * time_ns_per_tick) >> 48);
}

// The first tick at which tsc_to_ns() gives `ns` or more: a deadline armed with it never fires
// early. UINT64_MAX when there is none.
uint64_t ns_to_tsc(uint64_t ns);

// UTC seconds since 1970 of an MC146818, years 1970 to 2069. rtc: seconds, minutes, hours, day,
// month, year, status B; as they are in there.
#define TIME_RTC_BYTES 7
uint64_t time_wall_seconds(const uint8_t *rtc);

static inline uint64_t time_host_ns(void)
{
    return tsc_to_ns(tsc_read());
}
