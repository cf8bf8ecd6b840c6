// SPDX-License-Identifier: BSD-2-Clause
//
// See known.h.

#define ONES 0x1111111111111111

    .macro fill
    movabs $0x0123456789ABCDEF, %rax
    movabs $2 * ONES, %rdx
    movabs $3 * ONES, %rbx
    movabs $5 * ONES, %rbp
    movabs $6 * ONES, %rsi
    movabs $7 * ONES, %rdi
    movabs $8 * ONES, %r8
    movabs $9 * ONES, %r9
    movabs $10 * ONES, %r10
    movabs $11 * ONES, %r11
    movabs $12 * ONES, %r12
    movabs $13 * ONES, %r13
    movabs $14 * ONES, %r14
    movabs $15 * ONES, %r15
    .endm

    .macro check reg, value
    movabs $\value, %rcx
    cmp %rcx, \reg
    jne 9f
    .endm

    .text
    .globl known_loop, known_loop_start, known_loop_end
known_loop:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rdi, %rcx
    fill
known_loop_start:
    dec %rcx
    jnz known_loop_start
known_loop_end:
    check %rax, 0x0123456789ABCDEF
    check %rdx, (2*ONES)
    check %rbx, (3*ONES)
    check %rbp, (5*ONES)
    check %rsi, (6*ONES)
    check %rdi, (7*ONES)
    check %r8, (8*ONES)
    check %r9, (9*ONES)
    check %r10, (10*ONES)
    check %r11, (11*ONES)
    check %r12, (12*ONES)
    check %r13, (13*ONES)
    check %r14, (14*ONES)
    check %r15, (15*ONES)
    mov $1, %eax
    jmp 8f
9:  xor %eax, %eax
8:  pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    .globl known_die, known_die_here
known_die:
    lidt no_idt(%rip)
    fill
    movabs $ONES, %rcx
    movabs $4 * ONES, %rsp
known_die_here:
    ud2

    .section .rodata
no_idt:
    .word 0
    .quad 0

    .section .note.GNU-stack, "", @progbits
