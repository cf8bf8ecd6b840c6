// SPDX-License-Identifier: BSD-2-Clause
// Frames that the kernel has no mapping of: each core has a page of the kernel's half to itself,
// where one is mapped while it zeroes or copies, with interrupts off, not longer. Only this core
// uses that address, and it leaves nothing of it in its TLB, so no other has to be told. (SDM,
// "Invalidation of TLBs and Paging-Structure Caches".)
#include "kernel/arch/x86/paging.h"
#include "kernel/arch/x86/x86.h"

_Static_assert(CPU_MAX <= 512, "one table");

static uint64_t *entries; // of the table that maps all cores' windows

void window_init(uint64_t *first_entry) { entries = first_entry; }

static char *window_open(uint32_t core, uint64_t hpa)
{
    entries[core] = align_down(hpa, PAGE_SIZE) | PTE_P | PTE_W | PTE_NX;
    __asm__ volatile("" : : : "memory");
    return (char *)(WINDOWS + core * PAGE_SIZE + hpa % PAGE_SIZE);
}

static void window_close(uint32_t core)
{
    __asm__ volatile("" : : : "memory");
    entries[core] = 0;
    invlpg(WINDOWS + core * PAGE_SIZE);
}

void arch_clear(struct hpa base, uint64_t bytes)
{
    uint32_t core = this_cpu()->id;
    for (uint64_t at = 0; at < bytes; at += PAGE_SIZE) {
        __builtin_memset(window_open(core, base.v + at), 0, PAGE_SIZE);
        window_close(core);
    }
}

static void copy(uint64_t hpa, char *kernel, uint64_t bytes, bool to_kernel)
{
    uint32_t core = this_cpu()->id;
    while (bytes) {
        uint64_t part = min_u64(bytes, PAGE_SIZE - hpa % PAGE_SIZE);
        char *window = window_open(core, hpa);
        __builtin_memcpy(to_kernel ? kernel : window, to_kernel ? window : kernel, part);
        window_close(core);
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
