// SPDX-License-Identifier: BSD-2-Clause
//
// Contexts that hold vector registers, and the interrupt that changes from one to the next as an
// operating system does: with the save instruction that CPUID offers.

#include "guests/lib/registers.h"
#include "guests/test-cpu/contexts.h"

    .text
// The timer's gate; on the stack of the interrupted context, which has nothing in its red zone.
    .globl contexts_interrupt
contexts_interrupt:
    push_general
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
    pop_general
    iretq

// void contexts_hold_KIND(const void *in, void *out, uint64_t turns): loads the registers, lets
// interrupts in for so many turns, each with an exit to the VMM in it, and stores what is there
// then. What is wider than KIND stays in its initial state.
    .macro HOLD kind, move, register, bytes
    .globl contexts_hold_\kind
contexts_hold_\kind:
    load_vectors %rdi, \move, \register, \bytes
    .if \bytes == 64
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
    .if \bytes == 64
    .irp n, 1, 2, 3, 4, 5, 6, 7
    kmovw   %k\n, 2048 + 2 * \n(%rsi)
    .endr
    .endif
    store_vectors %rsi, \move, \register, \bytes
    ret
    .endm

    HOLD    sse, movups, xmm, 16
    HOLD    avx, vmovups, ymm, 32
    HOLD    avx512, vmovups, zmm, 64

    .section .note.GNU-stack, "", @progbits
