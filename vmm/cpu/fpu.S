// SPDX-License-Identifier: BSD-2-Clause
//
// See fpu.h. In ring 3, on the thread's own x87 and SSE state, which is left as FNINIT and reset
// leave the control words.

    .text

// void fpu_x87(struct fpu_image *image, void *memory, unsigned which)
    .global fpu_x87
    .type fpu_x87, @function
fpu_x87:
    fxrstor64 (%rdi)
    mov %edx, %edx
    lea x87_table(%rip), %rax
    lea (%rax, %rdx, 4), %rax
    call *%rax
    fxsave64 (%rdi)
    fninit
    ret
    .size fpu_x87, . - fpu_x87

// Four bytes each: the instruction on (%rsi), and RET. Nothing in place of those that load or store
// the environment.
x87_table:
    .irp opcode, 0, 1, 2, 3, 4, 5, 6, 7
    .irp number, 0, 1, 2, 3, 4, 5, 6, 7
    .if (\opcode == 1 || \opcode == 5) && (\number == 4 || \number == 6)
    nop
    nop
    .else
    .byte 0xd8 + \opcode, \number << 3 | 6
    .endif
    ret
    nop
    .endr
    .endr

// uint64_t fpu_convert(uint64_t value, unsigned which, uint32_t *mxcsr)
    .global fpu_convert
    .type fpu_convert, @function
fpu_convert:
    ldmxcsr (%rdx)
    pxor %xmm0, %xmm0
    cmp $1, %esi
    jb 1f
    je 2f
    cmp $2, %esi
    je 3f
    cvtsi2sd %rdi, %xmm0
    jmp 4f
1:  cvtsi2ss %edi, %xmm0
    jmp 4f
2:  cvtsi2ss %rdi, %xmm0
    jmp 4f
3:  cvtsi2sd %edi, %xmm0
4:  stmxcsr (%rdx)
    ldmxcsr default_mxcsr(%rip)
    movq %xmm0, %rax
    ret
    .size fpu_convert, . - fpu_convert

    .section .rodata
    .balign 4
default_mxcsr:
    .long 0x1f80

    .section .note.GNU-stack, "", @progbits
