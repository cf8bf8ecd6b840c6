// SPDX-License-Identifier: BSD-2-Clause
//
// What some CPUs leave out of an exit, found in the instruction at RIP: its length, its register,
// and where it was that the guest's page tables led nowhere.
// Keeps no state but the cache of instructions; runs on the VMM's only thread.
#include "libc/kcall.h"
#include "vmm/cpu/exit.h"

bool exit_insn(struct vmm *vmm, const struct insn **insn, struct guest_fault *fault)
{
    const struct vm_exit *exit = &vmm->page->exit;
    enum insn_status status;

    *insn = insn_again(&vmm->insns, &vmm->ram, exit);
    if (*insn != NULL)
        return true;
    status = insn_fetch(&vmm->insns, &vmm->ram, exit, insn, fault);
    // The CPU has found an instruction there, so the guest has written over it since.
    if (status == INSN_INVALID)
        *fault = (struct guest_fault){ .vector = VECTOR_UD };
    return status == INSN_OK;
}

int exit_decode(struct vmm *vmm)
{
    struct vm_entry *entry = &vmm->page->entry;
    const struct insn *insn;
    struct guest_fault fault;

    if (!exit_insn(vmm, &insn, &fault))
        return exit_fault(vmm, &fault);
    entry->decoded.length = insn->length;
    entry->decoded.reg = insn->reg;
    entry->flags |= VM_ENTRY_DECODED;
    return VM_RUN_PAGE;
}

// Page tables where nothing is: all ones, so present, with reserved bits set. The guest gets the
// fault of the first access of its instruction whose walk ends there.
int exit_find_hole(struct vmm *vmm)
{
    enum { PRESENT = 1, USER = 4, RESERVED = 8 };
    const struct vm_exit *exit = &vmm->page->exit;
    uint64_t gva[INSN_PLACES], gpa;
    struct guest_fault fault;
    const struct insn *insn;
    unsigned count;

    if (!exit_insn(vmm, &insn, &fault))
        return exit_fault(vmm, &fault);
    if (kcall_vcpu_sregs(vmm->host.vcpu, 0) != OK)
        return exit_kill(vmm, "its segments could not be read");
    count = insn_places(insn, vmm->page, gva);
    for (unsigned i = 0; i < count; i++) {
        if (!walk(&vmm->ram, exit, gva[i], WALK_READ, &gpa, &fault) && fault.error & RESERVED)
            return exit_fault(vmm, &fault);
    }
    // Something that the instruction does without naming it, or the tables are other ones by now.
    fault = (struct guest_fault){ VECTOR_PF, true, PRESENT | RESERVED, gva[0] };
    if (exit->cpu.cpl == 3)
        fault.error |= USER;
    return exit_fault(vmm, &fault);
}
