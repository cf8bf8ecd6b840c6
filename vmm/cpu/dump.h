// SPDX-License-Identifier: BSD-2-Clause
//
// The screen that a VM shows of itself: when it dies, and when the manager asks for it.
//
// Each thread takes the view of its own vCPU, without the VMM's lock. Who wants them sets bits of
// `asked`, signals VMM_BIT_ASK to each, which makes it leave its guest, and is told by
// VMM_BIT_ANSWER. The other fields are the lock holder's.
#pragma once

#include <stdint.h>
#include "kernel/abi/syscall.h"
#include "vmm/cpu/view.h"

struct vmm;
struct vcpu;

struct dump {
    uint32_t asked;   // a bit for each vCPU whose view is awaited; atomic
    uint32_t full;    // a bit for each that the manager wants to see in full
    handle_t asker;   // the event of who waits; written before `asked`
    struct view view[VM_VCPUS]; // each its vCPU's thread's, while its bit is in `asked`
};

// The VM ends: why, the vCPU's screen, and a line of each other one. They leave their guests for
// it, and stay out. Once; with the lock, which is not to be released.
void dump_death(struct vcpu *vcpu, const char *why);

// Likewise, where no vCPU has died: the first one's screen. The only thread, or the board's.
void dump_hang(struct vmm *vmm, const char *why);

// The manager's event has bits of VMM_BITS_DUMP, which say of which vCPUs it wants a screen. The
// only thread, or the board's with the lock.
void dump_request(struct vmm *vmm, uint64_t bits);
// VMM_BIT_ANSWER, on the board's thread with the lock.
void dump_answered(struct vmm *vmm);

// On a vCPU's thread, out of its guest, with or without the lock: gives its view, if that is
// asked for.
void dump_answer(struct vmm *vmm, unsigned id);
