// SPDX-License-Identifier: BSD-2-Clause
//
// See known.h.

#include "guests/lib/frame.h"

#define ONES 0x1111111111111111

    .macro put reg, value
    movabs $\value, \reg
    .endm

    .macro check reg, value
    movabs $\value, %rcx
    cmp %rcx, \reg
    jne 9f
    .endm

    // Puts or checks all but RCX and RSP.
    .macro known do
    \do %rax, 0x0123456789ABCDEF
    \do %rdx, (2*ONES)
    \do %rbx, (3*ONES)
    \do %rbp, (5*ONES)
    \do %rsi, (6*ONES)
    \do %rdi, (7*ONES)
    \do %r8, (8*ONES)
    \do %r9, (9*ONES)
    \do %r10, (10*ONES)
    \do %r11, (11*ONES)
    \do %r12, (12*ONES)
    \do %r13, (13*ONES)
    \do %r14, (14*ONES)
    \do %r15, (15*ONES)
    .endm

    .text
    .globl known_loop, known_loop_start, known_loop_end
known_loop:
    frame_save
    mov %rdi, %rcx
    known put
known_loop_start:
    dec %rcx
    jnz known_loop_start
known_loop_end:
    known check
    mov $1, %eax
    jmp 8f
9:  xor %eax, %eax
8:  frame_return

    .globl known_die, known_die_here
known_die:
    lidt no_idt(%rip)
    known put
    movabs $ONES, %rcx
    movabs $4 * ONES, %rsp
known_die_here:
    ud2

    .section .rodata
no_idt:
    .word 0
    .quad 0

    .section .note.GNU-stack, "", @progbits
