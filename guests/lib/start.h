// SPDX-License-Identifier: BSD-2-Clause
//
// The way from the entry code to main(), and what libc needs to know of the machine.

#pragma once

#include <stdint.h>

// Called by boot.S in 64-bit mode with interrupts off: what EAX (the loader's magic) and EBX (gpa
// of its information) held at the entry, and the TSC at the first instruction. Powers off when
// main() returns; a status other than 0 is reported as "GUEST-FAIL exit status N".
_Noreturn void guest_start(uint32_t magic, uint32_t information, uint64_t entry_tsc);

// The end of the RAM that the loader told of, as far as it is mapped (below 3 GB).
uintptr_t guest_ram_end(void);

// Gives [start, end) to sbrk().
void newlib_heap_init(uintptr_t start, uintptr_t end);
