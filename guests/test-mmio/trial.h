// SPDX-License-Identifier: BSD-2-Clause
//
// One instruction, executed on RAM by the processor and on device memory by whoever emulates it,
// from the same state: all that it leaves must be the same. The device memory is the test board's.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guests/lib/trap.h"

#define TRIAL_DEVICE 0xFF000000ul // of the test board; it keeps what is written

enum { TRIAL_BYTES = 40 };

struct trial_state {
    uint64_t rax, rcx, rdx, rbx, rflags;
    uint8_t vector[2][32]; // YMM1 and YMM3; of the x87's, ST0
    uint16_t x87_status, x87_control;
    uint32_t mxcsr;
};

typedef void trial_code(struct trial_state *state, uintptr_t at);

// CPUID leaf and register (EAX to EDX: 0 to 3) in which a bit must be set; leaf 0: none need be.
struct trial_need {
    uint32_t leaf;
    uint8_t reg, bit;
};

struct trial {
    const char *name;
    trial_code *code;
    uint32_t flags; // those that are defined
    struct trial_need need;
    const char *(*wrong)(void); // why this processor is no judge of it; or NULL
};

// True if there is device memory to try on; else the reason has been given.
bool trial_ready(void);

// Tries all of them, in different places, and says for each whether the outcomes are alike.
void trial_run(const struct trial *trials, unsigned int count);

// A function that executes `instruction`, with (%rsi) as its memory, which may fault; before it and
// behind it, also when it has, what may not.
#define TRIAL(name, before, instruction, after)                                        \
    static void name(struct trial_state *s, uintptr_t at)                              \
    {                                                                                  \
        __asm__ volatile("pushq %[f]\n popfq\n" before "\n" TRY(instruction) after     \
                         "\n pushfq\n popq %[f]"                                       \
                         : "+a"(s->rax), "+c"(s->rcx), "+d"(s->rdx), "+b"(s->rbx),     \
                           [f] "+r"(s->rflags)                                         \
                         : "S"(at)                                                     \
                         : "memory", "cc");                                            \
    }
