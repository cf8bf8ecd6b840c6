// SPDX-License-Identifier: BSD-2-Clause
//
// The last step of the bare loader.
#pragma once

#include "vmm/load/load.h"

// Prints "bare: entry tsc=" and the TSC, 16 hexadecimal digits, and enters the 64-bit state. The
// digits fit into the UART's FIFO, so nothing is waited for behind the RDTSC.
_Noreturn void bare_enter(const struct load_state *state);
