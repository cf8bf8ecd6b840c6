// SPDX-License-Identifier: BSD-2-Clause
//
// state_run(code, registers): loads all general registers but RSP from 15 quadwords at
// `registers`, in the order RAX RBX RCX RDX RSI RDI RBP R8..R15, runs one operation, and stores
// them back. The operations are reached by an indirect jump through memory, so that every
// register is under test.

#include "guests/lib/hypercall.h"
#include "guests/lib/frame.h"

    .section .bss
state_operation:
    .skip 8
state_registers:
    .skip 8

    .text
    .globl state_run
state_run:
    frame_save
    mov     %rdi, state_operation
    mov     %rsi, state_registers
    mov     %rsi, %rax
    mov     0x08(%rax), %rbx
    mov     0x10(%rax), %rcx
    mov     0x18(%rax), %rdx
    mov     0x20(%rax), %rsi
    mov     0x28(%rax), %rdi
    mov     0x30(%rax), %rbp
    mov     0x38(%rax), %r8
    mov     0x40(%rax), %r9
    mov     0x48(%rax), %r10
    mov     0x50(%rax), %r11
    mov     0x58(%rax), %r12
    mov     0x60(%rax), %r13
    mov     0x68(%rax), %r14
    mov     0x70(%rax), %r15
    mov     (%rax), %rax
    call    *state_operation
    push    %rax
    mov     state_registers, %rax
    mov     %rbx, 0x08(%rax)
    mov     %rcx, 0x10(%rax)
    mov     %rdx, 0x18(%rax)
    mov     %rsi, 0x20(%rax)
    mov     %rdi, 0x28(%rax)
    mov     %rbp, 0x30(%rax)
    mov     %r8, 0x38(%rax)
    mov     %r9, 0x40(%rax)
    mov     %r10, 0x48(%rax)
    mov     %r11, 0x50(%rax)
    mov     %r12, 0x58(%rax)
    mov     %r13, 0x60(%rax)
    mov     %r14, 0x68(%rax)
    mov     %r15, 0x70(%rax)
    pop     %rbx
    mov     %rbx, (%rax)
    frame_return

    .globl state_cpuid
state_cpuid:
    cpuid
    ret

    .globl state_out
state_out:
    out     %al, %dx
    ret

    .globl state_in
state_in:
    in      %dx, %eax
    ret

    .globl state_hlt
state_hlt:
    sti
    hlt
    cli
    ret

    .globl state_mmio
state_mmio:
    mov     (%rbx), %eax
    ret

    .globl state_rdmsr
state_rdmsr:
    rdmsr
    ret

    .globl state_vmcall
state_vmcall:
    HYPERCALL
    ret

    .section .note.GNU-stack, "", @progbits
