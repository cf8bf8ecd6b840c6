// SPDX-License-Identifier: BSD-2-Clause
//
// void hold_KIND(const void *in, void *out, uint64_t turns, uint64_t spin): loads the vector
// registers, for so many turns spins and then yields the CPU to the other processes, and stores
// what is there then. A Linux process; it holds no state but the registers.

#define SYS_SCHED_YIELD 24

    .text
    .macro HOLD kind, move, register, bytes
    .globl hold_\kind
hold_\kind:
    mov     %rdx, %r8
    mov     %rcx, %r9
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \move  \bytes * \n(%rdi), %\register\n
    .endr
    .if \bytes == 64
    .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    \move  \bytes * \n(%rdi), %\register\n
    .endr
    .endif
1:  mov     %r9, %rdx
2:  dec     %rdx
    jnz     2b
    mov     $SYS_SCHED_YIELD, %eax
    syscall
    dec     %r8
    jnz     1b
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \move  %\register\n, \bytes * \n(%rsi)
    .endr
    .if \bytes == 64
    .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    \move  %\register\n, \bytes * \n(%rsi)
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

    // The stack at a process's start is the argument of init().
    .globl _start
_start:
    mov     %rsp, %rdi
    and     $-16, %rsp
    call    init

    .section .note.GNU-stack, "", @progbits
