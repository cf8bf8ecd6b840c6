// SPDX-License-Identifier: BSD-2-Clause
//
// The last exits of one vCPU that have reached the VMM: why it has left its guest, with a number or
// two, and when. Written on each exit, so it takes as few instructions as can be.
// Owned by the vCPU's thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "kernel/abi/vcpu.h"

#define EXIT_RING 16u

struct exit_record {
    uint32_t kind, word; // enum vm_exit_kind, 0 if there has been none yet; VM_PIO_*, VM_MMIO_*
    uint32_t tsc_low, tsc_high; // as RDTSC gives them
};

// What an exit says beside the word. Which numbers these are depends on the kind, see
// exit_ring_tell(); those of MMIO are told with the exit, as gpa and RIP.
struct exit_more {
    uint64_t a, b;
};

struct exit_ring {
    struct exit_record record[EXIT_RING];
    struct exit_more more[EXIT_RING];
    uint8_t next; // where the next one goes, in bytes from either array's start: the oldest
};
_Static_assert(EXIT_RING * sizeof(struct exit_record) == 256 &&
               EXIT_RING * sizeof(struct exit_more) == 256, "`next` wraps by itself");

// By one addition for all that belongs to the exit.
static inline struct exit_ring *exit_ring_at(struct exit_ring *ring, uint8_t at)
{
    void *shifted = (uint8_t *)ring + at;

    return shifted;
}

static inline struct exit_record *exit_ring_record(struct exit_ring *ring, uint8_t at)
{
    return exit_ring_at(ring, at)->record;
}

static inline struct exit_more *exit_ring_more(struct exit_ring *ring, uint8_t at)
{
    return exit_ring_at(ring, at)->more;
}

// Of the exit that was put last.
static inline uint8_t exit_ring_last(const struct exit_ring *ring)
{
    return (uint8_t)(ring->next - sizeof(struct exit_record));
}

static inline uint32_t exit_ring_kind(const struct exit_ring *ring) // of the last one
{
    return ring->record[exit_ring_last(ring) / sizeof(struct exit_record)].kind;
}

// Puts the next one. here: from vcpu_exits_next()
static inline __attribute__((always_inline)) void exit_ring_put(struct exit_ring *ring,
                                                                struct exit_ring *here,
                                                                uint32_t kind, uint32_t word)
{
    uint32_t low, high;

    here->record[0].kind = kind;
    here->record[0].word = word;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    here->record[0].tsc_low = low;
    here->record[0].tsc_high = high;
    ring->next += sizeof(struct exit_record);
}

// Adds what `page` says of the last exit.
void exit_ring_tell(struct exit_ring *ring, const struct vcpu_page *page);

// The exit in words, with its numbers in hexadecimal, of at most EXIT_WORDS characters. i: 0 is the
// oldest of EXIT_RING. `now`: the TSC. False: there has been none.
#define EXIT_WORDS 36
bool exit_ring_words(const struct exit_ring *ring, unsigned i, uint64_t now,
                     char text[EXIT_WORDS + 1]);
// How long ago, of `ns`: in four characters.
void exit_ring_age(uint64_t ns, char text[8]);
