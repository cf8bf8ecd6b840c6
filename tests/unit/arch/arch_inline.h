// SPDX-License-Identifier: BSD-2-Clause
// See kernel/arch/x86/arch_inline.h; here it is the core that the test plays.
#pragma once
#include "kernel/core/cpu.h"

struct cpu *this_cpu(void);
static inline void arch_vcpu_detached(void) { this_cpu()->arch.ready = NULL; }
static inline bool arch_alike(const struct arch_vcpu *a, const struct arch_vcpu *b)
{
    return a && b;
}

extern uint64_t fake_indexed; // how often an index was kept inside of its table
static inline uint64_t arch_index(uint64_t index, uint64_t count)
{
    fake_indexed++;
    return index < count ? index : 0;
}
