// SPDX-License-Identifier: BSD-2-Clause
// The table of system calls. The entry code calls through it.
#include "kernel/core/syscall.h"

static struct syscall_result sys_unknown(ARGUMENTS) { return result(ERR_CALL); }

syscall_fn *const syscall_table[SYSCALL_SLOTS] = {
#define X(name, number) [number] = sys_##name,
    SYSCALLS(X)
#undef X
    [SYSCALL_COUNT ... SYSCALL_SLOTS - 1] = sys_unknown,
};
