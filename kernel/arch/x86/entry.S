// SPDX-License-Identifier: BSD-2-Clause
// Ways into and out of the kernel for ring 3 and for interrupts.
//
// GS base is the core's struct cpu in ring 0. In ring 3 it is whatever the KERNEL_GS_BASE MSR held:
// the guest's own value, parked there by SWAPGS, so that no exit to a VMM moves that MSR.
#include "offsets.h"
#include "kernel/arch/x86/regs.h"

.text
// SYSCALL: RCX = RIP, R11 = RFLAGS; arguments RDI RSI RDX R10 R8 R9, number RAX.
// Only what a call keeps is saved, in the thread's own regs; the C calling convention does the rest.
.global syscall_entry
.balign 16
syscall_entry:
    swapgs
    mov %rsp, %gs:CPU_SCRATCH
    mov %gs:CPU_CURRENT, %rsp
    mov %rcx, REGS_RIP(%rsp)
    mov %r11, REGS_RFLAGS(%rsp)
    mov %gs:CPU_SCRATCH, %rcx
    mov %rcx, REGS_RSP(%rsp)
    mov %rbx, REGS_RBX(%rsp)
    mov %rbp, REGS_RBP(%rsp)
    mov %r12, REGS_R12(%rsp)
    mov %r13, REGS_R13(%rsp)
    mov %r14, REGS_R14(%rsp)
    mov %r15, REGS_R15(%rsp)
    movq $-1, REGS_VECTOR(%rsp)
    mov %gs:CPU_STACK_TOP, %rsp
    mov %r10, %rcx
    cmp $SYSCALLS_COUNT, %rax
    jae 2f
    call *syscall_table(, %rax, 8)
1:  cmpl $0, %gs:CPU_WORK
    jne 3f
    mov %gs:CPU_CURRENT, %rbx      // callee-saved ones are still the caller's, but for this one
    mov REGS_RIP(%rbx), %rcx
    mov REGS_RFLAGS(%rbx), %r11
    mov REGS_RSP(%rbx), %rsp
    mov REGS_RBX(%rbx), %rbx
    xor %esi, %esi
    xor %edi, %edi
    xor %r8d, %r8d
    xor %r9d, %r9d
    xor %r10d, %r10d
    swapgs
    sysretq
2:  mov $-1, %rax               // ERR_CALL
    xor %edx, %edx
    jmp 1b
3:  mov %rax, %rdi
    mov %rdx, %rsi
    call syscall_reschedule     // does not return

// void resume_syscall(struct regs *): back behind a SYSCALL, everything from regs.
.global resume_syscall
.balign 16
resume_syscall:
    mov REGS_RAX(%rdi), %rax
    mov REGS_RDX(%rdi), %rdx
    mov REGS_RBX(%rdi), %rbx
    mov REGS_RBP(%rdi), %rbp
    mov REGS_R12(%rdi), %r12
    mov REGS_R13(%rdi), %r13
    mov REGS_R14(%rdi), %r14
    mov REGS_R15(%rdi), %r15
    mov REGS_RIP(%rdi), %rcx
    mov REGS_RFLAGS(%rdi), %r11
    mov REGS_RSP(%rdi), %rsp
    xor %esi, %esi
    xor %r8d, %r8d
    xor %r9d, %r9d
    xor %r10d, %r10d
    mov REGS_RDI(%rdi), %rdi     // a new thread's argument
    swapgs
    sysretq

.macro POP_REGS
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rbp
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rbx
    pop %rax
    add $16, %rsp
.endm

// void resume_trap(struct regs *): back to where ring 3 was interrupted, all registers.
.global resume_trap
resume_trap:
    mov %rdi, %rsp
    POP_REGS
    swapgs
    iretq

// All vectors end here, with vector and error code on the stack. From ring 3 the stack is the end of
// the thread's regs, so that the pushes fill it in; NMI, #DF and #MC have stacks of their own.
trap_common:
    cld
    push %rax
    push %rbx
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %rbp
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, %rdi
    mov REGS_VECTOR(%rsp), %rax
    cmp $VECTOR_NMI, %eax
    je trap_paranoid
    cmp $VECTOR_DF, %eax
    je trap_paranoid
    cmp $VECTOR_MC, %eax
    je trap_paranoid
    testb $3, REGS_CS(%rsp)
    jz 1f
    swapgs
    mov %gs:CPU_STACK_TOP, %rsp
    call trap_from_user         // does not return
1:  call trap_from_kernel
    POP_REGS
    iretq

// These can hit between SYSCALL and SWAPGS, so CS does not say whose GS base is loaded: the kernel's
// is the one in the high half that its own stack page names.
trap_paranoid:
    mov %rsp, %rbx
    mov $MSR_GS_BASE, %ecx
    rdmsr
    mov %edx, %r12d
    shl $32, %r12
    or %rax, %r12               // the GS base at the time of the event
    mov REGS_SIZE(%rsp), %rax     // struct cpu, behind the frame on this IST stack
    mov %rax, %rdx
    shr $32, %rdx
    wrmsr
    mov %rbx, %rdi
    call trap_paranoid_c
    mov %r12, %rax
    mov %r12, %rdx
    shr $32, %rdx
    mov $MSR_GS_BASE, %ecx
    wrmsr
    mov %rbx, %rsp
    POP_REGS
    iretq

// Stubs: 16 bytes each, so the IDT is filled by arithmetic.
.balign 16
.global trap_stubs
trap_stubs:
vector = 0
.rept 256
    .balign 16
    .if vector != 8 && vector != 10 && vector != 11 && vector != 12 && vector != 13 && vector != 14 && vector != 17 && vector != 21
    push $0
    .endif
    push $vector
    jmp trap_common
    vector = vector + 1
.endr

// void cpu_idle(uint64_t stack_top): waits for an interrupt on a fresh stack; the handler's return
// comes back here, and idle_wakeup looks what to do.
.global cpu_idle
cpu_idle:
    mov %rdi, %rsp
1:  sti
    hlt
    cli
    call idle_wakeup
    jmp 1b

// void load_segments(void): after LGDT.
.global load_segments
load_segments:
    mov $SEL_KERNEL_DATA, %eax
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    pop %rax
    push $SEL_KERNEL_CODE
    push %rax
    lretq

.section .note.GNU-stack, "", @progbits
