// SPDX-License-Identifier: BSD-2-Clause
//
// Instructions by which a hypervisor works, and the calls to this one: refused, and what they name
// in memory is left alone.

#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/hypercall.h"
#include "guests/test-isolation/groups.h"
#include "guests/test-isolation/probe.h"

#define HYPERCALLS 0x2000u
#define REFUSED    (~0ul)

static uint64_t target[512] __attribute__((aligned(4096)));

// Runs one instruction, given by its bytes, with RAX at `target` and RCX, RBX, RDX zero.
#define ATTEMPT(bytes)                                                          \
    ({                                                                          \
        uint64_t a_ = (uintptr_t)target, b_ = 0, c_ = 0, d_ = 0;                \
        trap_expect();                                                          \
        __asm__ volatile(TRY(".byte " bytes)                                    \
                         : "+a"(a_), "+b"(b_), "+c"(c_), "+d"(d_)::"memory", "cc"); \
        look(b_);                                                               \
        look(c_);                                                               \
        look(d_);                                                               \
        trap_caught.vector;                                                     \
    })

void test_instructions(void)
{
    static struct tally tally;
    memset(target, 0, sizeof(target));
    const struct {
        const char *name;
        int vector, expected;
    } tries[] = {
        {"vmxon", ATTEMPT("0xF3, 0x0F, 0xC7, 0x30"), VEC_UD},
        {"vmptrld", ATTEMPT("0x0F, 0xC7, 0x30"), VEC_UD},
        {"vmptrst", ATTEMPT("0x0F, 0xC7, 0x38"), VEC_UD},
        {"vmclear", ATTEMPT("0x66, 0x0F, 0xC7, 0x30"), VEC_UD},
        {"vmread", ATTEMPT("0x0F, 0x78, 0xCB"), VEC_UD},
        {"vmwrite", ATTEMPT("0x0F, 0x79, 0xCB"), VEC_UD},
        {"vmlaunch", ATTEMPT("0x0F, 0x01, 0xC2"), VEC_UD},
        {"vmresume", ATTEMPT("0x0F, 0x01, 0xC3"), VEC_UD},
        {"vmxoff", ATTEMPT("0x0F, 0x01, 0xC4"), VEC_UD},
        {"vmfunc", ATTEMPT("0x0F, 0x01, 0xD4"), VEC_UD},
        {"invept", ATTEMPT("0x66, 0x0F, 0x38, 0x80, 0x08"), VEC_UD},
        {"invvpid", ATTEMPT("0x66, 0x0F, 0x38, 0x81, 0x08"), VEC_UD},
        {"getsec", ATTEMPT("0x0F, 0x37"), VEC_UD},
        {"rsm", ATTEMPT("0x0F, 0xAA"), VEC_UD},
        {"encls", ATTEMPT("0x0F, 0x01, 0xCF"), VEC_UD},
        {"monitor", ATTEMPT("0x0F, 0x01, 0xC8"), VEC_UD},
        {"mwait", ATTEMPT("0x0F, 0x01, 0xC9"), VEC_UD},
        {"vmrun", ATTEMPT("0x0F, 0x01, 0xD8"), VEC_UD},
        {"vmcall", ATTEMPT("0x0F, 0x01, 0xC1"), cpu_is_amd() ? VEC_UD : TRAP_NONE},
        {"vmmcall", ATTEMPT("0x0F, 0x01, 0xD9"), cpu_is_amd() ? TRAP_NONE : VEC_UD},
        {"vmload", ATTEMPT("0x0F, 0x01, 0xDA"), VEC_UD},
        {"xsaves", ATTEMPT("0x0F, 0xC7, 0x28"), VEC_UD},
        {"rdpmc", ATTEMPT("0x0F, 0x33"), VEC_GP},
    };
    for (unsigned int i = 0; i < sizeof(tries) / sizeof(tries[0]); i++)
        tally_add(&tally, tries[i].vector == tries[i].expected, "%s: vector %d", tries[i].name,
                  tries[i].vector);
    for (unsigned int i = 0; i < sizeof(target) / sizeof(target[0]); i++)
        tally_add(&tally, look(target[i]) == 0, "memory was written: %llx",
                  (unsigned long long)target[i]);
    tally_check(&tally, "instructions");
}

static void try_call(struct tally *tally, uint64_t number)
{
    uint64_t result = look(hypercall(number));
    bool known = number == HYPERCALL_NULL || number == HYPERCALL_YIELD;
    tally_add(tally, result == (known ? 0 : REFUSED), "call %llx: %llx",
              (unsigned long long)number, (unsigned long long)result);
}

void test_hypercalls(void)
{
    static struct tally tally;
    for (uint64_t number = 0; number < HYPERCALLS; number++)
        try_call(&tally, number);
    for (unsigned int bit = 13; bit < 64; bit++)
        try_call(&tally, 1ul << bit);
    try_call(&tally, ~0ul);
    tally_check(&tally, "hypercalls");
}
