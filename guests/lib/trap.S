// SPDX-License-Identifier: BSD-2-Clause
//
// Entries of all 256 vectors, 16 bytes each, and the way through trap_dispatch() and back.
//
// Every gate enters on an interrupt stack. libc may keep data in the red zone below the
// interrupted stack pointer, so the frame is then moved beneath that zone: handlers run on the
// interrupted stack and may nest. A frame from ring 3 stays where it is.
// SSE and x87 state is saved for the handlers, which are ordinary C.

#include "guests/lib/layout.h"
#include "guests/lib/registers.h"

#define RED_ZONE        128
#define FXSAVE_SIZE     512
#define CR0_TS_EM       0xC
// Vectors for which the processor pushes an error code: 8, 10-14, 17, 21, 29, 30.
#define ERROR_CODES     0x60227D00

    .section .text.trap, "ax"
    .balign 16
    .globl trap_entries
trap_entries:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector >= 32) || (((ERROR_CODES >> (vector & 31)) & 1) == 0)
    push    $0
    .endif
    push    $vector
    jmp     trap_common
    .set vector, vector + 1
    .endr

    .balign 16
trap_common:
    push_general
    cld
    testb   $3, TRAP_FRAME_CS(%rsp)
    jnz     1f
    mov     TRAP_FRAME_RSP(%rsp), %rdi
    sub     $(RED_ZONE + TRAP_FRAME_SIZE), %rdi
    and     $-16, %rdi
    mov     %rdi, %rbx
    mov     %rsp, %rsi
    mov     $(TRAP_FRAME_SIZE / 8), %ecx
    rep movsq
    mov     %rbx, %rsp
1:  mov     %rsp, %rdi
    mov     %rsp, %rbx
    // With TS or EM set the FPU is out of reach; the interrupted code gets its CR0 back.
    mov     %cr0, %r12
    mov     %r12, %rax
    and     $~CR0_TS_EM, %rax
    cmp     %rax, %r12
    je      2f
    mov     %rax, %cr0
2:  sub     $FXSAVE_SIZE, %rsp
    fxsave64 (%rsp)
    call    trap_dispatch
    fxrstor64 (%rsp)
    test    $CR0_TS_EM, %r12d
    jz      3f
    mov     %r12, %cr0
3:  mov     %rbx, %rsp
    pop_general
    add     $16, %rsp
    iretq

    .section .note.GNU-stack, "", @progbits
