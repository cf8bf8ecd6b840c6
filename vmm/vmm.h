// SPDX-License-Identifier: BSD-2-Clause
//
// One VM: its memory, its board, its vCPUs. There is one struct vmm in the process.
//
// A VM with one vCPU has one thread. One with more has a thread for each, on that vCPU's core, and
// its first thread is the board's: timers and console. What is not a vCPU's own is the holder's of
// `lock` then.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "kernel/abi/vcpu.h"
#include "libc/start.h"
#include "vmm/board/demand.h"
#include "vmm/board/machine.h"
#include "vmm/board/memory.h"
#include "vmm/cpu/dump.h"
#include "vmm/cpu/exit_ring.h"
#include "vmm/cpu/insn.h"
#include "vmm/cpu/msr.h"
#include "vmm/host.h"
#include "vmm/lock.h"
#include "vmm/ram.h"

// Where things are in this process. The heap is far below (libc/process.h).
#define CONSOLE_VA   0x080000000000ull
#define VCPU_PAGE_VA 0x090000000000ull // one after the other
#define TESTDEV_RAM_VA 0x090000100000ull // 64 KB
#define GUEST_RAM_VA 0x100000000000ull // gpa 0
#define IMAGE_VA     0x200000000000ull
#define INITRD_VA    0x210000000000ull
#define MODULES_VA   0x220000000000ull // module i at this + i * MODULE_STRIDE
#define MODULE_STRIDE (1ull << 32)

struct vmm;

// One processor of the guest. Its thread's alone.
struct vcpu {
    struct vcpu_page *page; // shared with the kernel; ours between two calls of vcpu_run()
    struct vmm *vmm;
    handle_t handle;
    unsigned id; // of its local APIC
    uint32_t signature; // CPUID leaf 1 EAX
    bool waits; // for a start-up IPI
    struct msrs msrs;
    struct exit_ring exits;
    // A read of the local APIC by an instruction, while the kernel fetches the value.
    struct {
        bool pending;
        uint16_t offset;
        struct insn insn;
    } lapic;
};

struct vmm {
    struct vcpu vcpu[VM_VCPUS];
    unsigned vcpus;
    unsigned ready, made, failed; // while they are made, how many threads are; atomic
    uint32_t halted; // a bit for each vCPU in HLT with interrupts off, or before its start-up IPI
    struct lock lock;
    struct host host;
    struct guest_ram ram;
    struct ram_source source; // of that
    struct demand demand;
    struct machine machine;
    struct insn_cache insns;
    bool paused; // by the manager: no vCPU enters its guest
    bool panic_ends; // a panic of the guest is the VM's end
    uint32_t panics_said; // a bit for each enum power_event of that kind that has been told
    unsigned complaints; // lines about instructions that it does not emulate
    struct dump dump;
};

#define VMM_THREAD_BOARD VM_VCPUS // of the lock; vCPU i's is i

// Where the lock is not free: a vCPU's view is given meanwhile, if that is asked for; and while the
// VM is paused no vCPU gets it here.
void vmm_lock_slow(struct vmm *vmm, unsigned thread);

// The ring, as if its next record were the first. What is added comes before what is constant: the
// compiler would fetch the sum of two addresses from memory on each exit.
static inline struct exit_ring *vcpu_exits_next(struct vcpu *vcpu)
{
    void *shifted = (uint8_t *)vcpu + vcpu->exits.next;

    return &((struct vcpu *)shifted)->exits;
}

static inline void vmm_lock(struct vmm *vmm, unsigned thread)
{
    if (!lock_try(&vmm->lock))
        vmm_lock_slow(vmm, thread);
    vmm->host.self = vmm->lock.event[thread];
    vmm->host.self_bit = 1u << thread;
}

// Runs the only vCPU until the VM ends; -> enum vmm_end, with its status if there is one
int vmm_run(struct vmm *vmm);
// The same for one of several; -> with the lock taken
int vmm_run_locked(struct vcpu *vcpu);
// What their VMM's first thread does meanwhile. -> likewise
int vmm_run_board(struct vmm *vmm);

// Handles the exit of this kind, with its word and vcpu->page. Never blocks but for printing.
// -> VM_RUN_* to enter the guest with, or enum exit_result
int exit_handle(struct vcpu *vcpu, int64_t kind, uint64_t word);

// Acts on bits of the VMM's event.
void exit_events(struct vmm *vmm, uint64_t bits);

// Makes memory, VM, vCPUs and board, and loads the image. False: a message has been printed.
bool vmm_create(struct vmm *vmm, const struct start_block *start);
// On its own thread, of several: makes that vCPU when vmm_create() says so, and returns when it is
// to run.
void vmm_create_vcpu(struct vmm *vmm, const struct start_block *start, unsigned id);
