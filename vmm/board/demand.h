// SPDX-License-Identifier: BSD-2-Clause
//
// RAM that gets into the VM's map page by page, when the guest first touches it: the text window,
// which most guests never do. The VMM itself has all RAM mapped, so nothing else changes.
// Owned by the VMM's only thread; no lock.
#pragma once

#include <stdbool.h>
#include "kernel/abi/syscall.h"
#include "libc/kcall.h"
#include "vmm/board/bus.h"
#include "vmm/board/memory.h"

// Beside the test board, for measurements: a doubleword; writing N takes page N of the window from
// the VM's map. What is in the page stays. Reads as all ones.
#define DEMAND_REGISTER 0xFED41000ULL

struct demand {
    handle_t vm;
    handle_t memory; // behind the first of the guest's RAM: an offset is an address
};

bool demand_register(struct demand *demand, struct bus *bus);

static inline bool demand_has(uint64_t gpa)
{
    return gpa - RAM_TEXT < RAM_TEXT_END - RAM_TEXT;
}

// Maps the page at `gpa`, which must be in the window. -> enum status
static inline int64_t demand_map(const struct demand *demand, uint64_t gpa)
{
    uint64_t page = gpa & ~(PAGE_SIZE - 1);

    return kcall_vm_map(demand->vm, demand->memory, page, PAGE_SIZE, page,
                        PROT_READ | PROT_WRITE | PROT_EXEC);
}
