// SPDX-License-Identifier: BSD-2-Clause
// The usable ranges of RAM while the boot core makes them out: sorted, apart from each other, whole
// pages. Nothing else runs yet. Pure: also compiled for the host (tests/unit/test_memmap.c).
#pragma once
#include "kernel/lib/types.h"

// Firmware gives up to hundreds of ranges, of which most touch each other; each module can split
// one.
#define MEMMAP_RANGES 512

struct ram_range { uint64_t base, end; };

struct memmap {
    struct ram_range range[MEMMAP_RANGES];
    uint32_t count;
    uint64_t top;  // end of the highest range that was ever added
    uint64_t lost; // bytes of ranges that found no room in the table: the smallest ones
};

void memmap_add(struct memmap *m, uint64_t base, uint64_t end); // inwards to whole pages
bool memmap_has(const struct memmap *m, uint64_t base, uint64_t end); // any of it
void memmap_cut(struct memmap *m, uint64_t base, uint64_t end); // outwards to whole pages
// The highest page that lies in [from, to) as a whole; 0: none.
uint64_t memmap_last_page(const struct memmap *m, uint64_t from, uint64_t to);
// Takes a table with `entry` bytes for each page below `top`, out of a range
// that begins below `mapped` and as far as it lies below it: the first that is large enough, or
// else the largest, and then fewer pages than there are get an entry. Returns how many; *base:
// where. 0: there is no range.
uint64_t memmap_take_table(struct memmap *m, uint64_t entry, uint64_t mapped, uint64_t *base);
