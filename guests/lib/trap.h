// SPDX-License-Identifier: BSD-2-Clause
//
// Exceptions and interrupts of a guest: the IDT, handlers in C, raw handlers in assembly, and
// instructions that are allowed to fault.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guests/lib/layout.h"

#define VEC_DE  0
#define VEC_DB  1
#define VEC_NMI 2
#define VEC_BP  3
#define VEC_OF  4
#define VEC_UD  6
#define VEC_NM  7
#define VEC_DF  8
#define VEC_TS  10
#define VEC_NP  11
#define VEC_SS  12
#define VEC_GP  13
#define VEC_PF  14
#define VEC_MF  16
#define VEC_AC  17
#define VEC_XM  19

// No exception: what trap_caught.vector holds when nothing faulted.
#define TRAP_NONE (-1)

// The interrupted registers, in the order in which trap.S and the processor push them. A handler
// may change them; they are loaded on return.
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

_Static_assert(sizeof(struct trap_frame) == TRAP_FRAME_SIZE, "trap.S moves the frame as a block");

typedef void trap_handler(struct trap_frame *frame);

// The last exception of an instruction under TRY(). One for all processors: of several, one at a
// time may use TRY().
struct trap_caught {
    int vector; // 0..31, or TRAP_NONE
    uint64_t error;
    uint64_t rip;
    uint64_t cr2; // only with #PF
};

extern struct trap_caught trap_caught;

// Assembly text of one instruction that may fault. A fault is recorded in trap_caught and
// execution goes on behind the instruction. Call trap_expect() first.
#define TRY(instruction)           \
    "771: " instruction "\n772:\n" \
    ".pushsection .extable, \"a\"\n.quad 771b, 772b\n.popsection\n"

static inline void trap_expect(void)
{
    trap_caught.vector = TRAP_NONE;
    __asm__ volatile("" ::: "memory");
}

// The TSS of 64-bit mode.
struct tss64 {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map_base;
} __attribute__((packed));

_Static_assert(sizeof(struct tss64) == 104, "TSS of 64-bit mode");

// What another processor than the boot processor has of its own to take traps. Frames are moved to
// the interrupted stack, so these are small; the handlers of ring 3's traps run on the first one.
struct trap_ap {
    uint64_t gdt[GDT_ENTRIES];
    struct tss64 tss;
    uint8_t traps[AP_STACK_SIZE] __attribute__((aligned(16)));
    uint8_t fatal[AP_STACK_SIZE] __attribute__((aligned(16)));
};

// Builds the IDT and the TSS and loads them. Interrupts stay off.
void trap_init(void);

// The same on another processor, with a GDT and a TSS of its own. IDT and handlers are everybody's.
void trap_init_ap(struct trap_ap *ap);

// Gives a vector (0..255) to a C handler; it runs with interrupts off on the interrupted stack and
// comes before TRY(). NULL restores the default, which ends the guest with a message.
void trap_set_handler(uint8_t vector, trap_handler *handler);

// The way of TRY(), for a handler that does not want this fault: true if the instruction was under
// TRY(); the fault is recorded and RIP is behind it.
bool trap_fix_up(struct trap_frame *frame);

// Does a step that leaves interrupts pending while they are off, and does it again, a few times at
// most, if one came then nevertheless. No hypervisor can bring that about, for VM entry refuses it;
// but Bochs delivers a pending virtual interrupt when an interrupt of the host comes, whatever IF
// is, and then the step says nothing. No other interrupt than the step's may come meanwhile. False:
// one came each time.
bool trap_undisturbed(void (*step)(void));

// Points a gate straight at assembly code, with no register saved and no change of stack: the code
// must end in IRETQ, and must not interrupt code that keeps data in the red zone.
void trap_set_raw(uint8_t vector, const void *code);

// Lets ring 3 raise this vector with INT n.
void trap_allow_user(uint8_t vector);

// RDMSR and WRMSR that may fault: TRAP_NONE, or the vector raised. *value is 0 after a fault.
int rdmsr_safe(uint32_t msr, uint64_t *value);
int wrmsr_safe(uint32_t msr, uint64_t value);

// Stack on which trap handlers enter; its top is also what ring 3 is interrupted onto.
extern uint8_t trap_stack[TRAP_STACK_SIZE];
