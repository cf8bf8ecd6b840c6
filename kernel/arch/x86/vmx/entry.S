// SPDX-License-Identifier: BSD-2-Clause
// VM entry and exit. HOST_RSP is the end of page->gpr, so an exit pushes the general registers straight
// into the page that the VMM shares, and an entry pops them from there. Nothing else ever uses that
// "stack": interrupts are off, and NMI, #DF and #MC have stacks of their own.
#include "offsets.h"

.macro POP_GUEST
    pop %rax
    pop %rcx
    pop %rdx
    pop %rbx
    pop %rbp                    // RSP's slot
    pop %rbp
    pop %rsi
    pop %rdi
    pop %r8
    pop %r9
    pop %r10
    pop %r11
    pop %r12
    pop %r13
    pop %r14
    pop %r15
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
    push %r15
    push %r14
    push %r13
    push %r12
    push %r11
    push %r10
    push %r9
    push %r8
    push %rdi
    push %rsi
    push %rbp
    push %rbp                   // RSP's slot
    push %rbx
    push %rdx
    push %rcx
    push %rax
    mov %gs:CPU_STACK_TOP, %rsp
    mov %gs:CPU_VCPU, %rdi
    call vmx_exit               // returns page->gpr: enter again
    mov %rax, %rsp
    POP_GUEST
    vmresume
    jmp 2b

.section .note.GNU-stack, "", @progbits
