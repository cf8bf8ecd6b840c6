// SPDX-License-Identifier: BSD-2-Clause
//
// Hypercalls of Bulkhead: VMCALL, or VMMCALL on AMD's CPUs, with the number in RAX, the result in
// RAX. Anywhere else it raises #UD; ask cpu_on_bulkhead() first.
//
// Each place with the instruction is in the table .hypercalls, and guest_start() makes it the
// CPU's: both are three bytes long, and differ in the last.

#pragma once

#define HYPERCALL_NULL  0 // does nothing, returns 0
#define HYPERCALL_YIELD 1 // lets another vCPU of the same priority run, returns 0

#ifdef __ASSEMBLER__
.macro HYPERCALL
9:  vmcall
    .pushsection .hypercalls, "a"
    .quad 9b
    .popsection
.endm
#else
#include <stdint.h>

#define HYPERCALL "9: vmcall\n .pushsection .hypercalls, \"a\"\n .quad 9b\n .popsection\n"

void hypercalls_init(void);

static inline uint64_t hypercall(uint64_t number)
{
    uint64_t result = number;
    __asm__ volatile(HYPERCALL : "+a"(result)::"memory");
    return result;
}
#endif
