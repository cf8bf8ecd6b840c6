// SPDX-License-Identifier: BSD-2-Clause
//
// Hypercalls of Bulkhead: VMCALL with the number in RAX, the result in RAX. Anywhere else VMCALL
// raises #UD; ask cpu_on_bulkhead() first.

#pragma once

#define HYPERCALL_NULL  0 // does nothing, returns 0
#define HYPERCALL_YIELD 1 // lets another vCPU of the same priority run, returns 0

#ifndef __ASSEMBLER__
#include <stdint.h>

static inline uint64_t hypercall(uint64_t number)
{
    uint64_t result = number;
    __asm__ volatile("vmcall" : "+a"(result)::"memory");
    return result;
}
#endif
