// SPDX-License-Identifier: BSD-2-Clause
// VMs and vCPUs as the portable kernel sees them; how a guest is run is behind struct hvm_ops.
//
// A vCPU's registers and its hardware state are touched only on the core of its thread. Others
// raise bits in `work` (atomic) and kick: the bits are looked at before every entry.
#pragma once
#include "kernel/abi/stats.h"
#include "kernel/abi/vcpu.h"
#include "kernel/core/thread.h"

struct vm {
    struct object object;
    struct space space;        // guest-physical; shared page tables of all its vCPUs
    bool catch_up;             // missed periods of its local APICs' timers come later
    bool smp;                  // its vCPUs' spin loops give way to each other
    uint8_t vcpus_end;         // above the highest id of those that it ever had
    // By the ids of their local APICs, until their memory is freed: then NULL. Written under
    // kernel_lock, read by anyone.
    struct ref vcpu[VM_VCPUS];
};

// vcpu->work. The arch clears a bit before it looks at what the bit stands for; bits that are left
// keep vcpu_halt() from blocking.
#define VCPU_WORK_PENDING 1u  // pending_level has new vectors
#define VCPU_WORK_EVENT   2u  // return to the VMM: its event has bits, or it is being destroyed
#define VCPU_WORK_INTR    4u  // the INTR line has risen
#define VCPU_WORK_TIMER   8u  // its local APIC's timer fired
#define VCPU_WORK_POSTED  16u // `posted` was set; the CPU may have seen to it meanwhile
#define VCPU_WORK_NMI     64u // an NMI for the guest
#define VCPU_WORK_INIT    128u // an INIT, and
#define VCPU_WORK_SIPI    256u // a start-up IPI, with the vector `sipi`

struct vcpu {
    // Atomic: vectors asked for from elsewhere, edge-triggered ones, which some CPUs take by
    // themselves while they run its guest ("Posted-Interrupt Processing"): whoever sets `posted`
    // kicks, whoever clears it takes the vectors afterwards.
    _Alignas(64) uint64_t pending_edge[4];
    uint64_t posted, reserved[3];
    struct arch_vcpu arch;      // assembly uses its offsets
    struct object object;
    struct vm *vm;
    uint32_t work;              // atomic, VCPU_WORK_*
    // Likewise those that are level-triggered, or below 16, which is an error. Each request is one
    // bit in one word, so that its trigger mode cannot become another's. Taken on its core.
    uint64_t pending_level[4];
    uint8_t core;               // atomic: written on it, as the vCPU leaves it
    uint8_t intr_line;          // atomic, INTR_*
#define INTR_HIGH 1u
#define INTR_ROSE 2u            // and its core has not looked since
    uint8_t sipi;               // atomic
    struct thread *thread;      // inside vcpu_run(), or (its mode says so) back by the short way
    struct vcpu_page *page;     // kernel's mapping of the shared page
    struct memory *page_memory; // pinned
    struct ref event;
    struct timer apic_timer;
    struct list all;            // in vcpus, from its creation to its end; kernel_lock
    uint64_t halt_since, halt_tsc;
    struct thread *home;        // with which it goes; NULL: dead; kernel_lock
    struct list in_thread;      // home->vcpus
    uint64_t run_before;        // what its contexts ran, less what home->sc did; kernel_lock
    uint64_t injected;
};

extern struct list vcpus; // all there are, in the order of their creation; kernel_lock

// Any core. Raises bits and makes the vCPU look at them soon: wakes it from HLT, or sends an IPI.
void vcpu_raise(struct vcpu *v, uint32_t work);
// Any core: a fixed interrupt for the vCPU's local APIC. True: it met one that its core has yet to
// take.
bool vcpu_post(struct vcpu *v, uint8_t vector, bool level);
// On its core, from the arch: the guest halts. Blocks the thread unless there is work; never
// returns.
NORETURN void vcpu_halt(struct vcpu *v);
// On its core: leaves the guest, vcpu_run() returns to the VMM: kind is an enum vm_exit_kind, and
// the rest is in page->exit and `word`.
NORETURN void vcpu_return(struct vcpu *v, int64_t kind, uint64_t word);
// On its core, when VCPU_WORK_EVENT is seen: clears it and takes the bits of its event, for
// VM_EXIT_EVENT.
uint64_t vcpu_take_event(struct vcpu *v);
// On its core: its thread was woken from vcpu_halt().
void vcpu_woken(struct vcpu *v, uint64_t now);
bool vcpu_stop(struct vcpu *v); // on its core, it is destroyed; false: its guest runs yet
void vcpu_go_with(struct vcpu *v, struct thread *t); // from now on; NULL: nobody. kernel_lock held
// On its core: its thread leaves vcpu_run(), or dies in it or after it.
void vcpu_detach(struct vcpu *v);
