// SPDX-License-Identifier: BSD-2-Clause
//
// Exits for which an instruction of the guest is emulated, and what any exit can come to. The run
// loop calls what is here; nothing here calls it.
// State is struct vcpu's and its VM's; runs on the vCPU's thread.
#pragma once

#include "vmm/vmm.h"

// What one exit came to: VM_RUN_* to enter the guest with, or one of these.
enum exit_result {
    EXIT_WAIT = -1, // a device cannot take it now: wait for the console, handle the same exit again
    EXIT_KILL = -2, // the VM ends; a record has been printed
};

// Prints why the VM ends, and all that there is to see of it: dump.c. Returns EXIT_KILL.
int exit_kill(struct vcpu *vcpu, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// MMIO, and port instructions on strings: exit_mmio.c and exit_string.c.
int exit_mmio(struct vcpu *vcpu, uint32_t word);
int exit_lapic_read(struct vcpu *vcpu);
int exit_pio_string(struct vcpu *vcpu, uint32_t word);

// "Limit Checking", "Type Checking", of which 64-bit mode has none: may `size` bytes at `offset` be
// read, or written?
bool segment_allows(const struct vm_segment *s, bool write, uint64_t offset, unsigned size);

// A task switch: task.c.
int exit_task(struct vcpu *vcpu);

// What the CPU has left out of an exit: exit_decode.c.
int exit_decode(struct vcpu *vcpu);
int exit_find_hole(struct vcpu *vcpu); // VM_EXIT_MMIO by the guest's page tables, with VM_MMIO_FIND

// The instruction that has made the exit. False: *fault is what the guest gets.
bool exit_insn(struct vcpu *vcpu, const struct insn **insn, struct guest_fault *fault);

// Raises a fault in the guest at its present instruction.
static inline int exit_fault(const struct vcpu *vcpu, const struct guest_fault *fault)
{
    struct vm_entry *entry = &vcpu->page->entry;

    entry->fault.vector = fault->vector;
    entry->fault.has_error = fault->has_error;
    entry->fault.error = fault->error;
    entry->fault.address = fault->address;
    entry->flags |= VM_ENTRY_FAULT;
    return VM_RUN_PAGE;
}

// The instruction is done, with what page->entry says of it.
static inline int exit_skip(const struct vcpu *vcpu, unsigned length)
{
    return (int)(length | (vcpu->page->entry.flags ? VM_RUN_PAGE : 0));
}
