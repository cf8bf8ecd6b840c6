// SPDX-License-Identifier: BSD-2-Clause
// What the portable kernel calls so often that it must be one instruction.
#pragma once
#include "kernel/core/cpu.h"

static inline struct cpu *this_cpu(void)
{
    struct cpu *c;
    __asm__("mov %%gs:%c1, %0" : "=r"(c) : "i"(offsetof(struct cpu, arch.self)));
    return c;
}
