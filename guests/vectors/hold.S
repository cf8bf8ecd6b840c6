// SPDX-License-Identifier: BSD-2-Clause
//
// void hold_KIND(const void *in, void *out, uint64_t turns, uint64_t spin): loads the vector
// registers, for so many turns spins and then yields the CPU to the other processes, and stores
// what is there then. A Linux process; it holds no state but the registers.

#include "guests/lib/registers.h"

#define SYS_SCHED_YIELD 24

    .text
    .macro HOLD kind, move, register, bytes
    .globl hold_\kind
hold_\kind:
    mov     %rdx, %r8
    mov     %rcx, %r9
    load_vectors %rdi, \move, \register, \bytes
1:  mov     %r9, %rdx
2:  dec     %rdx
    jnz     2b
    mov     $SYS_SCHED_YIELD, %eax
    syscall
    dec     %r8
    jnz     1b
    store_vectors %rsi, \move, \register, \bytes
    ret
    .endm

    HOLD    sse, movups, xmm, 16
    HOLD    avx, vmovups, ymm, 32
    HOLD    avx512, vmovups, zmm, 64

    // The stack at a process's start is the argument of init().
    .globl _start
_start:
    mov     %rsp, %rdi
    and     $-16, %rsp
    call    init

    .section .note.GNU-stack, "", @progbits
