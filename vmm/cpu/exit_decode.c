// SPDX-License-Identifier: BSD-2-Clause
//
// What some CPUs leave out of an exit, found in the instruction at RIP: its length, its register,
// and where it was that the guest's page tables led nowhere.
// Keeps no state but the cache of instructions; runs on the VMM's only thread.
#include "libc/kcall.h"
#include "vmm/cpu/exit.h"

bool exit_insn(struct vcpu *vcpu, const struct insn **insn, struct guest_fault *fault)
{
    const struct vm_exit *exit = &vcpu->page->exit;
    enum insn_status status;

    *insn = insn_again(&vcpu->vmm->insns, &vcpu->vmm->ram, exit);
    if (*insn != NULL)
        return true;
    status = insn_fetch(&vcpu->vmm->insns, &vcpu->vmm->ram, exit, insn, fault);
    // The CPU has found an instruction there, so the guest has written over it since.
    if (status == INSN_INVALID)
        *fault = (struct guest_fault){ .vector = VECTOR_UD };
    return status == INSN_OK;
}

int exit_decode(struct vcpu *vcpu)
{
    struct vm_entry *entry = &vcpu->page->entry;
    const struct insn *insn;
    struct guest_fault fault;

    if (!exit_insn(vcpu, &insn, &fault))
        return exit_fault(vcpu, &fault);
    entry->decoded.length = insn->length;
    entry->decoded.reg = insn->reg;
    entry->flags |= VM_ENTRY_DECODED;
    return VM_RUN_PAGE;
}

// Page tables where nothing is: all ones, so present, with reserved bits set. The guest gets the
// fault of the first access of its instruction whose walk ends there.
int exit_find_hole(struct vcpu *vcpu)
{
    enum { PRESENT = 1, USER = 4, RESERVED = 8 };
    const struct vm_exit *exit = &vcpu->page->exit;
    uint64_t gva[INSN_PLACES], gpa;
    struct guest_fault fault;
    const struct insn *insn;
    unsigned count;

    if (!exit_insn(vcpu, &insn, &fault))
        return exit_fault(vcpu, &fault);
    if (kcall_vcpu_sregs(vcpu->handle, 0) != OK)
        return exit_kill(vcpu, "its segments could not be read");
    count = insn_places(insn, vcpu->page, gva);
    for (unsigned i = 0; i < count; i++) {
        if (!walk(&vcpu->vmm->ram, exit, gva[i], WALK_READ, &gpa, &fault) && fault.error & RESERVED)
            return exit_fault(vcpu, &fault);
    }
    // Something that the instruction does without naming it, or the tables are other ones by now.
    fault = (struct guest_fault){ VECTOR_PF, true, PRESENT | RESERVED, gva[0] };
    if (exit->cpu.cpl == 3)
        fault.error |= USER;
    return exit_fault(vcpu, &fault);
}
