// SPDX-License-Identifier: BSD-2-Clause
// The instruction of a system call, and nothing else: typed calls are in kcall.h. Each is in the
// program's table (calls.h), for CPUs that have a faster one. Host tests put another file of this
// name in front (tests/unit/fake/libc/trap.h) and so replace the kernel.
//
// By the number of arguments, so that the hot calls load no register in vain. Registers that the
// kernel may change are outputs or clobbers, the vector registers among them.
#pragma once
#include <stdint.h>

#ifdef __SSE__
#define TRAP_VECTORS                                                                               \
    , "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",     \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#else
#define TRAP_VECTORS
#endif
#define TRAP_CLOBBERS                                                                              \
    "rbx", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory" TRAP_VECTORS
#define TRAP_INSN                                                                                  \
    "2: int $9; .pushsection call_sites, \"a\"; .balign 8; .quad 2b; .popsection; "
#define TRAP "mov %%rsp, %%r12; lea 1f(%%rip), %%rbx; " TRAP_INSN "1:"

static inline int64_t trap0(uint64_t number)
{
    int64_t result;
    __asm__ volatile(TRAP
                     : "=a"(result)
                     : "0"(number)
                     : "rdi", "rsi", "rdx", "rcx", "r8", "r9", TRAP_CLOBBERS);
    return result;
}

static inline int64_t trap1(uint64_t number, uint64_t a)
{
    int64_t result;
    __asm__ volatile(TRAP
                     : "=a"(result), "+D"(a)
                     : "0"(number)
                     : "rsi", "rdx", "rcx", "r8", "r9", TRAP_CLOBBERS);
    return result;
}

// *second: what the kernel left in RSI.
static inline int64_t trap2(uint64_t number, uint64_t a, uint64_t b, uint64_t *second)
{
    int64_t result;
    __asm__ volatile(TRAP
                     : "=a"(result), "+D"(a), "+S"(b)
                     : "0"(number)
                     : "rdx", "rcx", "r8", "r9", TRAP_CLOBBERS);
    *second = b;
    return result;
}

static inline int64_t trap3(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t *second)
{
    int64_t result;
    __asm__ volatile(TRAP
                     : "=a"(result), "+D"(a), "+S"(b), "+d"(c)
                     : "0"(number)
                     : "rcx", "r8", "r9", TRAP_CLOBBERS);
    *second = b;
    return result;
}

static inline int64_t trap6(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                            uint64_t e, uint64_t f)
{
    register uint64_t r8 __asm__("r8") = e;
    register uint64_t r9 __asm__("r9") = f;
    int64_t result;
    __asm__ volatile(TRAP
                     : "=a"(result), "+D"(a), "+S"(b), "+d"(c), "+c"(d), "+r"(r8), "+r"(r9)
                     : "0"(number)
                     : TRAP_CLOBBERS);
    return result;
}
