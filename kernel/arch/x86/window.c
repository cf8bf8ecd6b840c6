// SPDX-License-Identifier: BSD-2-Clause
// Frames that the kernel has no mapping of: each core has a few pages of the kernel's half to
// itself, where they are mapped while it zeroes or copies, with interrupts off, not longer. Only
// this core uses these addresses, and it leaves nothing of them in its TLB, so no other has to be
// told. (SDM, "Invalidation of TLBs and Paging-Structure Caches".)
#include "kernel/arch/x86/paging.h"
#include "kernel/arch/x86/x86.h"

#define WINDOW_PAGES 8u
_Static_assert(CPU_MAX * WINDOW_PAGES <= 512, "one table");

static uint64_t *entries; // of the table that maps all cores' windows

void window_init(uint64_t *first_entry) { entries = first_entry; }

static char *window_open(uint64_t hpa, unsigned pages)
{
    unsigned first = this_cpu()->id * WINDOW_PAGES;
    for (unsigned i = 0; i < pages; i++)
        entries[first + i] = (align_down(hpa, PAGE_SIZE) + i * PAGE_SIZE) | PTE_P | PTE_W | PTE_NX;
    __asm__ volatile("" : : : "memory");
    return (char *)(WINDOWS + first * PAGE_SIZE + hpa % PAGE_SIZE);
}

static void window_close(unsigned pages)
{
    unsigned first = this_cpu()->id * WINDOW_PAGES;
    __asm__ volatile("" : : : "memory");
    for (unsigned i = 0; i < pages; i++) {
        entries[first + i] = 0;
        invlpg(WINDOWS + (first + i) * PAGE_SIZE);
    }
}

void arch_clear(struct hpa base, uint64_t bytes)
{
    for (uint64_t at = 0; at < bytes; at += WINDOW_PAGES * PAGE_SIZE) {
        unsigned pages = (unsigned)min_u64((bytes - at) / PAGE_SIZE, WINDOW_PAGES);
        __builtin_memset(window_open(base.v + at, pages), 0, pages * PAGE_SIZE);
        window_close(pages);
    }
}

static void copy(uint64_t hpa, char *kernel, uint64_t bytes, bool to_kernel)
{
    while (bytes) {
        uint64_t part = min_u64(bytes, PAGE_SIZE - hpa % PAGE_SIZE);
        char *window = window_open(hpa, 1);
        __builtin_memcpy(to_kernel ? kernel : window, to_kernel ? window : kernel, part);
        window_close(1);
        hpa += part;
        kernel += part;
        bytes -= part;
    }
}

void arch_read(void *to, struct hpa from, uint64_t bytes) { copy(from.v, to, bytes, true); }

void arch_write(struct hpa to, const void *from, uint64_t bytes)
{
    copy(to.v, (char *)(uintptr_t)from, bytes, false);
}
