// SPDX-License-Identifier: BSD-2-Clause
//
// The window's page tables, hung into the second entry of the boot code's PML4 on first use. Upper
// levels allow all; the entry of the page decides.

#include "guests/lib/window.h"

#define PML4_INDEX (WINDOW_BASE >> 39)
#define TABLE      (PTE_P | PTE_W | PTE_U)

extern uint64_t boot_pml4[512];

static uint64_t pdpt[512] __attribute__((aligned(4096)));
static uint64_t pd[512] __attribute__((aligned(4096)));
static uint64_t pt[512] __attribute__((aligned(4096)));

uintptr_t window_map(unsigned int index, uint64_t entry)
{
    boot_pml4[PML4_INDEX] = (uintptr_t)pdpt | TABLE;
    pdpt[0] = (uintptr_t)pd | TABLE;
    pd[0] = (uintptr_t)pt | TABLE;
    pt[index] = entry;
    uintptr_t address = WINDOW_BASE + index * 4096ul;
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
    return address;
}

uint64_t window_entry(const void *page, uint64_t flags)
{
    return (uintptr_t)page | PTE_P | flags;
}
