// SPDX-License-Identifier: BSD-2-Clause
// Entry point of a ring-3 process: RDI holds the address of its start block (the manager: of its
// boot information), RSP the top of its stack. Of a further thread that the manager made, RDI holds
// its index.
#define START_THREADS_MAX 16 // libc/start.h
    .section .text._start, "ax", @progbits
    .balign 8
    .quad 0x736c6c6163736573, __start_call_sites, __stop_call_sites // struct call_table
    .globl _start
    .type _start, @function
_start:
    xorl %ebp, %ebp
    andq $-16, %rsp
    cmpq $START_THREADS_MAX, %rdi
    jbe 1f
    call process_start
1:  call thread_start
    ud2
    .size _start, . - _start
    .section .note.GNU-stack, "", @progbits
