// SPDX-License-Identifier: BSD-2-Clause
//
// One pass of the sentry over a piece of its memory, with all vector registers full of its pattern
// meanwhile: an interrupt or an exit that mixes them up with another VM's shows.
// No state; runs on the guest's only processor.

    .text
    // uint64_t sentry_pass(const uint64_t *words, uint64_t count, uint64_t sum,
    //                      const void *before, void *behind)
    // SSE: `before` and `behind` are 16 registers of 16 bytes.
    .globl sentry_pass
    .type sentry_pass, @function
sentry_pass:
    mov     %rdx, %rax
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    movups  16 * \n(%rcx), %xmm\n
    .endr
    test    %rsi, %rsi
    jz      2f
1:  rol     $1, %rax
    add     (%rdi), %rax
    add     $8, %rdi
    dec     %rsi
    jnz     1b
2:
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    movups  %xmm\n, 16 * \n(%r8)
    .endr
    ret
    .size sentry_pass, . - sentry_pass

    // The same with AVX, 16 registers of 32 bytes.
    .globl sentry_pass_avx
    .type sentry_pass_avx, @function
sentry_pass_avx:
    mov     %rdx, %rax
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    vmovups 32 * \n(%rcx), %ymm\n
    .endr
    test    %rsi, %rsi
    jz      2f
1:  rol     $1, %rax
    add     (%rdi), %rax
    add     $8, %rdi
    dec     %rsi
    jnz     1b
2:
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    vmovups %ymm\n, 32 * \n(%r8)
    .endr
    ret
    .size sentry_pass_avx, . - sentry_pass_avx

    .section .note.GNU-stack, "", @progbits
