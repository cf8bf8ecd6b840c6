// SPDX-License-Identifier: BSD-2-Clause
//
// The groups of assertions of test-smp, and what they share. Those about interrupts run once in
// xAPIC mode and once in x2APIC mode. The boot processor directs; the others, the crew, do what
// they are given (guests/lib/smp.h), and only it calls check().

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guests/lib/apic.h"
#include "guests/lib/smp.h"
#include "guests/lib/trap.h"

void test_start(void);
void test_modes(void);
void test_ipi(void);
void test_order(void);
void test_storm(void);
void test_halt(void);
void test_board(void);
void test_tsc(void);
void test_tlb(void);
void test_spin(void);
void test_local(void);
void test_timers(void);

// Processors, with the ids 0 to cpus - 1; how often what is repeated is repeated; whether the
// machine's processors share a core of its host's (option `shared`).
extern unsigned int cpus, rounds;
extern bool shared;
// Whether NMIs can be judged. Bochs 2.7 (its bug 1456) leaves the virtual NMIs of a core blocked
// when it enters another vCPU than the one in whose handler it was.
extern bool nmis;
#define NO_NMIS "Bochs keeps a core's NMIs blocked for its next vCPU"

// The name of an assertion with the mode in front; valid until the next call.
const char *named(const char *name);

// A bit for each processor; for the crew.
uint32_t all_mask(void);
uint32_t crew_mask(void);

// (Re)starts the crew, whatever it was doing. False, and a failed assertion: not all came.
bool crew_start(void);
// Gives the whole crew a function; waits until all have done it; both.
void crew_post(smp_function *function, void *argument);
bool crew_wait(void);
void crew_call(smp_function *function, void *argument);

// What each has taken of each vector, since taken_reset(); written by on_ipi(), on each its own.
extern volatile unsigned int taken[SMP_MAX][256];
void taken_reset(void);
// Handler: counts, and ends the interrupt (NMI has no end).
void on_ipi(struct trap_frame *frame);
// Who has taken a vector once. Bit 31: one has more than once.
uint32_t takers(uint8_t vector);

// The crew takes interrupts from listen_all() on until mute_all().
void listen_all(void);
void mute_all(void);
// While they listen, lets interrupts in here too until those of `expected` have taken the vector,
// and then a while longer; returns takers().
uint32_t takers_when(uint8_t vector, uint32_t expected);

// Waits with PAUSE until a count is at least that, or a second is over. False: it is not.
bool reaches(const volatile unsigned int *count, unsigned int wanted);

// A rendezvous: returns when `members` have come here this often. False: it took too long.
bool meet(volatile unsigned int *count, unsigned int members, unsigned int times);

// Long enough for whatever is under way to have come to all. Those that share a core have had their
// turns, for who spins with PAUSE gives way at once. Where Bochs runs Bulkhead it takes up to a
// millisecond until one with interrupts off hears of anything: there the host's interrupts do not
// reach it, and the safety timer does.
void settle(void);

// Waits with PAUSE until the word is that, or a second is over.
bool wait_word(const volatile unsigned int *word, unsigned int value);
