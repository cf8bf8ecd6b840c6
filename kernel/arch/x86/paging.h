// SPDX-License-Identifier: BSD-2-Clause
// Page-table entries, for the files that write them.
#pragma once
#include "kernel/lib/types.h"

#define PTE_P   1ull
#define PTE_W   2ull
#define PTE_U   4ull
#define PTE_PWT (1ull << 3)
#define PTE_PCD (1ull << 4)
#define PTE_PS  (1ull << 7)
#define PTE_G   (1ull << 8)
#define PTE_NX  (1ull << 63)
#define PTE_ADDRESS 0x000ffffffffff000ull

void window_init(uint64_t *first_entry); // window.c
