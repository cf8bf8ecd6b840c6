// SPDX-License-Identifier: BSD-2-Clause
//
// The judge of emulated instructions is the CPU that the test runs on: each instruction is executed
// by it on a buffer, and by the emulation, with random operands; memory, registers and flags must
// agree, and so must whether there is a divide error.
#pragma once

#include "insn_code.h"

#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/cpu/insn.h"

// Loads registers and flags from *rdi, executes 16 bytes of instruction, stores them again.
__asm__(".text\n"
        "oracle_start:\n"
        "push %rbx\n push %r12\n mov %rdi, %r12\n"
        "mov 0(%r12), %rax\n mov 8(%r12), %rcx\n mov 16(%r12), %rdx\n mov 24(%r12), %rbx\n"
        "mov 40(%r12), %rsi\n push 32(%r12)\n popfq\n"
        "oracle_insn:\n .fill 16, 1, 0x90\n"
        "pushfq\n popq 32(%r12)\n"
        "mov %rax, 0(%r12)\n mov %rcx, 8(%r12)\n mov %rdx, 16(%r12)\n mov %rbx, 24(%r12)\n"
        "pop %r12\n pop %rbx\n ret\n"
        "oracle_end:\n");
extern const uint8_t oracle_start[], oracle_insn[], oracle_end[];

struct oracle {
    uint64_t gpr[4]; // RAX RCX RDX RBX
    uint64_t rflags;
    void *memory;    // RSI: every instruction below has [rsi] as its memory operand
};

// What the CPU needs for it; 0: nothing.
enum oracle_need { MOVBE = 1, BMI1, BMI2, ADX, LZCNT, POPCNT, SSE42 };

struct oracle_insn {
    const char *name;
    unsigned flags; // those that are defined
    uint8_t bytes[15];
    uint8_t length, need;
};
#define I(name, flags, ...) { name, flags, { __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }), 0 }
#define N(need, name, flags, ...)                                                                  \
    { name, flags, { __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }), need }

static inline bool oracle_can(unsigned need)
{
    unsigned a, b1, c1 = 0, d, b7 = 0, c7, ce = 0;

    __get_cpuid(1, &a, &b1, &c1, &d);
    __get_cpuid_count(7, 0, &a, &b7, &c7, &d);
    __get_cpuid(0x80000001, &a, &b1, &ce, &d);
    switch (need) {
    case MOVBE: return c1 & bit_MOVBE;
    case BMI1: return b7 & bit_BMI;
    case BMI2: return b7 & bit_BMI2;
    case ADX: return b7 & bit_ADX;
    case LZCNT: return ce & bit_LZCNT;
    case POPCNT: return c1 & bit_POPCNT;
    case SSE42: return c1 & bit_SSE4_2;
    default: return true;
    }
}

static uint8_t *executable;

static sigjmp_buf divide_error;

static void divided(int number)
{
    siglongjmp(divide_error, number);
}

static int oracle_setup(void **state)
{
    (void)state;
    executable = executable_copy(oracle_start, oracle_end);
    if (executable == NULL)
        return -1;
    srandom(1);
    return 0;
}

static uint64_t random64(void)
{
    uint64_t value = (uint64_t)random() << 42 ^ (uint64_t)random() << 21 ^ (uint64_t)random();

    // Small and extreme numbers more often than chance would have them.
    switch (random() % 4) {
    case 0:
        return value & 3;
    case 1:
        return (value & 1 ? 0x7FFFFFFF7FFF7F7Full : 0x8000000080008080ull);
    default:
        return value;
    }
}

// One round of one instruction: by the CPU, by us. -> whether it was a divide error
static inline bool compare_once(const struct oracle_insn *i, const struct insn *insn)
{
    struct vcpu_page page = { 0 };
    struct insn_result result;
    struct oracle cpu;
    uint64_t memory[2], mask;
    bool error;

    memory[0] = memory[1] = random64();
    for (unsigned r = 0; r < 4; r++)
        cpu.gpr[r] = page.gpr[r] = random() % 3 ? random64() : memory[0];
    cpu.rflags = page.exit.rflags = 2 | ((uint64_t)random() & ALL);
    cpu.memory = &memory[0];

    executable_insn(executable + (oracle_insn - oracle_start), i->bytes, i->length);
    error = sigsetjmp(divide_error, 1);
    if (!error)
        ((void (*)(struct oracle *))(void *)executable)(&cpu);

    insn_compute(insn, &page, memory[1], &result);
    if (result.divide_error != error)
        fail_msg("%s: #DE %d, should be %d", i->name, result.divide_error, error);
    if (error)
        return true;
    mask = insn->size == 8 ? ~0ull : (1ull << (insn->size * 8)) - 1;
    if (result.write)
        memory[1] = (memory[1] & ~mask) | (result.value & mask);
    insn_commit(insn, &page, &result);

    if (memory[0] != memory[1])
        fail_msg("%s: memory %lx, should be %lx", i->name, memory[1], memory[0]);
    for (unsigned r = 0; r < 4; r++) {
        if (page.gpr[r] != cpu.gpr[r])
            fail_msg("%s: register %u is %lx, should be %lx", i->name, r, page.gpr[r], cpu.gpr[r]);
    }
    uint64_t rflags = page.entry.flags & VM_ENTRY_RFLAGS ? page.entry.rflags : page.exit.rflags;
    if ((rflags ^ cpu.rflags) & i->flags)
        fail_msg("%s: flags %lx, should be %lx", i->name, rflags, cpu.rflags);
    return false;
}

// -> how many of the rounds were divide errors
static inline unsigned oracle_compare(const struct oracle_insn *i, unsigned rounds)
{
    struct insn_code code;
    struct insn insn;
    unsigned errors = 0;

    if (!oracle_can(i->need))
        return 0;
    make_code(&code, i->bytes, i->length);
    if (!insn_decode(&code, 8, &insn))
        fail_msg("%s: not decoded", i->name);
    if (!insn_is_simple(&insn))
        fail_msg("%s: op %u", i->name, insn.op);
    if (insn.length != i->length)
        fail_msg("%s: length %u", i->name, insn.length);
    signal(SIGFPE, divided); // in place of cmocka's
    for (unsigned round = 0; round < rounds; round++)
        errors += compare_once(i, &insn);
    return errors;
}
