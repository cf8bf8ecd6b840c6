// SPDX-License-Identifier: BSD-2-Clause
// The manager's main(); apart from main.c so that host tests can run manager_run() themselves.
#include <stddef.h>
#include "libc/kcall.h"
#include "libc/process.h"
#include "vmm/manager/manager.h"

int main(int argc, char **argv)
{
    static struct manager manager;
    (void)argc;
    (void)argv;
    if (boot_block() == NULL) {
        return 1;
    }
    uint32_t status = manager_run(&manager, boot_block());
    kcall_system_off(BOOT_HANDLE_SYSTEM, status);
    return (int)status;
}
