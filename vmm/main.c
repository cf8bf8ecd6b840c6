// SPDX-License-Identifier: BSD-2-Clause
//
// The VMM: the process that owns one VM. The manager has put what it needs into the start block;
// the exit status tells the manager how the VM ended (enum vmm_end). One thread, no lock.
#include <inttypes.h>
#include <stdio.h>
#include "libc/process.h"
#include "libc/time.h"
#include "vmm/vmm.h"

// Too large for the stack.
static struct vmm vmm;

int main(void)
{
    const struct start_block *start = start_block();
    int end = VMM_END_SETUP;

    if (start == NULL || start->role != START_VMM) {
        printf("vmm: not started by the manager\n");
        return end;
    }
    if (vmm_create(&vmm, start)) { // memory, vCPU, board, firmware tables, image
        uint64_t first_entry = tsc_read();
        end = vmm_run(&vmm.vcpu);  // until the guest ends
        if (start->vmm.debug)
            printf("first entry tsc=%" PRIu64 "\n", first_entry);
    }
    fflush(stdout);
    return end;
}
