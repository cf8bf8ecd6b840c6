// SPDX-License-Identifier: BSD-2-Clause
// Ranges of host I/O ports, made at boot, and their grant to a process. Under kernel_lock.
#include "kernel/core/syscall.h"

SYSCALL(ioports_grant)
{
    struct process *self = caller_process();
    enum status status;
    spin_lock(&kernel_lock);
    struct process *p = HANDLE(self, a0, OBJ_PROCESS, process, RIGHT_USE, &status);
    if (!p)
        return unlock_result(status);
    struct ioports *ports = HANDLE(self, a1, OBJ_IOPORTS, ioports, RIGHT_USE, &status);
    if (!ports)
        return unlock_result(status);
    status = arch_ports_grant(p, ports->first, ports->count);
    if (status == OK) {
        p->has_ports = 1;
        log_detach(); // the only ports there are, are the log's
    }
    return unlock_result(status);
}
