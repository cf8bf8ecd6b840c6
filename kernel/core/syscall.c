// SPDX-License-Identifier: BSD-2-Clause
// The table of system calls. The entry code checks the number and calls through it.
#include "kernel/core/syscall.h"

syscall_fn *const syscall_table[SYSCALL_COUNT] = {
#define X(name, number) [number] = sys_##name,
    SYSCALLS(X)
#undef X
};
