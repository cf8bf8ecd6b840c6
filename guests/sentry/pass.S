// SPDX-License-Identifier: BSD-2-Clause
//
// One pass of the sentry over a piece of its memory, with all vector registers full of its pattern
// meanwhile: an interrupt or an exit that mixes them up with another VM's shows.
// No state; runs on the guest's only processor.

    .text
    // One pass, with registers of `bytes` bytes that \move moves:
    // uint64_t NAME(const uint64_t *words, uint64_t count, uint64_t sum, const void *before,
    //               void *behind): `before` and `behind` are 16 registers.
    .macro PASS name, move, register, bytes
    .globl \name
    .type \name, @function
\name:
    mov     %rdx, %rax
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \move  \bytes * \n(%rcx), %\register\n
    .endr
    test    %rsi, %rsi
    jz      2f
1:  rol     $1, %rax
    add     (%rdi), %rax
    add     $8, %rdi
    dec     %rsi
    jnz     1b
2:
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \move  %\register\n, \bytes * \n(%r8)
    .endr
    ret
    .size \name, . - \name
    .endm

    PASS sentry_pass, movups, xmm, 16      // SSE
    PASS sentry_pass_avx, vmovups, ymm, 32 // AVX

    .section .note.GNU-stack, "", @progbits
