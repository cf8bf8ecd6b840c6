// SPDX-License-Identifier: BSD-2-Clause
//
// The local APIC timer as a one-shot alarm on TSC time, and sleep by HLT on top of it.

#pragma once

#include <stdbool.h>
#include <stdint.h>

// Enables the APIC (x2APIC if there is one, unless the APIC is in use already) and takes VEC_TIMER.
// The calls below do it when nobody has.
void timer_init(void);

// Frequency of the APIC timer at divide by 1, in Hz.
uint64_t timer_hz(void);

// True if deadlines go through IA32_TSC_DEADLINE.
bool timer_has_deadline(void);

// Interrupts at or a little after this TSC value (never before it in TSC-deadline mode).
void timer_arm(uint64_t deadline_tsc);
void timer_disarm(void);

// Sleeps by HLT with interrupts on; returns with them as they were.
void sleep_until_tsc(uint64_t deadline_tsc);
void sleep_ns(uint64_t ns);
