// SPDX-License-Identifier: BSD-2-Clause
// What the portable kernel calls so often that it must be an instruction or two.
#pragma once
#include "kernel/core/cpu.h"

static inline struct cpu *this_cpu(void)
{
    struct cpu *c;
    __asm__("mov %%gs:%c1, %0" : "=r"(c) : "i"(offsetof(struct cpu, arch.self)));
    return c;
}

// The same, for what reads a field or two: without taking its address first.
#define THIS_CPU ((const __seg_gs struct cpu *)0)

// What of its thread's vCPU is loaded is not to be used without a look any more.
static inline void arch_vcpu_detached(void) { this_cpu()->arch.ready = NULL; }

// May the one's registers be exchanged for the other's without a change of XCR0?
static inline bool arch_alike(const struct arch_vcpu *a, const struct arch_vcpu *b)
{
    return a->xcr0 == b->xcr0;
}

// `index`, which is less than `count`; also for a CPU that runs ahead of the check it is inside.
static inline uint64_t arch_index(uint64_t index, uint64_t count)
{
    uint64_t mask;
    __asm__ volatile("cmp %2, %1; sbb %0, %0" : "=r"(mask) : "r"(index), "er"(count) : "cc");
    return index & mask;
}
