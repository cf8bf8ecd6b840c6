// SPDX-License-Identifier: BSD-2-Clause
// VM entry and exit. HOST_RSP is the end of page->gpr, so an exit pushes the general registers
// straight into the page that the VMM shares, and an entry pops them from there. Nothing else ever
// uses that "stack": interrupts are off, and NMI, #DF and #MC have stacks of their own.
#include "offsets.h"

.macro POP_GUEST
    // The first RBP is RSP's slot.
    .irp reg, rax, rcx, rdx, rbx, rbp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
    pop %\reg
    .endr
.endm

.text
// void vmx_enter(struct vcpu *): does not return; the VMCS is current.
.global vmx_enter
.balign 16
vmx_enter:
    mov VCPU_GPR(%rdi), %rsp
    cmpb $0, VCPU_FRESH(%rdi)
    movb $0, VCPU_FRESH(%rdi)
    POP_GUEST
    jne 1f
    vmresume
    jmp 2f
1:  vmlaunch
2:  mov %gs:CPU_STACK_TOP, %rsp
    mov %gs:CPU_VCPU, %rdi
    call vmx_entry_failed

.global vmx_exit_entry
.balign 16
vmx_exit_entry:
    // The second RBP is RSP's slot.
    .irp reg, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbp, rbx, rdx, rcx, rax
    push %\reg
    .endr
    mov %gs:CPU_STACK_TOP, %rsp
    mov %gs:CPU_VCPU, %rdi
    call vmx_exit               // returns page->gpr: enter again
    mov %rax, %rsp
    POP_GUEST
    vmresume
    jmp 2b

.section .note.GNU-stack, "", @progbits
