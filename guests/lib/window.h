// SPDX-License-Identifier: BSD-2-Clause
//
// A window of eight 4 KB pages at linear addresses of its own, far from the identity map, for tests
// that need a page with chosen rights, a page that is absent, or neighbours that are none in
// physical memory.

#pragma once

#include <stdint.h>

#define WINDOW_BASE  (1ul << 39)
#define WINDOW_PAGES 8

// Page table entry bits.
#define PTE_P  (1ul << 0)
#define PTE_W  (1ul << 1)
#define PTE_U  (1ul << 2)
#define PTE_NX (1ul << 63)

// Sets page `index` (below WINDOW_PAGES) to a page table entry, 0 for absent, drops it from the TLB
// and returns its address.
uintptr_t window_map(unsigned int index, uint64_t entry);

// The entry that maps this page-aligned object, present, with these further bits.
uint64_t window_entry(const void *page, uint64_t flags);
