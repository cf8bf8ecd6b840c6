// SPDX-License-Identifier: BSD-2-Clause
//
// The VMM: the process that owns one VM. The manager has put what it needs into the start block;
// the exit status tells the manager how the VM ended (enum vmm_end). Threads: vmm.h.
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include "libc/process.h"
#include "libc/time.h"
#include "vmm/vmm.h"

// Too large for the stack.
static struct vmm vmm;

// The lock stays taken: nobody does anything more.
static __attribute__((noreturn)) void end_locked(int end)
{
    fflush(stdout);
    _exit(end);
}

void process_thread(unsigned index)
{
    const struct start_block *start = (const struct start_block *)START_VA;

    vmm_create_vcpu(&vmm, start, index - 1);
    end_locked(vmm_run_locked(&vmm.vcpu[index - 1]));
}

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
        if (vmm.vcpus > 1)
            end_locked(vmm_run_board(&vmm));
        end = vmm_run(&vmm);         // until the guest ends
        if (start->vmm.debug)
            printf("first entry tsc=%" PRIu64 "\n", first_entry);
    }
    fflush(stdout);
    return end;
}
