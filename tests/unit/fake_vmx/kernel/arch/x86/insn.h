// SPDX-License-Identifier: BSD-2-Clause
// In place of kernel/arch/x86/insn.h, which it includes: debug registers that a test may touch.
#pragma once
#define read_dr6  cpu_read_dr6
#define write_dr6 cpu_write_dr6
#include "../../../../../../kernel/arch/x86/insn.h"
#undef read_dr6
#undef write_dr6

extern uint64_t fake_dr6;
static inline uint64_t read_dr6(void) { return fake_dr6; }
static inline void write_dr6(uint64_t v) { fake_dr6 = v; }
