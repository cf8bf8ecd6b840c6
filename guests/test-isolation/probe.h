// SPDX-License-Identifier: BSD-2-Clause
//
// Single accesses that may fault, each looked at for a neighbour's data; and what a group of many
// accesses has to say at its end.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guests/lib/trap.h"

#define PAGE_SIZE 4096ul

// Addresses of this board, as docs/virtual-pc.md and docs/memory-map.md have them.
#define IOAPIC_PAGE  0xFEC00000ul
#define HPET_PAGE    0xFED00000ul
#define LAPIC_PAGE   0xFEE00000ul
#define NOWHERE      0xFED80000ul

// What all accesses of a group came to: how many, and of those that went wrong how many, and which
// was the first.
struct tally {
    uint64_t done, wrong;
    char first[96];
};

// Counts one access. If it is not ok, the format and its arguments say what was seen.
void tally_add(struct tally *tally, bool ok, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// One assertion: nothing was wrong, and something was done.
void tally_check(const struct tally *tally, const char *name);

// Every value that comes from outside goes through here. Returns it.
uint64_t look(uint64_t value);

// One assertion: so far no value, and none of the registers now, showed a neighbour's pattern.
void look_check(const char *name);

// The parts of the address space below 4 GB that are neither RAM nor device of this VM, in order,
// HOLES of them.
#define HOLES 6
struct hole {
    uint64_t start, end;
};
void board_holes(struct hole holes[HOLES]);

// Reads and writes of 64 bits. The vector raised, or TRAP_NONE.
int probe_read(uintptr_t address, uint64_t *value);
int probe_write(uintptr_t address, uint64_t value);

// Jumps there. The vector raised; trap_caught has the error code, RIP and CR2.
int probe_execute(uintptr_t address);

// Numbers that look random, the same in each run.
uint64_t random_of(uint64_t index);
