// SPDX-License-Identifier: BSD-2-Clause
// See kernel/arch/x86/arch_inline.h; here it is the core that the test plays.
#pragma once
#include "kernel/core/cpu.h"

struct cpu *this_cpu(void);
static inline void arch_vcpu_detached(void) { this_cpu()->arch.ready = NULL; }
static inline uint64_t arch_index(uint64_t index, uint64_t count) { return index % count; }
