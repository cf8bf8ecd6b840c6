// SPDX-License-Identifier: BSD-2-Clause
//
// The way to ring 3 and back. user_enter() leaves by IRETQ; it returns when user code calls
// SYSCALL with RAX = 0, or when a trap handler sends its frame to user_leave.

#include "guests/lib/hypercall.h"
#include "guests/lib/layout.h"
#include "guests/lib/frame.h"

    .section .bss
user_saved_rsp:
    .skip 8

    .text
// uint64_t user_enter(code, stack, argument): RAX is what user code left in RDI.
    .globl user_enter
user_enter:
    frame_save
    mov     %rsp, user_saved_rsp
    push    $(SEL_USER_DATA | 3)
    push    %rsi
    push    $2
    push    $(SEL_USER_CODE64 | 3)
    push    %rdi
    mov     %rdx, %rdi
    iretq

// LSTAR. Call 0 ends user_enter(); call 1 gives RDI + 1 back in RAX by SYSRET.
    .globl user_syscall
user_syscall:
    test    %eax, %eax
    jz      user_leave
    lea     1(%rdi), %rax
    sysretq

    .globl user_leave
user_leave:
    mov     user_saved_rsp, %rsp
    mov     $SEL_DATA, %eax
    mov     %eax, %ss
    mov     %rdi, %rax
    frame_return

// Code that is copied to a page of ring 3. It must not refer to anything by address.
    .globl user_code, user_code_end
user_code:
    // Two system calls in a row, so that SYSRET's way back is used too; a CPUID exit on the way.
    mov     $1, %eax
    syscall
    mov     %rax, %rdi
    mov     $1, %eax
    syscall
    mov     %rax, %r12
    mov     $1, %eax
    cpuid
    mov     %r12, %rdi
    xor     %eax, %eax
    syscall
    ud2

    // The hypercall whose number is in RDI; its result goes back in RDI.
    .globl user_hypercall
user_hypercall:
    mov     %rdi, %rax
    HYPERCALL
    mov     %rax, %rdi
    xor     %eax, %eax
    syscall

    .globl user_faults
user_faults:
    // RDI selects one instruction that ring 3 may not run; each has 16 bytes.
    lea     1f(%rip), %rax
    shl     $4, %rdi
    add     %rdi, %rax
    jmp     *%rax
    .balign 16
1:  hlt
    .balign 16
    cli
    .balign 16
    mov     %cr0, %rax
    .balign 16
    rdmsr
    .balign 16
    in      $0x80, %al
    .balign 16
    out     %al, $0x80
    .balign 16
    movb    0x100000, %al
    .balign 16
    movb    %al, 0x100000
    .balign 16
    wbinvd
    .balign 16
    int     $0x61
    .balign 16
    xor     %ecx, %ecx
    xgetbv
    xsetbv
    .balign 16
    sgdt    -64(%rsp)
    .balign 16
    sidt    -64(%rsp)
    .balign 16
    smsw    %eax
    .balign 16
    invd
user_code_end:

    .section .note.GNU-stack, "", @progbits
