// SPDX-License-Identifier: BSD-2-Clause
//
// The groups of assertions of test-apic, and what they share. The main groups run once in xAPIC
// mode and once in x2APIC mode. All of it runs on one processor, interrupts off but for windows.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guests/lib/apic.h"
#include "guests/lib/trap.h"

void test_transitions(void);
void test_basic(enum apic_mode mode);
void test_interrupts(void);
void test_timers(void);
void test_board(void);
void test_lint(void);
void test_no_apic(void); // in mode "disabled"

// The name of an assertion with the mode in front; valid until the next call.
const char *named(const char *name);

// What the common handler has seen since record_reset().
#define RECORD_MAX 64
struct record {
    uint8_t vector[RECORD_MAX];
    uint64_t tsc[RECORD_MAX];
    unsigned int count;
};
extern struct record record;
void record_reset(void);

// Handler: notes vector and time, and ends the interrupt.
void on_interrupt(struct trap_frame *frame);
// The same without EOI.
void record_add(const struct trap_frame *frame);

// Waits until `count` interrupts are on record, or `ns` are over: clock_wait_count().
bool wait_for(unsigned int count, uint64_t ns);

// How far a timer may be late, in ns: QEMU lives on a busy machine's clock.
uint64_t lateness(void);

// Puts the APIC into a quiet state: TPR 0, timer stopped, LVTs masked, ESR clear.
void apic_quiet(void);
