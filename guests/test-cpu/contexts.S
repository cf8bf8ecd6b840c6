// SPDX-License-Identifier: BSD-2-Clause
//
// Contexts that hold vector registers, and the interrupt that changes from one to the next as an
// operating system does: with the save instruction that CPUID offers.

#include "guests/test-cpu/contexts.h"

    .text
// The timer's gate; on the stack of the interrupted context, which has nothing in its red zone.
    .globl contexts_interrupt
contexts_interrupt:
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
    mov     %rsp, %rbx
    mov     contexts_area, %rdi
    mov     $-1, %eax
    mov     $-1, %edx
    cmpl    $CONTEXTS_XSAVEOPT, contexts_save
    je      1f
    ja      2f
    xsave64 (%rdi)
    jmp     3f
1:  xsaveopt64 (%rdi)
    jmp     3f
2:  xsavec64 (%rdi)
3:  mov     %rbx, %rdi
    and     $-16, %rsp
    cld
    call    contexts_next
    mov     %rax, %rsp
    mov     contexts_area, %rdi
    mov     $-1, %eax
    mov     $-1, %edx
    xrstor64 (%rdi)
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
    iretq

// void contexts_hold_KIND(const void *in, void *out, uint64_t turns): loads the registers, lets
// interrupts in for so many turns, each with an exit to the VMM in it, and stores what is there
// then. What is wider than KIND stays in its initial state.
    .macro HOLD kind, move, register, bytes
    .globl contexts_hold_\kind
contexts_hold_\kind:
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \move  \bytes * \n(%rdi), %\register\n
    .endr
    .if \bytes == 64
    .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    \move  \bytes * \n(%rdi), %\register\n
    .endr
    .irp n, 1, 2, 3, 4, 5, 6, 7
    kmovw   2048 + 2 * \n(%rdi), %k\n
    .endr
    .endif
    sti
1:  mov     $CONTEXTS_SPIN, %ecx
2:  dec     %ecx
    jnz     2b
    out     %al, $0x80
    dec     %rdx
    jnz     1b
    cli
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \move  %\register\n, \bytes * \n(%rsi)
    .endr
    .if \bytes == 64
    .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    \move  %\register\n, \bytes * \n(%rsi)
    .endr
    .irp n, 1, 2, 3, 4, 5, 6, 7
    kmovw   %k\n, 2048 + 2 * \n(%rsi)
    .endr
    .endif
    .if \bytes > 16
    vzeroupper
    .endif
    ret
    .endm

    HOLD    sse, movups, xmm, 16
    HOLD    avx, vmovups, ymm, 32
    HOLD    avx512, vmovups, zmm, 64

    .section .note.GNU-stack, "", @progbits
