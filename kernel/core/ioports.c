// SPDX-License-Identifier: BSD-2-Clause
// Host I/O ports, and their grant to a process. Under kernel_lock.
#include "kernel/core/syscall.h"

// The caller's own ports may change: if threads of it run elsewhere, there from their next call on.
// Those of another process are the console's, the only driver there is.
SYSCALL_LOCKED_ON(ioports_grant, process, RIGHT_USE)
{
    enum status status;
    bool own = process == caller_process();
    if (!HANDLE(caller_process(), a1, ioports, RIGHT_USE, &status))
        return status;
    if (a2 >= IOPORTS_ALL || a3 > UINT16_MAX || a2 + a3 > IOPORTS_ALL)
        return ERR_RANGE;
    if (process->port_count && !own)
        return ERR_STATE;
    process->port_first = (uint16_t)a2;
    process->port_count = (uint16_t)a3;
    arch_ports_granted(process);
    if (!own && a3) {
        arch_log_at(process->port_first);
        log_taken(process);
    }
    return OK;
}
