// SPDX-License-Identifier: BSD-2-Clause
//
// One VM: its memory, its board, its vCPU. There is one struct vmm in the process, and one thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "kernel/abi/vcpu.h"
#include "libc/start.h"
#include "vmm/demand.h"
#include "vmm/host.h"
#include "vmm/insn.h"
#include "vmm/machine.h"
#include "vmm/memory.h"
#include "vmm/msr.h"
#include "vmm/ram.h"

// Where things are in this process. The heap is far below (libc/process.h).
#define CONSOLE_VA   0x080000000000ull
#define VCPU_PAGE_VA 0x090000000000ull
#define GUEST_RAM_VA 0x100000000000ull // gpa 0
#define IMAGE_VA     0x200000000000ull
#define INITRD_VA    0x210000000000ull
#define MODULES_VA   0x220000000000ull // module i at this + i * MODULE_STRIDE
#define MODULE_STRIDE (1ull << 32)

struct vmm {
    struct vcpu_page *page; // shared with the kernel; ours between two calls of vcpu_run()
    struct host host;
    struct guest_ram ram;
    struct ram_source source; // of that
    struct demand demand;
    struct machine machine;
    struct msrs msrs;
    struct insn_cache insns;
    // A read of the local APIC by an instruction, while the kernel fetches the value.
    struct {
        bool pending;
        uint16_t offset;
        struct insn insn;
    } lapic;
};

// What one exit came to: VM_RUN_* to enter the guest with, or one of these.
enum exit_result {
    EXIT_WAIT = -1, // a device cannot take it now: wait for the console, handle the same exit again
    EXIT_KILL = -2, // the VM ends; a record has been printed
};

// Handles the exit of this kind, with its word and vmm->page. Never blocks but for printing.
int exit_handle(struct vmm *vmm, int64_t kind, uint64_t word);

// Acts on bits of the VMM's event.
void exit_events(struct vmm *vmm, uint64_t bits);

// Prints why the VM ends, and its registers. Returns EXIT_KILL.
int exit_kill(struct vmm *vmm, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// MMIO, and port instructions on strings: exit_mmio.c and exit_string.c.
int exit_mmio(struct vmm *vmm, uint64_t word);
int exit_lapic_read(struct vmm *vmm);
int exit_pio_string(struct vmm *vmm, uint64_t word);

// What the CPU has left out of an exit: exit_decode.c.
int exit_decode(struct vmm *vmm);
int exit_find_hole(struct vmm *vmm); // VM_EXIT_MMIO by the guest's page tables, with VM_MMIO_FIND

// The instruction that has made the exit. False: *fault is what the guest gets.
bool exit_insn(struct vmm *vmm, const struct insn **insn, struct guest_fault *fault);

// Raises a fault in the guest at its present instruction.
int exit_fault(struct vmm *vmm, const struct guest_fault *fault);

// The instruction is done, with what page->entry says of it.
static inline int exit_skip(const struct vmm *vmm, unsigned length)
{
    return (int)(length | (vmm->page->entry.flags ? VM_RUN_PAGE : 0));
}

// Runs the VM until it ends; -> enum vmm_end
enum vmm_end vmm_run(struct vmm *vmm);

// Makes memory, VM, vCPU and board, and loads the image. False: a message has been printed.
bool vmm_create(struct vmm *vmm, const struct start_block *start);
