// SPDX-License-Identifier: BSD-2-Clause
//
// The groups of assertions of test-cpu, and what they share. All of it runs in ring 0 of the
// guest's only processor, interrupts off unless a group turns them on for a moment.

#pragma once

#include <stdint.h>

#include "guests/lib/trap.h"
#include "guests/lib/window.h"

void test_cpuid(void);
void test_msrs(void);
void test_registers(void);
void test_segments(void);
void test_state(void);
void test_contexts(void);
void test_debug(void);
void test_traps(void);
void test_user(void);
void test_modes(void);
void test_tasks(void);
void test_corners(void);

// An unclaimed port: a write goes to the VMM and vanishes.
#define PORT_NOBODY 0xB80

// Asserts that the last TRY() ended with this vector (or TRAP_NONE).
void expect_vector(const char *name, int vector);

// CR writes that may fault: TRAP_NONE or the vector.
int try_cr0(uint64_t value);
int try_cr4(uint64_t value);
int try_xcr(uint32_t index, uint64_t value);

// XGETBV of XCR0.
uint64_t read_xcr0(void);
