// SPDX-License-Identifier: BSD-2-Clause
//
// Time of a guest: the TSC and its frequency. On Bulkhead the frequency is what CPUID 15h says; on
// other machines, where that leaf may lie, the TSC is measured against the PIT.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#define NS_PER_SECOND 1000000000ull
#define NS_PER_MS     1000000ull
#define NS_PER_US     1000ull

// Finds the frequency. `entry_tsc` is the zero of clock_uptime_ns(). Takes 50 ms where the TSC has
// to be measured.
void clock_init(uint64_t entry_tsc);

// Frequency of the TSC in Hz.
uint64_t clock_tsc_hz(void);

// Frequency of the crystal that feeds the APIC timer in Hz, 0 when CPUID does not tell.
uint64_t clock_crystal_hz(void);

// TSC of the guest's first instruction.
uint64_t clock_entry_tsc(void);

// Nanoseconds since the guest's first instruction.
uint64_t clock_uptime_ns(void);

// Lengths of time in nanoseconds and in TSC ticks, rounded down.
uint64_t clock_ns_of_ticks(uint64_t ticks);
uint64_t clock_ticks_of_ns(uint64_t ns);

// Runs in a loop, without HLT, for this long.
void clock_spin_ns(uint64_t ns);

// Waits until a handler has counted to `wanted`, or `ns` are over, with interrupts off but for
// short windows, and by the TSC alone: a lost interrupt of a timer under test is found too. True:
// `wanted` is reached.
bool clock_wait_count(const volatile unsigned int *count, unsigned int wanted, uint64_t ns);
