// SPDX-License-Identifier: BSD-2-Clause
// Ranges of host I/O ports, made at boot, and their grant to a process. Under kernel_lock.
#include "kernel/core/syscall.h"

SYSCALL_LOCKED_ON(ioports_grant, process, RIGHT_USE)
{
    enum status status;
    struct ioports *ports = HANDLE(caller_process(), a1, ioports, RIGHT_USE, &status);
    if (!ports)
        return status;
    if (process->ports)
        return ERR_STATE;
    process->ports = ports;
    arch_ports_granted(process);
    log_detach(true); // the only ports there are, are the log's
    return OK;
}
