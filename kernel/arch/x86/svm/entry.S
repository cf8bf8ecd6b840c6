// SPDX-License-Identifier: BSD-2-Clause
// VMRUN and #VMEXIT. RSP is the end of page->gpr meanwhile, so an exit pushes the general registers
// straight into the page that the VMM shares, and an entry pops them from there; RAX alone goes by
// the VMCB. Nothing else ever uses that "stack": GIF is clear.
#include "offsets.h"
#include "kernel/arch/x86/regs.h"

.text
// void svm_enter(struct vcpu *): does not return. GIF is clear, all is loaded but GS' base.
.global svm_enter
.balign 16
svm_enter:
    mov VCPU_VMCB(%rdi), %rsi
    mov VCPU_GPR(%rdi), %rsp
    mov VCPU_GS_BASE(%rdi), %rdx
    mov VCPU_VMCS(%rdi), %rax
    pop VMCB_RAX(%rsi)
    wrgsbase %rdx
    // Or VMRUN takes host interrupts for masked; GIF holds them off. Not directly before it: QEMU
    // has the guest's first instruction in STI's shadow then.
    sti
    // The first RBP is RSP's slot.
    .irp reg, rcx, rdx, rbx, rbp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
    pop %\reg
    .endr
    vmrun %rax
    cli
    // The second RBP is RSP's slot.
    .irp reg, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbp, rbx, rdx, rcx
    push %\reg
    .endr
    movabs $(DIRECT_MAP_HIGH << 40), %rdi
    add %rax, %rdi              // RAX is what it was at VMRUN
    push VMCB_RAX(%rdi)
    mov VMCB_VCPU(%rdi), %rdi
    rdgsbase %rax
    mov %rax, VCPU_GS_BASE(%rdi)
    mov VCPU_CPU(%rdi), %rax
    wrgsbase %rax
    mov %gs:CPU_STACK_TOP, %rsp
    call svm_exit
    mov %gs:CPU_VCPU, %rdi
    jmp svm_enter

// vcpu_run() with SYSCALL_RUN_ON, from syscall_entry with RSP = the thread: its guest is still
// loaded (cpu->arch.ready).
.global svm_run_on
svm_run_on:
    cmp %rsp, %gs:CPU_READY
    jne syscall_usual
    mov %rsp, %rdi
    mov %gs:CPU_STACK_TOP, %rsp
    push $RFLAGS_FIXED
    popf
    call svm_run_ready          // does not return

.section .note.GNU-stack, "", @progbits
