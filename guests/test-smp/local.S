// SPDX-License-Identifier: BSD-2-Clause
//
// hold_vectors(in, out, &count, members, components, pauses): loads x87, SSE and AVX state with
// XRSTOR from `in`, keeps it until all members are here, and a number of PAUSEs longer, and stores
// it with XSAVE to `out`. The caller's own is lost.

    .text
    .globl hold_vectors
hold_vectors:
    mov     %rdx, %r10
    mov     %r8d, %eax
    xor     %edx, %edx
    xrstor64 (%rdi)
    lock incl (%r10)
1:  pause
    cmp     %ecx, (%r10)
    jb      1b
2:  pause
    dec     %r9d
    jnz     2b
    xsave64 (%rsi)
    fninit
    ret

    .section .note.GNU-stack, "", @progbits
