// SPDX-License-Identifier: BSD-2-Clause
// VM entry and exit. HOST_RSP is the end of page->gpr, so an exit pushes the general registers
// straight into the page that the VMM shares, and an entry pops them from there. Nothing else ever
// uses that "stack": interrupts are off, and NMI, #DF and #MC have stacks of their own.
#include "offsets.h"
#include "kernel/arch/x86/regs.h"

.macro POP_GUEST
    // The first RBP is RSP's slot.
    .irp reg, rax, rcx, rdx, rbx, rbp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
    pop %\reg
    .endr
.endm

.text
// vcpu_run() with SYSCALL_RUN_ON, from syscall_entry with RSP = the thread: in again at once, if
// its guest is still loaded (cpu->arch.ready). What RSI asks for beyond a step over an instruction,
// and what waits for the vCPU, is done in C.
.global vmx_run_on
vmx_run_on:
    cmp %rsp, %gs:CPU_READY
    jne syscall_usual
    mov %gs:CPU_VCPU, %rdx
    movzbl VCPU_INJECT(%rdx), %ecx
    or VCPU_WORK(%rdx), %ecx
    or %gs:CPU_WORK, %ecx
    jnz 4f
    cmp $RUN_NEXT, %esi
    jne 2f
    mov $FIELD_INSN_LEN, %ecx
    vmread %rcx, %rsi           // which is VM_RUN_SKIP, should C do it yet
1:  mov $FIELD_INTERRUPTIBILITY, %ecx
    vmread %rcx, %rcx
    test $BLOCK_STI | BLOCK_SS, %cl
    jnz 4f
    mov $FIELD_RFLAGS, %ecx
    vmread %rcx, %rcx
    test VCPU_SKIP_FLAGS(%rdx), %rcx
    jnz 4f
    mov $FIELD_RIP, %ecx
    vmread %rcx, %rax
    add %rsi, %rax
    vmwrite %rax, %rcx
3:  movb $MODE_GUEST, THREAD_MODE(%rsp)
    mov VCPU_GPR(%rdx), %rsp
    POP_GUEST
    vmresume
    jmp vmx_not_entered
2:  mov %esi, %esi
    cmp $RUN_SKIP, %esi
    ja 4f
    test %esi, %esi
    jnz 1b
    jmp 3b
4:  mov %rsp, %rdi              // more is to be done
    mov %gs:CPU_STACK_TOP, %rsp
    push $RFLAGS_FIXED
    popf
    call vmx_run_ready
    jmp enter_again

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
    jmp vmx_not_entered
1:  vmlaunch
vmx_not_entered:
    mov %gs:CPU_STACK_TOP, %rsp
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
    call vmx_exit
enter_again:                    // with page->gpr, which C has returned
    mov %rax, %rsp
    POP_GUEST
    vmresume
    jmp vmx_not_entered

.section .note.GNU-stack, "", @progbits
