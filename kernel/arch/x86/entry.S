// SPDX-License-Identifier: BSD-2-Clause
// Ways into and out of the kernel for ring 3 and for interrupts.
//
// GS base is the core's struct cpu in ring 0. In ring 3 it is whatever the KERNEL_GS_BASE MSR held:
// the guest's own value, parked there by SWAPGS, so that no exit to a VMM moves that MSR.
#include "offsets.h"
#include "kernel/arch/x86/regs.h"

.text
// The interrupt that STI lets in comes behind SYSEXIT. An NMI or machine check in between would
// take that away, and let it in with ring 3's GS base: then both are done again (trap_paranoid).
.macro SYSEXIT name
.global \name\()_from
\name\()_from:
    swapgs
    sti
\name:
    rex.w sysexit               // to RDX, with RSP = RCX
.endm

// In its place on CPUs without SYSEXIT, by a JMP that is written at boot.
.global iret_for_sysexit
iret_for_sysexit:
    mov %gs:CPU_STACK_TOP, %rsp
    push $SEL_USER_DATA
    push %rcx
    push $RFLAGS_FIXED | RFLAGS_IF
    push $SEL_USER_CODE
    push %rdx
    swapgs
    iretq

// SYSENTER: number EAX, arguments RDI RSI RDX RCX R8 R9; RBX is where to return, R12 the stack.
// Only what a call keeps is saved, in the thread's own regs. IF is clear, other flags are ring 3's:
// TF gives #DB in here (trap_debug), AC switches SMAP off. Where ring 3 comes by the gate for want
// of SYSENTER, the CPU has written the end of the same regs: nothing that counts, but RIP and RSP.
.global syscall_entry
syscall_entry:
    swapgs
    mov %gs:CPU_CURRENT, %rsp
    mov %ebx, %ebx              // SYSEXIT to an address that is not canonical faults in ring 0
    mov %r12d, %r12d
    mov %rbx, REGS_rip(%rsp)
    mov %r12, REGS_rsp(%rsp)
    mov %rbp, REGS_rbp(%rsp)
    test %eax, %eax
    js vmx_run_on               // SYSCALL_RUN_ON
.global syscall_usual
syscall_usual:
    mov %gs:CPU_STACK_TOP, %rsp
    push $RFLAGS_FIXED
    popf
    and $SYSCALL_MASK, %eax
    mov syscall_table(, %rax, 8), %r11
    call __x86_indirect_thunk_r11
    cmpl $0, %gs:CPU_WORK
    jne 1f
    mov %rdx, %rsi              // the second result; callee-saved ones are still ring 3's
    mov %rbx, %rdx
    mov %r12, %rcx
    .irp reg, edi, r8d, r9d, r10d, r11d
    xor %\reg, %\reg
    .endr
    SYSEXIT sysexit_of_call
1:  mov %rax, %rdi
    mov %rdx, %rsi
    call syscall_reschedule     // does not return

// void resume_syscall(struct regs *): back behind a SYSENTER, from regs.
.global resume_syscall
resume_syscall:
    mov REGS_rax(%rdi), %rax
    mov REGS_rsi(%rdi), %rsi
    mov %rdi, %rbx
    mov REGS_rdi(%rdi), %rdi     // a new thread's argument

// As a system call of the thread RBX returns, with RAX, RSI and RDI.
.global resume_rbx
resume_rbx:
    mov REGS_rip(%rbx), %rdx
    mov REGS_rsp(%rbx), %rcx
    mov REGS_rbp(%rbx), %rbp
    .irp reg, ebx, r8d, r9d, r10d, r11d, r12d, r13d, r14d, r15d
    xor %\reg, %\reg
    .endr
    SYSEXIT sysexit_of_resume

// void vcpu_return_fast(struct vcpu *, int64_t kind, uint64_t word): as vcpu_return(), and where
// nothing else is to be done on this core, at once. The vCPU stays bound to its thread then.
.global vcpu_return_fast
vcpu_return_fast:
    mov %gs:CPU_CURRENT, %rbx
    cmpl $0, %gs:CPU_WORK
    jne vcpu_return
    cmp %rbx, %gs:CPU_USER
    jne vcpu_return
    movb $MODE_USER, THREAD_MODE(%rbx)
    mov %rsi, %rax
    mov %rdx, %rsi
    xor %edi, %edi
    jmp resume_rbx

.macro POP_REGS
    .irp reg, r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax
    pop %\reg
    .endr
    add $16, %rsp
.endm

// void resume_trap(struct regs *): back to where ring 3 was interrupted, all registers.
.global resume_trap
resume_trap:
    movq $-1, REGS_vector(%rdi) // REGS_SYSCALL, until a trap says otherwise
    mov %rdi, %rsp
    POP_REGS
    swapgs
    iretq

// All vectors end here, with vector and error code on the stack. From ring 3 the stack is the end
// of the thread's regs, so that the pushes fill it in; NMI, #DF, #MC and #SX have their own.
trap_common:
    push $RFLAGS_FIXED          // AC of ring 3 would switch SMAP off; NT, TF and DF go too
    popf
    .irp reg, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    push %\reg
    .endr
    mov %rsp, %rdi
    mov REGS_vector(%rsp), %rax
    .irp vector, VECTOR_NMI, VECTOR_DF, VECTOR_MC, VECTOR_SX
    cmp $\vector, %eax
    je trap_paranoid
    .endr
    cmp $VECTOR_DB, %eax
    je trap_debug
trap_usual:
    testb $3, REGS_cs(%rsp)
    jz 1f
    swapgs
    lfence                      // or GS base is a guest's for what runs ahead of the branch
    mov %gs:CPU_STACK_TOP, %rsp
    call trap_from_user         // does not return
1:  lfence
    call trap_from_kernel       // does not return

// Interrupts: the kernel is where it lets them in, and needs back what C may change.
irq_common:
    testb $3, 24(%rsp)          // CS
    jnz trap_common
    lfence
    cmpl $0, %gs:CPU_OUTSIDE
    jne 1f
    .irp reg, rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
    push %\reg
    .endr
    mov 9 * 8(%rsp), %edi
    call trap_dispatch
    .irp reg, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax
    pop %\reg
    .endr
    add $16, %rsp
    iretq
1:  mov (%rsp), %edi
    mov %gs:CPU_STACK_TOP, %rsp
    call trap_idle              // does not return

// From the kernel it is a leftover of ring 3's TF, which SYSENTER does not clear: it ends with it.
trap_debug:
    testb $3, REGS_cs(%rsp)
    jnz trap_usual              // a fault: this stack is left at once
    andq $~RFLAGS_TF, REGS_rflags(%rsp)
    POP_REGS; iretq

// These can hit between SYSENTER and SWAPGS, so CS does not say whose GS base is loaded: the
// kernel's is the one in the high half that its own stack page names.
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
    cmpq $sysexit_of_call, REGS_rip(%rsp)
    je 1f
    cmpq $sysexit_of_resume, REGS_rip(%rsp)
    jne 2f
1:  decq REGS_rip(%rsp)         // to STI
    andq $~RFLAGS_IF, REGS_rflags(%rsp)
2:  POP_REGS; iretq

// Entries: 16 bytes each, so the IDT is filled by arithmetic.
.balign 16
.global trap_entries
trap_entries:
vector = 0
.rept 256
    .balign 16
    // The CPU pushes an error code for 8, 10 to 14, 17, 21 and 30.
    .if vector > 30 || !(0x40227d00 >> vector & 1)
    push $0
    .endif
    push $vector
    .if vector < 32
    jmp trap_common
    .else
    jmp irq_common
    .endif
    vector = vector + 1
.endr

// void cpu_idle(uint64_t stack_top): waits for an interrupt on a fresh stack. Only an NMI comes
// back.
.global cpu_idle
cpu_idle:
    mov %rdi, %rsp
1:  sti
    hlt
    jmp 1b

// The kernel's indirect branches go through here: the compilers call these by name. A RET that the
// CPU predicts to the loop behind the CALL, until cpu_plain_branches(). In the order of encoding.
.balign THUNK_SIZE
.global branch_thunks
branch_thunks:
.irp reg, rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
    .balign THUNK_SIZE
    .global __x86_indirect_thunk_\reg
__x86_indirect_thunk_\reg:
    call 2f
1:  pause
    lfence
    jmp 1b
2:  mov %\reg, (%rsp)
    ret
.endr

// void rsb_fill(void): no return of those that ran before is left for the CPU to predict.
.global rsb_fill
rsb_fill:
    mov $4, %ecx
1:  .rept 8
    call 3f
2:  pause
    lfence
    jmp 2b
3:
    .endr
    add $64, %rsp
    dec %ecx
    jnz 1b
    lfence
    ret

.section .note.GNU-stack, "", @progbits
