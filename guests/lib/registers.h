// SPDX-License-Identifier: BSD-2-Clause
//
// Moves of many registers at once, for the assembler.

#pragma once

// All general registers but RSP, in the order of struct trap_frame.
    .macro push_general
    push    %rax
    push    %rbx
    push    %rcx
    push    %rdx
    push    %rsi
    push    %rdi
    push    %rbp
    push    %r8
    push    %r9
    push    %r10
    push    %r11
    push    %r12
    push    %r13
    push    %r14
    push    %r15
    .endm

    .macro pop_general
    pop     %r15
    pop     %r14
    pop     %r13
    pop     %r12
    pop     %r11
    pop     %r10
    pop     %r9
    pop     %r8
    pop     %rbp
    pop     %rdi
    pop     %rsi
    pop     %rdx
    pop     %rcx
    pop     %rbx
    pop     %rax
    .endm

// The vector registers xmm, ymm or zmm, 16 of them or, if they have 64 bytes, 32, at (\at).
    .macro load_vectors at, move, register, bytes
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \move  \bytes * \n(\at), %\register\n
    .endr
    .if \bytes == 64
    .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    \move  \bytes * \n(\at), %\register\n
    .endr
    .endif
    .endm

// Afterwards their upper parts, if they have any, are as at the start.
    .macro store_vectors at, move, register, bytes
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \move  %\register\n, \bytes * \n(\at)
    .endr
    .if \bytes == 64
    .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    \move  %\register\n, \bytes * \n(\at)
    .endr
    .endif
    .if \bytes > 16
    vzeroupper
    .endif
    .endm
